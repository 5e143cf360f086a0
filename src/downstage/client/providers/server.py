"""Our content service: small things by its socket, large ones by HTTP, copies in the cache."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import cast

from downstage.client.callbacks import Callbacks
from downstage.client.options import Options
from downstage.client.origins import Origin
from downstage.client.places import Place
from downstage.client.providers.bulk import Bulk
from downstage.client.providers.connection import Connection
from downstage.client.providers.joined import ServerChannel
from downstage.client.providers.link import Link
from downstage.client.providers.provider import (
    Change,
    Channel,
    Copying,
    Found,
    GroupChange,
    Incoming,
    Outgoing,
    Progress,
    Provider,
)
from downstage.client.providers.rows import checkpoint_entry, entry_of, found_below
from downstage.client.providers.watches import changes_of
from downstage.client.types import (
    AccessFlags,
    AclEntry,
    Content,
    ListEntry,
    ListIncludeOption,
    ServerInfo,
    WriteFileExInfo,
)
from downstage.contracts.content import MAX_INLINE, AclRow, LockRow, Row, VersionRow
from downstage.kernel.errors import AlreadyExists, InvalidInput, NotFound, Upstream, WrongType

__all__ = ["ServerProvider"]

FIRST = 64 * 1024
"""Bytes of a file that are read with its first question."""
PAGE = 5000
HTTP_PREFIX = "/v1/files"
Page = tuple[list[Row], str, int]


class ServerProvider(Provider):
    """One server of ours.

    Args:
        origin: the server.
        prefix: scheme and authority as callers write them.
        options, callbacks: of the client.
    """

    def __init__(self, origin: Origin, prefix: str, options: Options, callbacks: Callbacks) -> None:
        self.link = Link(origin, prefix, options, callbacks)
        self._bulk = Bulk(self.link.http, options)

    async def connection(self) -> Connection:
        """The socket, connected where it is not.

        Raises:
            Unavailable: the server cannot be reached.
            Unauthenticated: it wants to know who asks.
        """
        return await self.link.connection()

    @staticmethod
    def path(place: Place) -> str:
        """The path at the server."""
        if place.scheme in {"http", "https"}:
            return place.path.removeprefix(HTTP_PREFIX) or "/"
        return place.path

    async def stat(
        self, place: Place, include: ListIncludeOption = ListIncludeOption.NO_DELETED_FILES
    ) -> ListEntry:
        """What is there."""
        deleted = include is not ListIncludeOption.NO_DELETED_FILES
        row: Row = await self.link.ask(
            "stat", self.path(place), place.checkpoint, deleted, returns=Row
        )
        if include is ListIncludeOption.ONLY_DELETED_FILES and not row.deleted_at:
            raise NotFound("It is not deleted.")
        return entry_of(row, place.name, _url(place))

    async def entries(
        self, place: Place, include: ListIncludeOption = ListIncludeOption.NO_DELETED_FILES
    ) -> tuple[ListEntry, ...]:
        """What lies in a folder, by name."""
        deleted = include is not ListIncludeOption.NO_DELETED_FILES
        path, after, found = self.path(place), "", list[ListEntry]()
        while True:
            rows, after, _ = cast(
                "Page",
                await self.link.ask("list", path, after, PAGE, False, deleted, returns=Page),
            )
            for row in rows:
                name = row.path.rpartition("/")[2]
                if include is ListIncludeOption.ONLY_DELETED_FILES and not row.deleted_at:
                    continue
                found.append(entry_of(row, name, place.child(name).url))
            if not after:
                return tuple(found)

    async def below(self, place: Place) -> AsyncGenerator[Found]:
        """Everything below a folder, in as many questions as there are thousands of it."""
        path, after = self.path(place), ""
        while True:
            rows, after, _ = cast(
                "Page", await self.link.ask("list", path, after, PAGE, True, returns=Page)
            )
            for row in rows:
                yield found_below(place, path, row)
            if not after:
                return

    async def read(self, place: Place, progress: Progress) -> tuple[str, Content]:
        """Version and bytes: one question for what is small, the cache, ranges for what is not."""
        row, data = await self._first(place)
        if row.size == len(data):
            return str(row.version), Content(data)
        kept = await self._bulk.kept(row.hash)
        if kept is None:
            kept = await self._rest(place, row, data, progress)
        return str(row.version), kept

    async def _first(self, place: Place) -> tuple[Row, bytes]:
        found: tuple[Row, bytes] = await self.link.ask(
            "read", self.path(place), place.checkpoint, 0, FIRST, returns=tuple[Row, bytes]
        )
        return found

    async def _rest(self, place: Place, row: Row, data: bytes, progress: Progress) -> Content:
        if row.size <= MAX_INLINE:
            now, more = cast(
                "tuple[Row, bytes]",
                await self.link.ask(
                    "read", self.path(place), place.checkpoint, len(data), MAX_INLINE,
                    returns=tuple[Row, bytes],
                ),
            )  # fmt: skip
            if now.hash == row.hash:
                content = Content(data)
                content += more
                await self._bulk.keep(row.hash, content)
                return content
            row = now
        return await self._bulk.fetch(self.path(place), place.checkpoint, row, progress)

    async def read_range(self, place: Place, start: int, stop: int) -> bytes:
        """The bytes from *start* up to *stop*."""
        found = bytearray()
        while start < stop:
            length = min(MAX_INLINE, stop - start)
            row, data = cast(
                "tuple[Row, bytes]",
                await self.link.ask(
                    "read", self.path(place), place.checkpoint, start, length,
                    returns=tuple[Row, bytes],
                ),
            )  # fmt: skip
            found += data
            start += len(data)
            if not data or start >= row.size:
                break
        return bytes(found)

    @asynccontextmanager
    async def incoming(self, place: Place) -> AsyncGenerator[Incoming]:
        """A file, piece by piece."""
        row, data = await self._first(place)
        if row.size == len(data):
            yield Incoming(row.size, str(row.version), _once(data))
            return
        async with self._bulk.pieces(self.path(place), place.checkpoint, row) as pieces:
            yield Incoming(row.size, str(row.version), pieces)

    @asynccontextmanager
    async def rest(self, place: Place, start: int, entry: ListEntry) -> AsyncGenerator[Incoming]:
        """The bytes from *start* on of a file that is still that one."""
        path = self.path(place)
        etag = entry.hash or ""
        async with self._bulk.rest(path, place.checkpoint, etag, start) as pieces:
            yield Incoming(entry.size - start, entry.version or "", pieces)

    async def local_file(self, place: Place, progress: Progress) -> str:
        """A verified copy in the cache."""
        row: Row = await self.link.ask("stat", self.path(place), place.checkpoint, returns=Row)
        if row.kind != "file":
            raise WrongType("That is no file.")
        return await self._bulk.local_file(self.path(place), place.checkpoint, row, progress)

    async def write(
        self, place: Place, body: Outgoing, message: str, progress: Progress
    ) -> WriteFileExInfo:
        """Make or replace a file, and the folders above it."""
        _refuse_checkpoint(place)
        path, length = self.path(place), body.length
        if length is not None and length <= MAX_INLINE:
            data = await body.whole()
            row: Row = await self.link.ask(
                "write", path, bytes(data), None, message, again=False, returns=Row
            )
        else:
            await self._bulk.upload(path, body, message, progress)
            row = await self.link.ask("stat", path, returns=Row)
        return WriteFileExInfo(str(row.version), row.hash)

    async def put_file(self, place: Place, path: str, message: str, progress: Progress) -> None:
        """The same from a file of this machine; a large one goes on where it was interrupted."""
        from downstage.client.providers.local_body import LocalFile
        from downstage.client.providers.resumable import RESUMABLE, ResumableUpload

        _refuse_checkpoint(place)
        file = await asyncio.to_thread(LocalFile, path)
        try:
            if file.size < RESUMABLE:
                body = Outgoing(pieces=file.pieces(), size=file.size)
                await self.write(place, body, message, progress)
                file.check()
                return
            upload = ResumableUpload(
                self.link.http, self._bulk.options, file, self.path(place),
                message=message, progress=progress,
            )  # fmt: skip
            digest = await upload.run()
        finally:
            file.close()
        if digest and (await self.stat(place)).hash != digest:
            raise Upstream("What the server has now is not this file; copy it again.")

    async def create_folder(self, place: Place) -> None:
        """Make a folder, and those above it."""
        await self.link.ask("create_folder", self.path(place), True, again=False)

    async def delete(self, place: Place, *, recursive: bool) -> None:
        """Remove a file or folder; `undelete` brings it back."""
        _refuse_checkpoint(place)
        await self.link.ask("delete", self.path(place), recursive, again=False)

    async def undelete(self, place: Place) -> None:
        """Bring back what was deleted."""
        await self.link.ask("undelete", self.path(place), again=False)

    async def obliterate(self, place: Place, *, checkpoints: bool) -> None:
        """Remove for good."""
        await self.link.ask("obliterate", self.path(place), checkpoints, again=False)

    async def copy(self, source: Place, target: Place, how: Copying) -> None:
        """Copy at the server."""
        _refuse_checkpoint(target)
        await self.link.ask(
            "copy", self.path(source), self.path(target), source.checkpoint, how.overwrite,
            how.only, None, how.message, again=False,
        )  # fmt: skip

    async def move(self, source: Place, target: Place, how: Copying) -> bool:
        """Move at the server; it copies nothing."""
        from downstage.client.providers.merging import move_merging

        _refuse_checkpoint(source)
        await move_merging(self, source, target, how, self._move)
        return False

    async def _move(self, source: Place, target: Place, how: Copying) -> None:
        await self.link.ask(
            "move", self.path(source), self.path(target), how.overwrite, how.only, None,
            how.message, again=False,
        )  # fmt: skip

    async def create_checkpoint(self, place: Place, comment: str, *, force: bool) -> str:
        """Keep the present content; where nothing changed, the last one's query."""
        try:
            row: VersionRow = await self.link.ask(
                "checkpoint", self.path(place), comment, force, again=False, returns=VersionRow
            )
        except AlreadyExists:
            return (await self.list_checkpoints(place))[0].relative_path
        return f"&{row.checkpoint}"

    async def list_checkpoints(self, place: Place) -> tuple[ListEntry, ...]:
        """Newest first."""
        rows: list[VersionRow] = await self.link.ask(
            "checkpoints", self.path(place), returns=list[VersionRow]
        )
        return tuple(checkpoint_entry(row, place) for row in rows)

    async def restore_checkpoint(self, place: Place) -> None:
        """Make the checkpoint of the query the present content."""
        if not place.checkpoint:
            raise InvalidInput("The address names no checkpoint; write ?&N.")
        await self.link.ask("restore", self.path(place), place.checkpoint, again=False)

    async def lock(self, place: Place) -> None:
        """Let nobody else write, as long as this client lives."""
        path = self.path(place)
        row: LockRow = await self.link.ask("lock", path, again=False, returns=LockRow)
        self.link.locks[path] = row.token
        self.link.keep_locks()

    async def unlock(self, place: Place) -> None:
        """Let others write again."""
        path = self.path(place)
        await self.link.ask("unlock", path, self.link.locks.get(path, ""), again=False)
        self.link.locks.pop(path, None)

    async def get_acls(self, place: Place) -> tuple[AclEntry, ...]:
        """The explicit rights there."""
        rows: list[AclRow] = await self.link.ask("acl", self.path(place), returns=list[AclRow])
        return tuple(
            AclEntry(row.principal, AccessFlags(row.allow), AccessFlags(row.deny)) for row in rows
        )

    async def set_acls(self, place: Place, acls: Sequence[AclEntry]) -> None:
        """Replace them."""
        rows = [AclRow(acl.name, int(acl.access), int(acl.deny)) for acl in acls]
        await self.link.ask("set_acl", self.path(place), rows, again=False)

    async def people(self, place: Place) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
        """Groups by user, and all groups."""
        users, groups = cast(
            "tuple[list[tuple[str, list[str]]], list[str]]",
            await self.link.ask("people", returns=tuple[list[tuple[str, list[str]]], list[str]]),
        )
        return {name: tuple(theirs) for name, theirs in users}, tuple(groups)

    async def change_group(self, place: Place, change: GroupChange, group: str, other: str) -> None:
        """Groups live in the identity service, as the users' own."""
        from downstage.client.providers.groups import change_group

        await change_group(self.link.http, change, group, other)

    async def server_info(self, place: Place) -> ServerInfo:
        """What the server says of itself, and who one is there."""
        await self.connection()
        welcome = self.link.welcome
        token = None
        if self.link.http.credentials is not None:
            token = await self.link.http.credentials.token()
        return ServerInfo(
            version=welcome.server or str(welcome.version),
            username=welcome.name,
            auth_token=token or "",
            cache_enabled=self._bulk.is_cached,
            checkpoints_enabled="checkpoint" in welcome.ops,
            omniojects_enabled=any(op.startswith("live.") for op in welcome.ops),
        )

    def watch(
        self, place: Place, *, children: bool
    ) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        """What happens to a thing, or to a folder's children, from now on."""
        return changes_of(self.link, place, self.path(place), children=children)

    @asynccontextmanager
    async def join_channel(self, place: Place) -> AsyncGenerator[Channel]:
        """Join the channel there."""
        connection = await self.connection()
        async with connection.opened("join", self.path(place)) as stream:
            yield ServerChannel(connection, stream)

    async def reconnect(self, place: Place) -> None:
        """Connect now, whatever failed before."""
        self.link.http.breaker.reset()
        await self.connection()

    async def refresh_token(self) -> None:
        """Ask for another token at the next request."""
        self.link.forget_token()

    async def sign_out(self) -> None:
        """Disconnect, and forget who one was."""
        await self.link.sign_out()

    async def disconnect(self) -> None:
        """Close the socket and every other connection."""
        await self.link.close()


def _url(place: Place) -> str:
    return place.url if place.query is None else f"{place.url}?{place.query}"


def _refuse_checkpoint(place: Place) -> None:
    if place.checkpoint:
        raise InvalidInput("A checkpoint does not change.")


async def _once(data: bytes) -> AsyncGenerator[bytes]:
    yield data
