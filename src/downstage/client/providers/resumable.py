"""Sending a large file of this machine so that nothing but a new file makes it begin anew.

The server keeps what has arrived; here a note says which upload it was (`UploadNotes`), so that
another process goes on where this one was killed.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncGenerator

from downstage.client.http import Http
from downstage.client.logs import log
from downstage.client.options import Options
from downstage.client.providers.local_body import LocalFile
from downstage.client.providers.provider import Progress
from downstage.client.providers.upload_notes import Note, UploadNotes
from downstage.client.types import LogLevel
from downstage.kernel import errors

__all__ = ["RESUMABLE", "ResumableUpload"]

RESUMABLE = 16 * 1024 * 1024
"""Bytes from which a file is sent so that it can be continued."""
TRIES = 5
"""Interruptions without progress that one call survives."""
TUS = {"Tus-Resumable": "1.0.0"}
ROUTE = "/v1/files-uploads"


class ResumableUpload:
    """Of one file to one path of one server.

    Args:
        http: to the server.
        options: of the client.
        file: what to send.
        path: at the server.
        message: of the checkpoint that it makes.
        progress: told how far it is.
    """

    def __init__(
        self,
        http: Http,
        options: Options,
        file: LocalFile,
        path: str,
        *,
        message: str,
        progress: Progress,
    ) -> None:
        self._http = http
        self._file = file
        self._local_path = os.path.realpath(file.path)
        self._path = path
        self._message = message
        self._progress = progress
        self._notes = UploadNotes(options.cache_folder / "uploads")
        self._target = http.origin.url + path

    async def run(self) -> str:
        """Send what the server has not; the hash it should have, where it did not say so itself.

        Raises:
            VersionMismatch: the file was written to meanwhile.
            Upstream: the server has something else now.
        """
        hashing = asyncio.create_task(asyncio.to_thread(self._file.digest))
        try:
            etag = await self._send_all()
            digest = await hashing
        finally:
            await asyncio.wait([hashing])
        self._notes.drop(self._target, self._local_path)
        self._file.check()
        if etag and etag != digest:
            raise errors.Upstream("What the server has now is not this file; copy it again.")
        return "" if etag else digest

    async def _send_all(self) -> str:
        url, offset = await self._known() or (await self._begun(), 0)
        tries = 0
        while True:
            try:
                return await self._send(url, offset)
            except errors.Gone:
                if offset < self._file.size:
                    raise
                return ""  # it was complete, and only the answer to that was lost
            except (errors.Unavailable, errors.Conflict) as error:
                # Conflict: the server still takes in what an earlier connection left behind.
                tries += 1
                if tries > TRIES:
                    raise
                log(LogLevel.INFO, "client.upload_interrupted", offset=offset, why=error.detail)
                await asyncio.sleep(min(2.0, 0.1 * 2**tries))
                now = await self._offset(url)
                tries = 0 if now > offset else tries
                offset = now

    async def _known(self) -> tuple[str, int] | None:
        """The upload that was begun once, and how much of it has arrived."""
        note = self._notes.find(self._target, self._local_path)
        if note is None or not note.is_of(self._file.seen, self._message):
            return None
        if not note.url.startswith(self._http.origin.url + ROUTE):
            return None
        try:
            offset = await self._offset(note.url)
        except (errors.NotFound, errors.Gone):
            return None
        if not 0 <= offset < self._file.size:
            return None  # complete, and perhaps written: what is there says it better
        log(LogLevel.INFO, "client.upload_continued", offset=offset)
        return note.url, offset

    async def _begun(self) -> str:
        fields = {"path": self._path, **({"message": self._message} if self._message else {})}
        metadata = ",".join(f"{key} {_base64(value)}" for key, value in fields.items())
        headers = {**TUS, "Upload-Length": str(self._file.size), "Upload-Metadata": metadata}
        base = self._http.origin.url
        async with self._http.request("POST", base + ROUTE, headers=headers) as made:
            location = made.headers["Location"]
        url = location if "://" in location else base + location
        seen = self._file.seen
        self._notes.keep(
            Note(
                url, self._target, self._local_path, seen.st_size, seen.st_mtime_ns, seen.st_ino,
                self._message,
            )
        )  # fmt: skip
        return url

    async def _send(self, url: str, offset: int) -> str:
        headers = {
            **TUS,
            "Upload-Offset": str(offset),
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(self._file.size - offset),
        }
        self._progress(offset, self._file.size)
        pieces = self._pieces(offset)
        async with self._http.request("PATCH", url, headers=headers, data=pieces) as answer:
            return answer.headers.get("ETag", "").strip('"')

    async def _pieces(self, offset: int) -> AsyncGenerator[bytes]:
        async for piece in self._file.pieces(offset):
            yield piece
            offset += len(piece)
            self._progress(offset, self._file.size)

    async def _offset(self, url: str) -> int:
        async with self._http.request("HEAD", url, headers=TUS) as answer:
            return int(answer.headers["Upload-Offset"])


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
