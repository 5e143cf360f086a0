"""What every command on streams needs: a client for its time, errors that say what to do."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from downstage.cli.content.desk import client_of, err, out
from downstage.cli.facts import find_platform
from downstage.cli.running import quiet
from downstage.cli.streams.options import At
from downstage.kernel.errors import (
    Forbidden,
    NotFound,
    OutOfSpace,
    PlatformError,
    SetupError,
    Unauthenticated,
    Unavailable,
)

if TYPE_CHECKING:
    from downstage.client.streams import Client

__all__ = ["client_at", "err", "out", "server_of"]

SIGN_IN = "Say who you are with DOWNSTAGE_TOKEN or DOWNSTAGE_TOKEN_FILE."


def server_of(at: At | None) -> str | None:
    """The address that is meant; None: the platform that runs.

    Raises:
        SetupError: none is named, and none runs.
    """
    import os

    if at is not None and at.server:
        return at.server
    if os.environ.get("DOWNSTAGE_CONTENT_HOST"):
        return None
    data = quiet(at).platform.data
    facts = find_platform(data)
    if facts is None:
        raise SetupError(
            f"No platform runs on {data.absolute()}. Start one with: downstage up   (or name a "
            "server with --server, or the data folder with --data)."
        )
    return facts.url


@contextmanager
def client_at(at: At | None) -> Generator[Client]:
    """A client of the server that is meant.

    Raises:
        PlatformError: as it happened, and what to do where that is known.
    """
    url = server_of(at)
    with client_of(quiet(at)):
        from downstage.client.streams import Client

        try:
            with Client(url) as client:
                yield client
        except PlatformError as error:
            error.detail = _detail(error, url or "the server")
            raise


HELP: tuple[tuple[type[PlatformError], str], ...] = (
    (Unauthenticated, SIGN_IN),
    (Forbidden, "(downstage token --stream NAME:read,write prints one that may.)"),
    (NotFound, "(downstage streams ls, and streams recordings, show what there is.)"),
    (OutOfSpace, "Delete streams, or keep less of them: downstage streams rm."),
    (Unavailable, "Does it run, and is the address right?"),
)


def _detail(error: PlatformError, url: str) -> str:
    """What went wrong, where, and what to do."""
    is_about_server = isinstance(error, Unauthenticated | Unavailable)
    text = f"{url}: {error.detail}" if is_about_server else error.detail
    found = next((help_ for kind, help_ in HELP if isinstance(error, kind)), "")
    return f"{text} {found}".strip()
