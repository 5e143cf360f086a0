"""Looking at things: stat, list, resolve, read."""

# ruff: noqa: D417 - the first argument is the client, in every operation
from __future__ import annotations

from collections.abc import Sequence

from downstage.client.client import Client
from downstage.client.types import Content, FileStatus, ListEntry, ListIncludeOption
from downstage.client.urls import combine_urls
from downstage.kernel.errors import NotFound

__all__ = ["get_local_file", "list_", "read_file", "resolve", "stat"]


async def list_(
    client: Client,
    url: str,
    include_deleted_option: ListIncludeOption = ListIncludeOption.NO_DELETED_FILES,
) -> tuple[ListEntry, ...]:
    """List what lies in a folder, by name.

    Args:
        url: of the folder.
        include_deleted_option: whether deleted things are listed too.
    """
    place = client.place(url)
    provider = await client.provider(place)
    tell = client.progress(url, FileStatus.LISTING)
    found = await provider.entries(place, ListIncludeOption(include_deleted_option))
    tell(1, 1)
    return found


async def stat(
    client: Client,
    url: str,
    include_deleted_option: ListIncludeOption = ListIncludeOption.NO_DELETED_FILES,
) -> ListEntry:
    """Say what a file or folder is.

    Args:
        url: of the thing; ``?&N`` names a checkpoint.
        include_deleted_option: whether a deleted thing counts as there.
    """
    place = client.place(url)
    provider = await client.provider(place)
    return await provider.stat(place, ListIncludeOption(include_deleted_option))


async def resolve(client: Client, url: str, search_urls: Sequence[str]) -> tuple[ListEntry, str]:
    """Find a file by its relative address in several places, the first that has it.

    Args:
        url: relative, or whole: then it is only looked at.
        search_urls: where to look, before the default search paths.
    """
    last: NotFound | None = None
    for base in [*search_urls, *client.search_urls, ""]:
        whole = combine_urls(base, url) if base else url
        try:
            entry = await stat(client, whole)
        except NotFound as error:
            last = error
        else:
            return entry, whole
    assert last is not None  # noqa: S101 - the list above is never empty
    raise last


async def read_file(client: Client, url: str) -> tuple[str, Content]:
    """Read a file whole.

    Args:
        url: of the file; ``?&N`` names a checkpoint.
    """
    place = client.place(url)
    provider = await client.provider(place)
    tell = client.progress(url, FileStatus.READING)
    tell(0, 1)
    version, content = await provider.read(place, tell)
    tell(1, 1)
    return version, content


async def get_local_file(client: Client, url: str) -> str:
    """Give the path of a file on this machine: itself, or a verified copy in the cache.

    Args:
        url: of the file. The copy is read-only, and shared with other programs of yours.
    """
    place = client.place(url)
    provider = await client.provider(place)
    return await provider.local_file(place, client.progress(url, FileStatus.READING))
