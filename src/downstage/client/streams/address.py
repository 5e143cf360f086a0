"""Which server is meant, and who one is there."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from downstage.client.client import default_client
from downstage.client.credentials import Credentials
from downstage.client.http import Http
from downstage.client.options import Options
from downstage.client.origins import LOCAL_PORT, LOOPBACK, Origin, content_host
from downstage.client.places import Place
from downstage.client.url_parts import split_authority
from downstage.kernel.errors import Forbidden, SetupError, Unauthenticated

__all__ = ["DATA", "open_http", "server_url"]

DATA = "DOWNSTAGE_PLATFORM__DATA"
"""Names the data folder of a platform of this user."""
SIGN_IN = (
    "Say who you are: Client(url, token=…), the variable DOWNSTAGE_TOKEN, or a file that "
    "DOWNSTAGE_TOKEN_FILE names. `downstage token` prints one."
)


def server_url(url: str | None) -> str:
    """``scheme://host:port`` of *url*; without one, of the server that this program is meant for.

    That is the one which ``DOWNSTAGE_CONTENT_HOST`` names (in instances), else the platform that
    runs on this user's data folder, else port 8600 of this machine.
    """
    if not url:
        url = content_host() or _running_url() or f"http://localhost:{LOCAL_PORT}"
    if "://" not in url:
        _, host, _ = split_authority(url.partition("/")[0])
        is_near = host in LOOPBACK or os.environ.get("DOWNSTAGE_CONTENT_SOCKET")
        url = f"{'http' if is_near else 'https'}://{url}"
    scheme, _, rest = url.partition("://")
    scheme = {"ws": "http", "wss": "https"}.get(scheme, scheme)
    return f"{scheme}://{rest.partition('/')[0]}"


def _running_url() -> str | None:
    folder = Path(os.environ.get(DATA) or "downstage-data") / "run"
    try:
        facts = json.loads((folder / "platform.json").read_text(encoding="utf-8"))
        return str(facts["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def open_http(url: str | None, token: str | None) -> Http:
    """Requests to the server of *url*, as whoever *token* or the environment says.

    Raises:
        BadUrl: it names no server.
    """
    place = Place.of(server_url(url))
    origin = Origin.of(place)
    # A server that was away a moment ago is asked again: who waits for it has a deadline for that.
    http = Http(origin, Options(closed_s=0.0))
    http.credentials = _Proof(origin, place.origin, token)
    return http


class _Proof(Credentials):
    """A token that was given, one of the environment, or what the whole client would show.

    The program names the server itself: what the environment holds is meant for it. It still is
    not sent over a way that hides nothing.
    """

    def __init__(self, origin: Origin, prefix: str, token: str | None) -> None:
        super().__init__(origin, prefix, default_client().callbacks, self._refuse)
        self._given = token
        self._server = origin
        self._was_refused = False

    def forget(self) -> None:
        """Look again: a file may hold another one by now."""
        self._was_refused = True
        super().forget()

    async def _ask(self) -> str | None:
        if self._given is not None:
            return self._given
        if self._server.may_have_secrets:
            if token := os.environ.get("DOWNSTAGE_TOKEN", "").strip():
                return token
            if path := os.environ.get("DOWNSTAGE_TOKEN_FILE"):
                return await asyncio.to_thread(_read, Path(path))
        elif os.environ.get("DOWNSTAGE_TOKEN") or os.environ.get("DOWNSTAGE_TOKEN_FILE"):
            raise Forbidden(
                f"The token is not sent to {self._server.url}: anybody on the way could read it. "
                "Use https, or say so with Client(url, token=…)."
            )
        found = await super()._ask()
        if found is None and self._was_refused:
            raise Unauthenticated(SIGN_IN)
        return found

    @staticmethod
    async def _refuse(user: str, password: str) -> str:
        del user, password
        raise Unauthenticated("Streams want a token, not a password: see `downstage token`.")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(
            f"The token's file {path} cannot be read ({type(error).__name__}): see "
            "DOWNSTAGE_TOKEN_FILE."
        ) from error
