"""Where a stage comes from: a path, an address, or the demo."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import IO, cast
from urllib.parse import unquote, urlsplit

from downstage.apps.usd_viewer.problem import StageProblem

__all__ = ["DEADLINE_S", "LIMIT_BYTES", "StageSource", "bearer_for", "fetch_stage", "parse_source"]

LIMIT_BYTES = 512 * 1024 * 1024
DEADLINE_S = 120.0
SUFFIXES = (".usd", ".usda", ".usdc", ".usdz")
_DEMO = Path(__file__).parent / "demo" / "theatre.usdc"
_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class StageSource:
    """A stage that has been named but not opened."""

    name: str
    path: Path | None = None
    url: str = ""
    is_served: bool = False
    """On a content server, where others may edit it at the same time."""

    @property
    def is_checkpoint(self) -> bool:
        """It is one version of a file, which nobody edits."""
        return self.is_served and "?&" in self.url


def parse_source(text: str) -> StageSource:
    """Understand what was given on the command line.

    Raises:
        StageProblem: no stage that this viewer could open, with the reason and what to do.
    """
    if text in ("", "demo"):
        return StageSource("Kinetic theatre", path=_DEMO)
    parts = urlsplit(text)
    match parts.scheme.lower():
        case "":
            return _from_path(Path(text))
        case "file":
            return _from_path(Path(unquote(parts.path)))
        case "http" | "https" if parts.hostname:
            name = PurePosixPath(unquote(parts.path)).name or parts.hostname
            _check_suffix(name)
            return StageSource(name[:120], url=text)
        case "omniverse" | "omni" | "downstage" if parts.hostname:
            name = PurePosixPath(unquote(parts.path)).name or parts.hostname
            _check_suffix(name)
            return StageSource(name[:120], url=text, is_served=True)
        case scheme:
            raise StageProblem(
                "This kind of address is not known",
                f"{scheme}: is neither a path, file:, http:, https: nor omniverse:.",
                "Give the path or the address of a .usd, .usda, .usdc or .usdz file.",
            )


def fetch_stage(
    source: StageSource,
    folder: Path,
    *,
    progress: Callable[[int], None] = lambda _count: None,
    limit: int = LIMIT_BYTES,
    deadline_s: float = DEADLINE_S,
) -> Path:
    """The stage as a file: as it lies, or downloaded into *folder*.

    Args:
        source: what to fetch.
        folder: where downloads go; the caller removes it.
        progress: told the number of bytes so far.
        limit: most bytes to take.
        deadline_s: most seconds to take.

    Raises:
        StageProblem: it could not be had.
    """
    if source.path is not None:
        return source.path
    if source.is_served:
        from downstage.apps.usd_viewer.served import fetch  # loads the client

        return fetch(source.url)[0]
    path = folder / source.name
    try:
        _download(source.url, path, progress, limit, time.monotonic() + deadline_s)
    except urllib.error.HTTPError as error:
        raise _refused(error.code, source.url) from error
    except (HTTPException, OSError, ValueError) as error:
        raise StageProblem(
            "The stage could not be downloaded",
            f"{urlsplit(source.url).hostname}: {error}"[:300],
            "Check the address, and that this machine may reach it.",
        ) from error
    return path


def bearer_for(url: str) -> str | None:
    """The person's token, if *url* is on the content host that was named, over a safe way."""
    file, content = os.environ.get("DOWNSTAGE_TOKEN_FILE"), os.environ.get("DOWNSTAGE_CONTENT_HOST")
    if not file or not content:
        return None
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    wanted = urlsplit(f"//{content}")
    if parts.hostname != wanted.hostname or (parts.port or default) != (wanted.port or default):
        return None
    loopback = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if parts.scheme != "https" and not loopback:
        return None
    return Path(file).read_text(encoding="utf-8").strip() or None


class _NoTokenElsewhere(urllib.request.HTTPRedirectHandler):
    """A redirect gets the token only if its own host may have it."""

    def redirect_request(  # noqa: PLR0917 urllib calls it so
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise ValueError("redirected to something that is not http")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None:
            request.remove_header("Authorization")
            _sign(request, newurl)
        return request


def _sign(request: urllib.request.Request, url: str) -> None:
    token = bearer_for(url)
    if token:
        request.add_header("Authorization", f"Bearer {token}")


def _download(
    url: str, path: Path, progress: Callable[[int], None], limit: int, until: float
) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "downstage-usd-viewer"})  # noqa: S310 parse_source
    _sign(request, url)
    opener = urllib.request.build_opener(_NoTokenElsewhere)
    with opener.open(request, timeout=_patience(until)) as answer:
        body = cast(HTTPResponse, answer)
        if int(body.headers.get("Content-Length") or 0) > limit:
            raise ValueError(f"it is larger than {limit >> 20} MiB")
        count = 0
        with path.open("wb") as file:
            while chunk := body.read1(_CHUNK):
                count += len(chunk)
                if count > limit:
                    raise ValueError(f"it is larger than {limit >> 20} MiB")
                file.write(chunk)
                _patience(until)
                progress(count)


def _patience(until: float) -> float:
    """Seconds that one step of a download may take."""
    left = until - time.monotonic()
    if left <= 0:
        raise ValueError("it took too long")
    return min(15.0, left)


def _from_path(path: Path) -> StageSource:
    name = path.name[:120]
    _check_suffix(name)
    if not path.is_file():
        raise StageProblem(
            "There is no such file",
            f"{name} was looked for on the machine that runs the viewer.",
            "Check the path, and that the viewer may read it.",
        )
    return StageSource(name, path=path)


def _check_suffix(name: str) -> None:
    if not name.lower().endswith(SUFFIXES):
        raise StageProblem(
            "This is not a USD stage",
            f"{name} does not end in .usd, .usda, .usdc or .usdz.",
            "Convert it to USD first, or give another file.",
        )


def _refused(status: int, url: str) -> StageProblem:
    host = urlsplit(url).hostname
    if status in (401, 403):
        return StageProblem(
            "You may not read this stage",
            f"{host} answered {status}.",
            "Ask its owner for access, or sign in where the content is.",
        )
    return StageProblem(
        "The stage could not be downloaded",
        f"{host} answered {status}.",
        "Check the address.",
    )
