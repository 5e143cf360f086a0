"""Moving a folder onto one that is there: child by child, and nothing is lost of either."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from downstage.client.places import Place
from downstage.client.providers.provider import Copying, Provider
from downstage.kernel.errors import AlreadyExists

__all__ = ["move_merging"]

Move = Callable[[Place, Place, Copying], Awaitable[None]]


async def move_merging(
    provider: Provider, source: Place, target: Place, how: Copying, move: Move
) -> None:
    """Move *source* to *target*; of two folders, what only the target has stays.

    Args:
        provider: of both.
        source: a file or folder.
        target: what it shall be.
        how: as it is meant.
        move: one move of the provider, which replaces what is there, or refuses to.

    Raises:
        FolderNotEmpty: something came into the source meanwhile; it stays there.
    """
    try:
        await move(source, target, replace(how, overwrite=False))
    except AlreadyExists:
        if not how.overwrite:
            raise
    else:
        return
    here, there = await provider.stat(source), await provider.stat(target)
    if not (here.is_folder and there.is_folder):
        await move(source, target, how)
        return
    for entry in await provider.entries(source):
        name = entry.relative_path
        child = replace(how, only=None)
        await move_merging(provider, source.child(name), target.child(name), child, move)
    await provider.delete(source, recursive=False)
