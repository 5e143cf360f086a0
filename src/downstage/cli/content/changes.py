"""``rm``, ``undelete``, ``mkdir``, ``checkpoint`` and ``restore``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from downstage.cli.content.desk import about, client_of, err, out
from downstage.cli.content.shown import of_url, plural, size_of
from downstage.client.client import Client
from downstage.client.operations import listing, versions, writing
from downstage.client.places import Place
from downstage.client.providers.server import ServerProvider
from downstage.kernel.errors import FolderNotEmpty, InvalidInput, NotFound
from downstage.kernel.settings import Settings

__all__ = ["make_checkpoint", "make_folder", "remove", "restore", "undelete"]


@dataclass(frozen=True, slots=True)
class _Doomed:
    """Something that is to be deleted."""

    url: str
    is_folder: bool
    files: int
    folders: int
    size: int
    comes_back: bool
    """Whether its server keeps what is deleted."""

    @property
    def things(self) -> int:
        """How many things go with it, itself among them."""
        return 1 + self.files + self.folders

    def __str__(self) -> str:
        if not self.is_folder:
            return f"{of_url(self.url)} ({size_of(self.size)})"
        if self.things == 1:
            return f"{of_url(self.url)} (an empty folder)"
        inner = f"{plural(self.files, 'file')} and {plural(self.folders, 'folder')}"
        return f"{of_url(self.url)} with {inner} in it ({size_of(self.size)})"


def remove(
    settings: Settings, urls: Sequence[str], *, recursive: bool, force: bool, dry_run: bool
) -> bool:
    """Delete; False where the person said no."""
    with client_of(settings) as client:
        doomed = [found for url in urls if (found := _look(client, url, force=force))]
        for thing in doomed:
            if thing.things > 1 and not recursive:
                raise FolderNotEmpty(f"{thing}: -r deletes it with all in it.")
        if dry_run:
            for thing in doomed:
                out().print(f"would delete {thing}")
            return True
        if sum(thing.things for thing in doomed) > 1 and not force and not _is_meant(doomed):
            err().print("Nothing was deleted.")
            return False
        for thing in doomed:
            with about(thing.url):
                operation = writing.delete if recursive else writing.delete_single
                client.run(operation, thing.url)
    _tell(doomed)
    return True


def _look(client: Client, url: str, *, force: bool) -> _Doomed | None:
    try:
        with about(url):
            return client.run(_seen, url)
    except NotFound:
        if force:
            return None
        raise


async def _seen(client: Client, url: str) -> _Doomed:
    place = client.place(url)
    if place.path == "/":
        raise InvalidInput("The root itself cannot be deleted; name what is in it.")
    if place.checkpoint:
        raise InvalidInput("A checkpoint cannot be deleted by itself.")
    provider = await client.provider(place)
    entry = await provider.stat(place)
    comes_back = isinstance(provider, ServerProvider)
    if not entry.is_folder or _is_link(place):
        return _Doomed(url, False, 0, 0, entry.size, comes_back)
    files = folders = size = 0
    async for found in provider.below(place):
        files += not found.entry.is_folder
        folders += found.entry.is_folder
        size += found.entry.size
    return _Doomed(url, True, files, folders, size, comes_back)


def _is_link(place: Place) -> bool:
    from pathlib import Path

    return place.scheme == "file" and Path(place.path).is_symlink()


def _is_meant(doomed: Sequence[_Doomed]) -> bool:
    """Ask the person; without one, what was written is what is meant."""
    if not sys.stdin.isatty():
        return True
    console = err()
    for thing in doomed:
        console.print(f"  {thing}")
    console.print("Delete? [y/N] ", end="")
    return input().strip().lower() in {"y", "yes"}


def _tell(doomed: Sequence[_Doomed]) -> None:
    console = err()
    for thing in doomed:
        console.print(f"deleted {thing}")
    kept = [thing.url for thing in doomed if thing.comes_back]
    if kept:
        which = kept[0] if len(kept) == 1 else "URL"
        console.print(f"It can come back: downstage files undelete {_quoted(which)}", style="dim")


def _quoted(url: str) -> str:
    import shlex

    return shlex.quote(url)


def undelete(settings: Settings, urls: Sequence[str]) -> None:
    """Bring back what was deleted."""
    with client_of(settings) as client:
        for url in urls:
            with about(url):
                client.run(writing.undelete, url)
            err().print(f"{of_url(url)} is back.")


def make_folder(settings: Settings, urls: Sequence[str], *, parents: bool) -> None:
    """Make folders; with *parents*, those above too, and what is there already is fine."""
    with client_of(settings) as client:
        for url in urls:
            with about(url):
                client.run(_make, url, parents)


async def _make(client: Client, url: str, parents: bool) -> None:
    place = client.place(url)
    provider = await client.provider(place)
    if not parents:
        above = client.place(place.url.rstrip("/").rpartition("/")[0] + "/")
        try:
            await provider.stat(above)
        except NotFound:
            raise NotFound("The folder above it is missing; -p makes that too.") from None
    elif await _is_folder(client, url):
        return
    await provider.create_folder(place)


async def _is_folder(client: Client, url: str) -> bool:
    try:
        return (await listing.stat(client, url)).is_folder
    except NotFound:
        return False


def make_checkpoint(settings: Settings, url: str, message: str, *, force: bool) -> None:
    """Keep a file as it is; prints the address of what was kept."""
    with client_of(settings) as client, about(url):
        query = client.run(versions.create_checkpoint, url, message, force)
        place = client.place(url)
    print(f"{place.url}?{query}")


def restore(settings: Settings, url: str) -> None:
    """Make a checkpoint the present content again."""
    with client_of(settings) as client, about(url):
        place = client.place(url)
        if not place.checkpoint:
            raise InvalidInput(
                "Say which checkpoint, for example "
                f"'{of_url(place.url)}?&3'; downstage files checkpoints lists them."
            )
        client.run(versions.restore_checkpoint, url)
    err().print(f"{of_url(place.url)} is what it was at checkpoint {place.checkpoint}.")
