"""What every kind of place can be asked for; a kind that cannot says `NotSupported`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from downstage.client.places import Place
from downstage.client.types import (
    AclEntry,
    ChannelEvent,
    Content,
    ListEntry,
    ListEvent,
    ListIncludeOption,
    ServerInfo,
    WriteFileExInfo,
)
from downstage.kernel.errors import BadUrl, NotSupported, Upstream

__all__ = [
    "Change",
    "Channel",
    "Copying",
    "Found",
    "Incoming",
    "Outgoing",
    "Progress",
    "Provider",
    "found_in",
    "gathered",
    "no_progress",
]

Progress = Callable[[int, int], None]
"""Told bytes done and bytes in all (0: not known)."""
GroupChange = Literal["create", "rename", "remove", "add", "drop"]
Only = Literal["file", "folder"] | None


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""
    del done, total


@dataclass(frozen=True, slots=True)
class Change:
    """Something happened where one watches; UNKNOWN: look again at everything."""

    event: ListEvent
    entry: ListEntry


@dataclass(frozen=True, slots=True)
class Incoming:
    """A file on its way in."""

    size: int | None
    version: str
    pieces: AsyncIterator[bytes | memoryview]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A file on its way out: whole, or piece by piece."""

    data: bytes | bytearray | memoryview | None = None
    pieces: AsyncIterator[bytes | memoryview] | None = None
    size: int | None = None

    @property
    def length(self) -> int | None:
        """Bytes, where known."""
        return self.size if self.data is None else memoryview(self.data).nbytes

    async def chunks(self) -> AsyncGenerator[bytes | memoryview]:
        """All of it, in pieces."""
        if self.data is not None:
            yield memoryview(self.data)
        elif self.pieces is not None:
            async for piece in self.pieces:
                yield piece

    async def whole(self) -> bytes | bytearray | memoryview:
        """All of it at once."""
        if self.data is not None:
            return self.data
        found = bytearray()
        async for piece in self.chunks():
            found += piece
        return found


@dataclass(frozen=True, slots=True)
class Copying:
    """How a copy or a move is meant."""

    overwrite: bool = False
    only: Only = None
    """Refuse anything but this kind."""
    message: str = ""
    progress: Progress = no_progress


@dataclass(frozen=True, slots=True)
class Found:
    """A thing below a folder that is walked."""

    place: Place
    entry: ListEntry
    parts: tuple[str, ...]
    """Its names below that folder."""
    is_link: bool = False
    """A link of this machine; one to a folder is not gone into."""
    refused: str = ""
    """Why it can be neither read nor written here; then `place` is the folder's."""


class Channel(Protocol):
    """A joined channel."""

    def __aiter__(self) -> AsyncIterator[tuple[ChannelEvent, str, Content]]:
        """What others say: event, who, content."""
        ...

    async def send(self, content: bytes | memoryview) -> None:
        """Say something to all others."""
        ...


class Provider(Protocol):
    """Runs on the client's loop; raises errors of the platform's tree."""

    async def stat(
        self, place: Place, include: ListIncludeOption = ListIncludeOption.NO_DELETED_FILES
    ) -> ListEntry:
        """What is there."""
        raise _cannot(place, "stat")

    async def entries(
        self, place: Place, include: ListIncludeOption = ListIncludeOption.NO_DELETED_FILES
    ) -> tuple[ListEntry, ...]:
        """What lies in a folder, by name."""
        raise _cannot(place, "list")

    async def below(self, place: Place) -> AsyncGenerator[Found]:
        """Everything below a folder; a folder comes before what it holds."""
        waiting: list[tuple[Place, tuple[str, ...]]] = [(place, ())]
        while waiting:
            folder, parts = waiting.pop()
            for entry in await self.entries(folder):
                found = found_in(folder, parts, entry)
                yield found
                if entry.is_folder and not found.refused:
                    waiting.append((found.place, found.parts))

    async def read(self, place: Place, progress: Progress) -> tuple[str, Content]:
        """Version and bytes of a file."""
        async with self.incoming(place) as incoming:
            return incoming.version, await gathered(incoming, progress)

    async def read_range(self, place: Place, start: int, stop: int) -> bytes:
        """The bytes from *start* up to *stop*, fewer at the end."""
        raise _cannot(place, "read")

    async def local_file(self, place: Place, progress: Progress) -> str:
        """Path of the file, or of a copy of it, on this machine."""
        raise _cannot(place, "keep local copies")

    def incoming(self, place: Place) -> AbstractAsyncContextManager[Incoming]:
        """A file, piece by piece."""
        raise _cannot(place, "read")

    def rest(
        self, place: Place, start: int, entry: ListEntry
    ) -> AbstractAsyncContextManager[Incoming]:
        """The bytes from *start* on, where the file still is what *entry* says.

        Raises:
            VersionMismatch: it is another by now; read it from its beginning.
        """
        raise _cannot(place, "go on with a read")

    async def write(
        self, place: Place, body: Outgoing, message: str, progress: Progress
    ) -> WriteFileExInfo:
        """Make or replace a file, and the folders above it."""
        raise _cannot(place, "write")

    async def put_file(self, place: Place, path: str, message: str, progress: Progress) -> None:
        """The same with the bytes of a file of this machine."""
        from downstage.client.providers.local_body import local_body

        async with local_body(path) as body:
            await self.write(place, body, message, progress)

    async def create_folder(self, place: Place) -> None:
        """Make a folder."""
        raise _cannot(place, "create folders")

    async def delete(self, place: Place, *, recursive: bool) -> None:
        """Remove a file or folder."""
        raise _cannot(place, "delete")

    async def undelete(self, place: Place) -> None:
        """Bring back what was deleted."""
        raise _cannot(place, "undelete")

    async def obliterate(self, place: Place, *, checkpoints: bool) -> None:
        """Remove for good."""
        raise _cannot(place, "obliterate")

    async def copy(self, source: Place, target: Place, how: Copying) -> None:
        """Copy inside this provider."""
        raise _cannot(target, "copy")

    async def move(self, source: Place, target: Place, how: Copying) -> bool:
        """Move inside this provider; True where bytes had to be copied."""
        raise _cannot(target, "move")

    async def create_checkpoint(self, place: Place, comment: str, *, force: bool) -> str:
        """Keep the present content; its query."""
        raise _cannot(place, "checkpoints")

    async def list_checkpoints(self, place: Place) -> tuple[ListEntry, ...]:
        """Newest first."""
        raise _cannot(place, "checkpoints")

    async def restore_checkpoint(self, place: Place) -> None:
        """Make the checkpoint in *place* the present content again."""
        raise _cannot(place, "checkpoints")

    async def lock(self, place: Place) -> None:
        """Let nobody else write."""
        raise _cannot(place, "lock")

    async def unlock(self, place: Place) -> None:
        """Let others write again."""
        raise _cannot(place, "lock")

    async def get_acls(self, place: Place) -> tuple[AclEntry, ...]:
        """The explicit rights there."""
        raise _cannot(place, "access lists")

    async def set_acls(self, place: Place, acls: Sequence[AclEntry]) -> None:
        """Replace them."""
        raise _cannot(place, "access lists")

    async def people(self, place: Place) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
        """Groups by user, and all groups."""
        raise _cannot(place, "users")

    async def change_group(self, place: Place, change: GroupChange, group: str, other: str) -> None:
        """Make, rename or remove a group, put a user in or out (*other*)."""
        raise _cannot(place, "groups")

    async def server_info(self, place: Place) -> ServerInfo:
        """What the server says of itself."""
        raise _cannot(place, "server info")

    def watch(
        self, place: Place, *, children: bool
    ) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        """What happens to a thing, or to a folder's children, from now on."""
        raise _cannot(place, "watch")

    def join_channel(self, place: Place) -> AbstractAsyncContextManager[Channel]:
        """Join the channel there."""
        raise _cannot(place, "channels")

    async def reconnect(self, place: Place) -> None:
        """Connect now, whatever failed before."""

    async def refresh_token(self) -> None:
        """Ask for another token at the next request."""

    async def sign_out(self) -> None:
        """Disconnect, and forget who one was."""
        await self.disconnect()

    async def disconnect(self) -> None:
        """Close connections; what waits on them ends with `Unavailable`."""

    async def close(self) -> None:
        """The client ends."""
        await self.disconnect()


def found_in(folder: Place, parts: tuple[str, ...], entry: ListEntry) -> Found:
    """What a listing of *folder* shows, which lies at *parts*; a server may call it anything."""
    name = entry.relative_path
    try:
        place = folder.child(name)
    except BadUrl as error:
        return Found(folder, entry, (*parts, name), refused=error.detail)
    return Found(place, entry, (*parts, name))


async def gathered(incoming: Incoming, progress: Progress) -> Content:
    """All pieces as one content, without a second copy where the size is known."""
    size = incoming.size
    content, done = Content(size or 0), 0
    async for piece in incoming.pieces:
        content[done : done + len(piece)] = piece
        done += len(piece)
        progress(done, size or 0)
    if done < len(content):
        raise Upstream("The file was cut short on its way.")
    return content


def _cannot(place: Place, what: str) -> NotSupported:
    return NotSupported(f"{place.scheme}: cannot {what}.")
