"""Checkpoints and locks."""

# ruff: noqa: D417 - the first argument is the client, in every operation
from __future__ import annotations

from downstage.client.client import Client
from downstage.client.types import ListEntry
from downstage.kernel.errors import InvalidInput

__all__ = ["create_checkpoint", "list_checkpoints", "lock", "restore_checkpoint", "unlock"]


async def create_checkpoint(client: Client, url: str, comment: str, force: bool = False) -> str:
    """Keep the present content of a file under a number; says the query that names it.

    Args:
        url: of the file.
        comment: what for; must not be blank.
        force: make one even where nothing changed since the last; otherwise that one is named.
    """
    if not comment.strip():
        raise InvalidInput("A checkpoint needs a comment.")
    place = client.place(url)
    provider = await client.provider(place)
    return await provider.create_checkpoint(place, comment, force=force)


async def list_checkpoints(client: Client, url: str) -> tuple[ListEntry, ...]:
    """List the checkpoints of a file, newest first; `relative_path` is the query of each.

    Args:
        url: of the file.
    """
    place = client.place(url)
    return await (await client.provider(place)).list_checkpoints(place)


async def restore_checkpoint(client: Client, url: str) -> None:
    """Make a checkpoint the present content again; that makes a new checkpoint.

    Args:
        url: of the file, with the checkpoint's query: ``…/a.usd?&3``.
    """
    place = client.place(url)
    await (await client.provider(place)).restore_checkpoint(place)


async def lock(client: Client, url: str) -> None:
    """Let nobody else change a file until `unlock`, or until this client is gone.

    Args:
        url: of the file.
    """
    place = client.place(url)
    await (await client.provider(place)).lock(place)


async def unlock(client: Client, url: str) -> None:
    """Let others change it again.

    Args:
        url: of the file.
    """
    place = client.place(url)
    await (await client.provider(place)).unlock(place)
