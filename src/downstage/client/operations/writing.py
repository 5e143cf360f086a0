"""Changing things: write, folders, delete and back."""

# ruff: noqa: D417 - the first argument is the client, in every operation
from __future__ import annotations

from downstage.client.client import Client
from downstage.client.providers.provider import Outgoing
from downstage.client.types import FileStatus, WriteFileExInfo

__all__ = [
    "create_folder",
    "delete",
    "delete_single",
    "obliterate",
    "undelete",
    "write_file",
    "write_file_ex",
]

Buffer = bytes | bytearray | memoryview


async def write_file_ex(
    client: Client, url: str, content: Buffer, message: str = ""
) -> WriteFileExInfo:
    """Make a file, or replace it, and say what became of it. Missing folders are made.

    Args:
        url: of the file.
        content: its bytes, anything with a buffer.
        message: where the server keeps checkpoints, makes one with this comment.
    """
    data = memoryview(content).cast("B")
    place = client.place(url)
    provider = await client.provider(place)
    tell = client.progress(url, FileStatus.WRITING)
    tell(0, 1)
    made = await provider.write(place, Outgoing(data=data), message, tell)
    tell(1, 1)
    return made


async def write_file(client: Client, url: str, content: Buffer, message: str = "") -> None:
    """Make a file, or replace it. Missing folders are made.

    Args:
        url: of the file.
        content: its bytes, anything with a buffer.
        message: where the server keeps checkpoints, makes one with this comment.
    """
    await write_file_ex(client, url, content, message)


async def create_folder(client: Client, url: str) -> None:
    """Make a folder, and those above it that are missing.

    Args:
        url: of the folder.
    """
    place = client.place(url)
    await (await client.provider(place)).create_folder(place)


async def delete(client: Client, url: str) -> None:
    """Delete a file, or a folder with everything in it.

    Args:
        url: of the thing.
    """
    await _delete(client, url, recursive=True)


async def delete_single(client: Client, url: str) -> None:
    """Delete a file or an empty folder.

    Args:
        url: of the thing.
    """
    await _delete(client, url, recursive=False)


async def _delete(client: Client, url: str, *, recursive: bool) -> None:
    place = client.place(url)
    provider = await client.provider(place)
    tell = client.progress(url, FileStatus.DELETING)
    await provider.delete(place, recursive=recursive)
    tell(1, 1)


async def undelete(client: Client, url: str) -> None:
    """Bring back what was deleted, where the server keeps it.

    Args:
        url: of the thing, as it was.
    """
    place = client.place(url)
    await (await client.provider(place)).undelete(place)


async def obliterate(client: Client, url: str, obliterate_checkpoints: bool = False) -> None:
    """Remove a file, or an empty folder, so that nothing brings it back.

    Args:
        url: of the thing; it may be deleted already.
        obliterate_checkpoints: its checkpoints too; where it has some, this is needed.
    """
    place = client.place(url)
    provider = await client.provider(place)
    tell = client.progress(url, FileStatus.OBLITERATING)
    await provider.obliterate(place, checkpoints=obliterate_checkpoints)
    tell(1, 1)
