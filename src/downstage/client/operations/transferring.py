"""One file from anywhere to anywhere, in a way that goes on where it was interrupted."""

# ruff: noqa: D417 - the first argument is the client, in every operation
from __future__ import annotations

from downstage.client.client import Client
from downstage.client.places import Place
from downstage.client.providers.provider import Copying, Outgoing, Progress, Provider, no_progress
from downstage.kernel.errors import WrongType

__all__ = ["carry_file", "transfer_file"]


async def transfer_file(
    client: Client,
    source: Place,
    target: Place,
    message: str = "",
    progress: Progress = no_progress,
) -> None:
    """Copy a file over whatever file is at the target. Missing folders there are made.

    Inside one server the server does it. A large file between a server and this machine goes on
    where an earlier call, of this process or another, was interrupted.

    Args:
        source: the file, or a checkpoint of it.
        target: what it shall be.
        message: of the checkpoint that it makes, where the server keeps them.
        progress: told bytes done and bytes in all.
    """
    here, there = await client.provider(source), await client.provider(target)
    if here is there:
        how = Copying(overwrite=True, only="file", message=message, progress=progress)
        await here.copy(source, target, how)
        return
    await carry_file(here, source, there, target, message, progress)


async def carry_file(  # noqa: PLR0917 - two ends, and what is said of the way
    here: Provider,
    source: Place,
    there: Provider,
    target: Place,
    message: str,
    progress: Progress,
) -> None:
    """The same from one provider to another."""
    if source.scheme == "file":
        await there.put_file(target, source.path, message, progress)
        return
    if target.scheme == "file" and await _fetched(here, source, target, progress):
        return
    async with here.incoming(source) as incoming:
        body = Outgoing(pieces=incoming.pieces, size=incoming.size)
        await there.write(target, body, message, progress)


async def _fetched(here: Provider, source: Place, target: Place, progress: Progress) -> bool:
    """Whether it was large enough to be fetched in a way that can be continued."""
    from downstage.client.providers.partial import CONTINUED, fetch_file

    entry = await here.stat(source)
    if entry.is_folder:
        raise WrongType("The source is a folder.")
    if entry.size < CONTINUED or not (entry.hash or entry.version):
        return False
    await fetch_file(here, source, entry, target.path, progress)
    return True
