"""Files on their way to a service and back, with progress."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterable, Mapping
from contextlib import aclosing
from pathlib import Path, PurePath
from typing import Any

import anyio

from downstage.services.client.asked import Asked, Encoded
from downstage.services.client.decoding import decode, with_status
from downstage.services.client.engine import GOOD, Engine
from downstage.services.client.multipart import Progress, multipart, open_source, watched
from downstage.services.client.streaming import CallStream
from downstage.services.client.target import Target
from downstage.services.description import Step

__all__ = ["download", "upload"]


async def upload(
    engine: Engine, target: Target, arguments: tuple[object, ...], keywords: dict[str, Any]
) -> Any:
    """Send a file as the body, or several in a form.

    ``post.upload(Path("a.usd"))`` sends its bytes; ``post.upload(files={"file": Path("a.usd")},
    note="x")`` sends a form. A source is a path, bytes, an open binary file, an asynchronous
    iterable, or a tuple of name, one of these, and media type. ``progress`` is called with the
    bytes gone and all there are (None: not known).

    Raises:
        OSError: a file cannot be read.
        BaseServiceError: as for any call.
    """
    progress: Progress | None = keywords.pop("progress", None)
    files: Mapping[str, Any] | None = keywords.pop("files", None)
    sources = [argument for argument in arguments if is_source(argument)]
    segments = tuple(argument for argument in arguments if not is_source(argument))
    if len(sources) + (files is not None) != 1:
        raise TypeError("an upload takes one source by position, or files={name: source}")
    asked = await engine.ask(target, segments, keywords)
    if asked.body is not None:
        raise TypeError("a call takes one body")
    if files is None:
        source = await open_source(sources[0])
    else:
        opened = {name: await open_source(file) for name, file in files.items()}
        asked.keywords, fields = _sort_fields(engine, asked)
        source = multipart(fields, opened)
    async with aclosing(watched(source, progress)) as body:
        asked.body = Encoded(body, body.kind, body.size)
        out, answer = await engine.answer(asked)
    if answer.status < GOOD:
        return decode(answer)
    if not engine.options.raises:
        return with_status(decode(answer), answer.status)
    raise engine.failure(out, answer)


def is_source(argument: object) -> bool:
    """Is *argument* something to send, and no path segment?"""
    return isinstance(
        argument, PurePath | bytes | bytearray | memoryview | AsyncIterable | tuple
    ) or hasattr(argument, "read")


def _sort_fields(engine: Engine, asked: Asked) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keywords of an upload: query, headers and path as the operation has them, the rest fields."""
    description, keywords = engine.catalog.current, asked.keywords
    steps = (*asked.target.steps, *(Step(text, literal=True) for text in asked.segments))
    verb = asked.method.lower() if asked.method else asked.target.verb
    match = description.find(steps, verb, keywords) if description else None
    if match is None or match.operation is None:
        return {}, keywords
    taken = {name: keywords[name] for name in match.path_keywords}
    left = {name: value for name, value in keywords.items() if name not in taken}
    placed = match.operation.place(left)
    elsewhere = {name: value for name, value in left.items() if name not in placed.body}
    return {**taken, **elsewhere}, placed.body


async def download(
    engine: Engine, target: Target, arguments: tuple[object, ...], keywords: dict[str, Any]
) -> int:
    """Stream an answer into a file: ``get.download(Path("a.usd"))``; returns its size.

    The file appears when it is whole: what breaks off leaves none behind.

    Raises:
        OSError: it cannot be written.
        BaseServiceError: as for any call, also without ``raise_for_status``.
    """
    progress: Progress | None = keywords.pop("progress", None)
    paths = [argument for argument in arguments if isinstance(argument, PurePath)]
    if len(paths) != 1:
        raise TypeError("a download takes one Path by position, where the file shall be")
    others = tuple(argument for argument in arguments if not isinstance(argument, PurePath))
    place = Path(paths[0])
    part = place.with_name(f".{place.name}.{secrets.token_hex(4)}.part")
    try:
        gone = await _save(CallStream(engine, target, others, keywords), part, progress)
        await anyio.to_thread.run_sync(os.replace, part, place)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await anyio.Path(part).unlink(missing_ok=True)
        raise
    return gone


async def _save(stream: CallStream, part: Path, progress: Progress | None) -> int:
    gone = 0
    async with stream, await anyio.open_file(part, "wb") as file:
        if stream.status >= GOOD:
            raise await stream.failure()
        length = stream.headers.get("content-length", "")
        coded = "content-encoding" in stream.headers
        size = int(length) if length.isdigit() and not coded else None
        async for piece in stream:
            await file.write(piece)
            gone += len(piece)
            if progress is not None:
                progress(gone, size)
    return gone
