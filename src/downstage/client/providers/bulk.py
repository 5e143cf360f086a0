"""Large files at our servers: ranges in parallel down, resumable up, copies in the cache."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from downstage.client.cache import Cache, hash_of
from downstage.client.daemons import in_daemon
from downstage.client.http import Http
from downstage.client.logs import log
from downstage.client.options import Options
from downstage.client.providers.disk import os_errors
from downstage.client.providers.hops import in_thread
from downstage.client.providers.provider import Outgoing, Progress
from downstage.client.providers.ranges import RangeSource, may_go_direct
from downstage.client.types import Content, LogLevel
from downstage.client.url_parts import SAFE_PATH, encode
from downstage.contracts.content import Row
from downstage.kernel import errors

__all__ = ["Bulk"]

RANGE = 16 * 1024 * 1024
"""Bytes from which a file is fetched in several parts at once."""
RESUMABLE = 32 * 1024 * 1024
"""Bytes from which an upload can be resumed."""
PIECE = 256 * 1024
TRIES = 5
"""Interruptions without progress that an upload survives."""
PARTIAL = 206
TUS = {"Tus-Resumable": "1.0.0"}


class Bulk:
    """Moves bytes for one server's provider.

    Args:
        http: to the server.
        options: of the client.
    """

    def __init__(self, http: Http, options: Options) -> None:
        self._http = http
        self.options = options
        self._cache = Cache(options.cache_folder, options.cache_bytes)

    @property
    def is_cached(self) -> bool:
        """Whether copies are kept."""
        return self._cache.is_kept

    async def kept(self, digest: str) -> Content | None:
        """The bytes with that hash, where a copy is here and still right."""
        if not digest or not self.is_cached:
            return None
        return await asyncio.to_thread(self._cache.get, digest)

    async def keep(self, digest: str, data: bytearray) -> None:
        """Check *data* and keep a copy.

        Raises:
            Upstream: it is not what the server said.
        """
        await asyncio.to_thread(self._check_and_keep, digest, data)

    def _check_and_keep(self, digest: str, data: bytearray) -> None:
        if digest and hash_of(data) != digest:
            raise errors.Upstream("What arrived is not what the server has.")
        if digest:
            self._cache.put(digest, data)

    async def fetch(self, path: str, checkpoint: int, row: Row, progress: Progress) -> Content:
        """A whole file, checked; kept in the cache.

        Raises:
            VersionMismatch: it changed while it was read.
        """
        content = Content(row.size)
        if may_go_direct(self._http.origin):
            await self._fetch_parts(content, path, checkpoint, row, progress)
        else:
            done = 0
            async with self.pieces(path, checkpoint, row) as pieces:
                async for piece in pieces:
                    content[done : done + len(piece)] = piece
                    done += len(piece)
                    progress(done, row.size)
        await self.keep(row.hash, content)
        return content

    async def _fetch_parts(
        self, content: Content, path: str, checkpoint: int, row: Row, progress: Progress
    ) -> None:
        loop = asyncio.get_running_loop()
        source = RangeSource(
            self._http.origin,
            _target(path, checkpoint),
            await self._http.headers(),
            connect_s=self.options.connect_s,
            idle_s=self.options.idle_s,
        )
        done = 0

        def moved(count: int) -> None:
            loop.call_soon_threadsafe(tell, count)

        def tell(count: int) -> None:
            nonlocal done
            done += count
            progress(done, row.size)

        with memoryview(content) as view:
            tasks = [
                asyncio.create_task(
                    in_daemon(
                        partial(source.fill, view[start:stop], start, row.etag, moved),
                        "downstage-range",
                    )
                )
                for start, stop in _parts(row.size, self.options.parallel)
            ]
            try:
                await asyncio.gather(*tasks)
            finally:
                source.cancel()
                # Threads write into the view: it must outlive them, even when we are cancelled.
                await asyncio.shield(asyncio.gather(*tasks, return_exceptions=True))

    @asynccontextmanager
    async def pieces(
        self, path: str, checkpoint: int, row: Row
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """A file piece by piece; the last one is only given where all of it was right."""
        url = self._http.origin.url + _target(path, checkpoint)
        headers = {"If-Match": f'"{row.etag}"', "Accept-Encoding": "identity"}
        async with self._http.request("GET", url, headers=headers) as response:
            yield _checked(response.content.iter_chunked(PIECE), row)

    @asynccontextmanager
    async def rest(
        self, path: str, checkpoint: int, etag: str, start: int
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """The bytes from *start* on, unchecked: whoever has those before checks all.

        Raises:
            VersionMismatch: the file is another by now.
        """
        url = self._http.origin.url + _target(path, checkpoint)
        headers = {
            "Range": f"bytes={start}-",
            "If-Range": f'"{etag}"',
            "Accept-Encoding": "identity",
        }
        async with self._http.request("GET", url, headers=headers) as response:
            if response.status != PARTIAL:
                raise errors.VersionMismatch("The file changed meanwhile.")
            yield response.content.iter_chunked(PIECE)

    async def local_file(self, path: str, checkpoint: int, row: Row, progress: Progress) -> str:
        """Path of a checked copy.

        Raises:
            NotSupported: no cache is kept, or the file is more than it may hold.
        """
        found = await asyncio.to_thread(self._cache.path, row.hash)
        if found is not None:
            return str(found)
        if not self.is_cached:
            raise errors.NotSupported("No copies are kept: the cache is switched off.")
        temporary = await in_thread(self._cache.temporary)
        try:
            async with self.pieces(path, checkpoint, row) as pieces:
                done = 0
                with os_errors(), temporary.open("wb") as file:
                    async for piece in pieces:
                        await in_thread(partial(file.write, piece))
                        done += len(piece)
                        progress(done, row.size)
            return str(await in_thread(partial(self._cache.adopt, row.hash, temporary)))
        finally:
            await asyncio.to_thread(temporary.unlink, missing_ok=True)

    async def upload(self, path: str, body: Outgoing, message: str, progress: Progress) -> None:
        """Send a file; where its bytes are at hand, an interruption costs only what was cut."""
        if body.data is not None and memoryview(body.data).nbytes >= RESUMABLE:
            await self._resumable(path, memoryview(body.data), message, progress)
            return
        headers = {"Content-Type": "application/octet-stream"}
        if body.length is not None:
            headers["Content-Length"] = str(body.length)
        if message:
            headers["Downstage-Message"] = encode(message, "")
        url = self._http.origin.url + _target(path, 0)
        pieces = _told(body.chunks(), body.length or 0, progress)
        async with self._http.request("PUT", url, headers=headers, data=pieces):
            return

    async def _resumable(
        self, path: str, view: memoryview, message: str, progress: Progress
    ) -> None:
        fields = {"path": path, **({"message": message} if message else {})}
        metadata = ",".join(f"{key} {_base64(value)}" for key, value in fields.items())
        begun = {**TUS, "Upload-Length": str(len(view)), "Upload-Metadata": metadata}
        base = self._http.origin.url
        async with self._http.request("POST", f"{base}/v1/files-uploads", headers=begun) as made:
            location = made.headers["Location"]
        url = location if "://" in location else base + location
        offset, tries = 0, 0
        while offset < len(view):
            try:
                offset = await self._continue(url, view, offset, progress)
            except errors.Unavailable as error:
                tries += 1
                if tries > TRIES:
                    raise
                log(LogLevel.INFO, "client.upload_interrupted", offset=offset, why=error.detail)
                await asyncio.sleep(min(2.0, 0.1 * 2**tries))
                offset, before = await self._offset(url), offset
                tries = 0 if offset > before else tries

    async def _continue(self, url: str, view: memoryview, offset: int, progress: Progress) -> int:
        headers = {
            **TUS,
            "Upload-Offset": str(offset),
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(len(view) - offset),
        }

        def tell(done: int, _: int) -> None:
            progress(offset + done, len(view))

        rest = Outgoing(data=view[offset:])
        pieces = _told(rest.chunks(), len(view) - offset, tell)
        async with self._http.request("PATCH", url, headers=headers, data=pieces) as answer:
            return int(answer.headers.get("Upload-Offset", len(view)))

    async def _offset(self, url: str) -> int:
        async with self._http.request("HEAD", url, headers=TUS) as answer:
            return int(answer.headers["Upload-Offset"])


async def _told(
    pieces: AsyncIterator[bytes | memoryview], total: int, progress: Progress
) -> AsyncGenerator[bytes]:
    done = 0
    async for piece in pieces:
        view = memoryview(piece)
        for start in range(0, len(view), PIECE):
            part = bytes(view[start : start + PIECE])
            yield part
            done += len(part)
            progress(done, total)


async def _checked(pieces: AsyncIterator[bytes], row: Row) -> AsyncGenerator[bytes]:
    from blake3 import blake3

    digest, done, last = blake3(), 0, b""
    async for piece in pieces:
        if last:
            yield last
        digest.update(piece)
        done += len(piece)
        last = piece
    if done != row.size or (row.hash and digest.hexdigest() != row.hash):
        raise errors.Upstream("What arrived is not what the server has.")
    if last:
        yield last


def _parts(size: int, most: int) -> list[tuple[int, int]]:
    count = max(1, min(most, size // RANGE, os.cpu_count() or 1))
    step = -(-size // count)
    return [(start, min(size, start + step)) for start in range(0, size, step)]


def _target(path: str, checkpoint: int) -> str:
    query = f"?checkpoint={checkpoint}" if checkpoint else ""
    return f"/v1/files{encode(path, SAFE_PATH)}{query}"


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
