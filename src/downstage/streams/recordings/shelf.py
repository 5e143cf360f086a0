"""Where the files of recordings lie: a folder of ours, and the content service where it runs.

The content service has the recording under its owner's rights, as ``/Recordings/<name>.mcap``.
Until it has said that it has all of it the file here is the only one and stays; after that the file
here is a copy, which may be dropped and fetched again.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import anyio
import anyio.to_thread

from downstage.contracts.files import MoveRequest
from downstage.kernel.errors import NotFound, PlatformError, Unavailable
from downstage.kernel.logging import get_logger
from downstage.services.client import AsyncClient
from downstage.services.errors import BaseServiceError
from downstage.streams.recordings.model import Recording

__all__ = ["ClientOf", "ContentShelf", "Shelf"]

FOLDER: Final = "Recordings"
TAKEN: Final = (409, 412)
LEAST_S: Final = 60.0
BYTES_A_SECOND: Final = 1 << 20
"""A transfer slower than this is given up and begun again later."""
log = get_logger(__name__)


class ClientOf(Protocol):
    """Makes clients of the content service."""

    def __call__(self, service: str, *, act: str | None = None) -> AsyncClient:
        """One that carries our own token; *act* names the person on whose behalf."""
        ...


@dataclass(frozen=True, slots=True)
class Shelf:
    """The folder."""

    folder: Path

    def file(self, recording: Recording) -> Path:
        """Of a recording."""
        return self.folder / f"{recording.id}.mcap"

    def extras(self, recording: Recording) -> Path:
        """Folder of what people put beside a recording."""
        return self.folder / f"{recording.id}.files"

    def cache(self, recording: Recording) -> Path:
        """Folder of what is made of a recording, and can be made again."""
        return self.folder / f"{recording.id}.made"

    def drop(self, recording: Recording) -> None:
        """Remove all that is here of it. Blocks."""
        self.file(recording).unlink(missing_ok=True)
        shutil.rmtree(self.extras(recording), ignore_errors=True)
        shutil.rmtree(self.cache(recording), ignore_errors=True)

    def clear(self, recording: Recording, *, keeps_file: bool) -> int:
        """Remove what can be had again; how many files that were. Blocks."""
        cache = self.cache(recording)
        count = len(list(cache.iterdir())) if cache.is_dir() else 0
        shutil.rmtree(cache, ignore_errors=True)
        if not keeps_file and self.file(recording).exists():
            self.file(recording).unlink()
            count += 1
        return count


class ContentShelf:
    """The content service as a shelf.

    Args:
        shelf: the folder.
        client_of: makes clients.
    """

    def __init__(self, shelf: Shelf, client_of: ClientOf) -> None:
        self._shelf = shelf
        self._client_of = client_of

    async def put(self, recording: Recording) -> str:
        """Put a recording's file there; returns its path once all of it is safe.

        Raises:
            Unavailable: the service does not run, or does not answer; try again later.
            PlatformError: its owner may not write there, or has no room.
        """
        path = self._shelf.file(recording)
        for name in (recording.name, f"{recording.name}.{recording.id[-8:]}"):
            target = f"{name}.mcap"
            try:
                await self._send(recording, path, target)
            except BaseServiceError as error:
                if error.status in TAKEN:
                    continue
                raise _translated(error) from error
            return f"/{FOLDER}/{target}"
        raise Unavailable("Another file has the name of this recording.", retry_after_s=60)

    async def _send(self, recording: Recording, path: Path, target: str) -> None:
        files = self._client_of("content", act=recording.owner).v1.files
        size = (await anyio.to_thread.run_sync(path.stat)).st_size
        answer: Any = await files[FOLDER][target].put.upload(
            path,
            __headers__={"if-none-match": "*"},
            __timeout__=LEAST_S + size / BYTES_A_SECOND,
        )
        if answer["size"] != size:
            raise Unavailable("The content service has less than was sent.", retry_after_s=60)

    async def fetch(self, recording: Recording) -> None:
        """Bring a recording's file back into the folder.

        Raises:
            Unavailable: the service does not answer.
            NotFound: the file is not there any more.
        """
        if not recording.content_path:
            raise NotFound("The file of this recording is gone.")
        part = self._shelf.folder / f"{recording.id}.part"
        folder, _, name = recording.content_path.strip("/").partition("/")
        files = self._client_of("content", act=recording.owner).v1.files
        try:
            await files[folder][name].get.download(
                part, __timeout__=LEAST_S + recording.size / BYTES_A_SECOND
            )
        except BaseServiceError as error:
            raise _translated(error) from error
        await anyio.to_thread.run_sync(os.replace, part, self._shelf.file(recording))

    async def move(self, recording: Recording, name: str) -> str:
        """Let the file there follow a new name; its path afterwards.

        Raises:
            PlatformError: it could not be moved.
        """
        target = f"/{FOLDER}/{name}.mcap"
        client = self._client_of("content", act=recording.owner)
        try:
            await client.v1["files-move"].post(
                MoveRequest(source=recording.content_path, target=target)
            )
        except BaseServiceError as error:
            raise _translated(error) from error
        return target

    async def remove(self, recording: Recording) -> None:
        """Remove the file there; one that is gone is gone.

        Raises:
            PlatformError: it could not be removed.
        """
        folder, _, name = recording.content_path.strip("/").partition("/")
        try:
            await self._client_of("content", act=recording.owner).v1.files[folder][name].delete()
        except BaseServiceError as error:
            if error.status != NotFound.status:
                raise _translated(error) from error


def _translated(error: BaseServiceError) -> PlatformError:
    """What the service said, as an error of our own."""
    if error.status == NotFound.status:
        return NotFound("The content service does not have this recording's file.")
    return Unavailable(f"The content service does not take or give it: {error.detail}")
