"""A service's ``/openapi.json``: fetched within bounds, kept on disk, parsed without a pause."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import msgspec

from downstage.kernel.errors import PlatformError
from downstage.kernel.logging import get_logger
from downstage.services.description import cache as disk
from downstage.services.description.lazy import LazyObject, wrap
from downstage.services.description.references import mapping
from downstage.services.description.tree import Description
from downstage.services.errors import BaseServiceError
from downstage.services.transports.transport import Answer, Call, Transport

__all__ = [
    "MAX_BYTES",
    "MAX_NESTING",
    "MAX_PATHS",
    "NOWHERE",
    "BadDocument",
    "fetch",
    "fetch_document",
    "parse",
]

MAX_BYTES = 8 * 1024 * 1024
MAX_NESTING = 64
MAX_PATHS = 5_000
MAX_PIECE = 1024 * 1024
"""Of one path or one schema: what is decoded in one go, with the whole process waiting."""
AT_ONCE = 64 * 1024
"""Larger documents are parsed in a thread."""
NOWHERE = Path()
"""As *cache*: keep nothing on disk."""
PATH = "/openapi.json"
OK = 200
NOT_MODIFIED = 304

log = get_logger(__name__)
_any = msgspec.json.Decoder()


class BadDocument(ValueError):
    """What came is no description that we would use; the text says why."""


async def fetch(
    transport: Transport,
    *,
    base: str,
    headers: Mapping[str, str] | None = None,
    cache: Path | None = None,
    timeout_s: float = 5.0,
) -> Description | None:
    """What the service at *transport* says of itself; None where it says nothing usable.

    Never an error: calls go by the plain rules then. Redirects are not followed, and `servers`
    is not looked at.

    Args:
        transport: reaches the service; the document lies at ``/openapi.json`` below its address.
        base: that address, to tell services apart in the cache. ``local://`` is never cached.
        headers: to send along, such as `Authorization`. Another's are another cache entry.
        cache: folder to keep it in; None is ``$XDG_CACHE_HOME/downstage/openapi``, `NOWHERE` none.
        timeout_s: for all of it.
    """
    try:
        with anyio.fail_after(timeout_s):
            body, document = await _get(transport, base, dict(headers or {}), cache, timeout_s)
            return await _off_the_loop(len(body), Description.from_document, document)
    except (BaseServiceError, PlatformError, OSError, ValueError) as error:
        log.debug("description.missing", reason=str(error)[:256], kind=type(error).__name__)
        return None


async def fetch_document(
    transport: Transport,
    *,
    path: str = PATH,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 30.0,
) -> LazyObject:
    """The document itself, at *path* below the transport's address; past the cache.

    Raises:
        BadDocument: there is none, or none that we would use.
        BaseServiceError: it could not be had.
        TimeoutError: not within *timeout_s*.
    """
    with anyio.fail_after(timeout_s):
        answer = await _ask(transport, dict(headers or {}), timeout_s, path)
        _check(answer)
        return await _off_the_loop(len(answer.body), parse, answer.body)


async def _get(
    transport: Transport,
    base: str,
    headers: dict[str, str],
    cache: Path | None,
    timeout_s: float,
) -> tuple[bytes, LazyObject]:
    shelf = _shelf(base, headers, cache)
    kept = await anyio.to_thread.run_sync(shelf.read) if shelf is not None else None
    if kept is not None:
        answer = await _ask(transport, {**headers, "if-none-match": kept.etag}, timeout_s)
        if answer.status == NOT_MODIFIED:
            try:
                return kept.body, await _off_the_loop(len(kept.body), parse, kept.body)
            except BadDocument:  # not ours any more: as if nothing had been kept
                answer = await _ask(transport, headers, timeout_s)
    else:
        answer = await _ask(transport, headers, timeout_s)
    _check(answer)
    document = await _off_the_loop(len(answer.body), parse, answer.body)
    etag = answer.headers.get("etag", "")
    if (
        shelf is not None
        and etag.isprintable()
        and etag
        and "no-store" not in answer.headers.get("cache-control", "")
    ):
        await anyio.to_thread.run_sync(shelf.write, disk.Kept(etag, answer.body))
    return answer.body, document


async def _ask(
    transport: Transport, headers: dict[str, str], timeout_s: float, path: str = PATH
) -> Answer:
    sent = {"accept": "application/json", **headers}
    return await transport.request(
        Call("GET", path, headers=sent, timeout_s=timeout_s, read_timeout_s=timeout_s)
    )


def _shelf(base: str, headers: dict[str, str], cache: Path | None) -> disk.Shelf | None:
    if cache == NOWHERE or urlsplit(base).scheme in ("", "local"):
        return None
    try:
        return disk.Shelf(cache or disk.default_folder(), disk.key_of(base, headers))
    except RuntimeError:  # a user without a home, as in many containers
        return None


def _check(answer: Answer) -> None:
    if answer.status != OK:
        raise BadDocument(f"the description was answered with {answer.status}")
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise BadDocument(f"the description is no JSON but {kind[:64]!r}")


async def _off_the_loop(size: int, function: Any, argument: Any) -> Any:
    """Run *function* in a thread where *argument* is large."""
    if size <= AT_ONCE:
        return function(argument)
    return await anyio.to_thread.run_sync(function, argument, abandon_on_cancel=True)


def parse(body: bytes, *, max_bytes: int = MAX_BYTES, max_paths: int = MAX_PATHS) -> LazyObject:
    """Decode a document, piece by piece: no piece holds other threads up for long.

    Raises:
        BadDocument: larger, deeper or with more paths than allowed, or no JSON object.
    """
    if len(body) > max_bytes:
        raise BadDocument(f"the document is larger than {max_bytes} bytes")
    try:
        document = LazyObject(body.strip())
        if len(mapping(document.get("paths"))) > max_paths:
            raise BadDocument(f"the document has more than {max_paths} paths")
        _check_members(document, ("paths", "components", "definitions"), MAX_NESTING - 1)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadDocument(f"the document is no JSON object: {error}") from error
    return document


def _check_members(outer: LazyObject, divided: tuple[str, ...], most: int) -> None:
    """Decode each member of *outer* once; those in *divided* again by their members."""
    for key, raw in outer.raws().items():
        inner = wrap(raw)
        if key in divided and isinstance(inner, LazyObject):
            _check_members(inner, ("schemas",) if key == "components" else (), most - 1)
        elif len(memoryview(raw)) > MAX_PIECE:
            raise BadDocument(f"one part of the document is larger than {MAX_PIECE} bytes")
        elif _is_deeper(_any.decode(raw), most):
            raise BadDocument(f"the document is nested deeper than {MAX_NESTING}")


def _is_deeper(value: Any, most: int) -> bool:
    level = _containers([value])
    for _ in range(most):
        if not level:
            return False
        level = [inner for outer in level for inner in _containers(outer)]
    return bool(level)


def _containers(value: Any) -> list[Any]:
    inner: Any = ()
    if isinstance(value, dict):
        inner = cast("dict[str, Any]", value).values()
    elif isinstance(value, list):
        inner = cast("list[Any]", value)
    return [one for one in inner if isinstance(one, dict | list)]
