"""What an application has written, as its keeper kept it: two files, the older one full."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncGenerator
from io import BufferedReader
from pathlib import Path

import anyio
import anyio.to_thread

__all__ = ["read_log"]

LOG = "app.log"
LOOK_S = 0.2


async def read_log(
    folder: Path, *, follow: bool = False, tail: int | None = None
) -> AsyncGenerator[bytes]:
    """The log of the instance in *folder*, in pieces of whole lines.

    Args:
        folder: the instance's.
        follow: go on until its keeper's socket is gone, and with it the instance.
        tail: begin with the last so many lines.
    """
    path = folder / LOG
    file, text = await anyio.to_thread.run_sync(_begin, path, tail)
    try:
        if text:
            yield text
        while file is not None:
            is_over = not follow or not await anyio.to_thread.run_sync(
                (folder / "keeper.sock").exists
            )
            piece = await anyio.to_thread.run_sync(_more, file)
            if piece:
                yield piece
            elif (newer := await anyio.to_thread.run_sync(_newer, file, path)) is not None:
                file.close()
                file = newer
            elif is_over:
                return
            else:
                await anyio.sleep(LOOK_S)
    finally:
        if file is not None:
            file.close()


def _begin(path: Path, tail: int | None) -> tuple[BufferedReader | None, bytes]:
    """The present file, read to its end, and what is to be told of both."""
    try:
        file = path.open("rb")
    except OSError:
        return None, b""
    try:
        older = path.with_name(path.name + ".1").read_bytes()
    except OSError:
        older = b""
    text = older + _more(file)
    if tail is not None:
        text = b"".join(deque(text.splitlines(keepends=True), maxlen=tail))
    return file, text


def _more(file: BufferedReader) -> bytes:
    """What has come, up to the end of its last whole line."""
    place = file.tell()
    data = file.read()
    whole = data.rfind(b"\n") + 1
    file.seek(place + whole)
    return data[:whole]


def _newer(file: BufferedReader, path: Path) -> BufferedReader | None:
    """The file that has taken the place of *file*, if one has."""
    try:
        newer = path.open("rb")
    except OSError:
        return None
    if os.fstat(newer.fileno()).st_ino == os.fstat(file.fileno()).st_ino:
        newer.close()
        return None
    return newer
