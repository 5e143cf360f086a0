"""`Content`: the only door to the tree, for every dialect.

Every method asks what its caller may; every change is durable before it is answered, and seen by
every later reading. Paths are absolute and already percent-decoded; see `names`. All methods raise
`downstage.kernel.errors`, besides those named: `BadUrl`, `NotFound` (absent, or not readable),
`Forbidden` (readable only), `Locked`, `OutOfSpace`, `Unavailable` (too much waiting).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import blake3

from downstage.content import crossing, placing, removal, versions
from downstage.content.blobs.ledger import adopt
from downstage.content.blobs.protocol import INLINE_MAX, BlobRef
from downstage.content.blobs.staging import Staging
from downstage.content.events import Subscription
from downstage.content.limits import Limits
from downstage.content.model import ANY, Caller, Condition, Entry, Family, Kind, Page
from downstage.content.open_file import Reading
from downstage.content.tree import Inside
from downstage.content.upkeep import Upkeep
from downstage.kernel.clock import Clock
from downstage.kernel.errors import NotSupported, PlatformError

__all__ = ["Content", "Reading", "Subscription", "open_content"]


class Content(Upkeep):
    """One tree per tenant: files, folders, versions, locks, rights, events.

    Made by `open_content`; belongs to the loop it was opened on. Versions, locks, rights and
    quotas stand in `Upkeep`, subscriptions in `Ground`.
    """

    # Looking.

    async def stat(
        self,
        caller: Caller,
        path: str,
        *,
        checkpoint: int = 0,
        version: int = 0,
        deleted: bool = False,
    ) -> Entry:
        """What is at *path*; its content at a *checkpoint* or *version*; also what was *deleted*.

        Raises:
            WrongType: a version of what is no file.
        """
        if caller.tenant not in self._tenants:
            await self.know(caller)
        try:
            return self._stat(caller, path, checkpoint=checkpoint, version=version, deleted=deleted)
        except Inside as inside:
            return await self.mounts.stat(caller, inside)

    def stat_many(
        self, caller: Caller, addresses: Sequence[tuple[str, int]]
    ) -> list[Entry | PlatformError]:
        """`stat` of many (path, checkpoint or 0); an error stands in the place of its answer.

        `NotSupported` stands for what lies in a mount: ask `stat` for that one.
        """
        answers = list[Entry | PlatformError]()
        for path, checkpoint in addresses:
            try:
                if checkpoint:
                    answers.append(self._stat(caller, path, checkpoint=checkpoint))
                else:
                    answers.append(self._views.stat(caller, path))
            except PlatformError as error:
                answers.append(error)
            except Inside:
                answers.append(NotSupported("This lies in a mount; ask for it alone."))
        return answers

    async def list(
        self,
        caller: Caller,
        path: str,
        *,
        after: str = "",
        limit: int = 1000,
        recursive: bool = False,
        deleted: bool = False,
    ) -> Page:
        """A page of a folder by name; *recursive*: each folder before what it holds.

        Args:
            caller: who asks; sees what it may read, so that a page may be shorter than *limit*.
            path: the folder.
            after: `Page.next` of the page before.
            limit: entries of the page, at most 10,000.
            recursive: everything below.
            deleted: also what was deleted last, of each name that nothing bears now.

        Raises:
            WrongType: not a folder.
        """
        await self.know(caller)
        try:
            return await self.database.reading(
                lambda db: self._views.list_page(
                    db, caller, path, after=after, limit=limit, recursive=recursive, deleted=deleted
                )
            )
        except Inside as inside:
            return await self.mounts.list(caller, inside, after=after, limit=limit)

    async def read(
        self, caller: Caller, path: str, *, checkpoint: int = 0, version: int = 0
    ) -> Reading:
        """The bytes of a file, of a *checkpoint* or a *version*; close what you get.

        Raises:
            WrongType: not a file.
            Damaged: the bytes changed on the server's disk.
        """
        if caller.tenant not in self._tenants:
            await self.know(caller)
        try:
            entry = self._stat(caller, path, checkpoint=checkpoint, version=version)
        except Inside as inside:
            return await self.mounts.read(caller, inside)
        if entry.kind != "file":
            raise versions.not_a_file(path)
        row = self.database.near.execute(
            "SELECT data, bad FROM blob WHERE hash = ?", (entry.hash,)
        ).fetchone()
        if row is not None and row[0] is not None and not row[1]:
            return Reading(entry, row[0])
        return Reading(entry, None, await self.blobs.open(BlobRef(entry.hash, entry.size)))

    # Writing.

    async def write(
        self,
        caller: Caller,
        path: str,
        body: bytes | AsyncIterator[bytes] | Staging,
        *,
        condition: Condition = ANY,
        message: str = "",
        parents: bool = True,
        size_hint: int | None = None,
        properties: Family | None = None,
    ) -> Entry:
        """Give a file a content; make it, and the folders above, where there is none.

        Args:
            caller: who writes.
            path: the file.
            body: the bytes, their pieces, or what `stage` gave (released here).
            condition: of the file as it is now.
            message: makes the content a checkpoint with this comment.
            parents: make missing folders.
            size_hint: bytes that will come, to refuse early what does not fit.
            properties: what changes with the content, in the same step; a mount keeps none.

        Raises:
            WrongType: a folder is there, or a file above.
            VersionMismatch: *condition* does not hold; nothing was written.
            QuotaReached: more than a folder above may hold.
        """
        await self.know(caller)
        inside = await self.mount_of(caller, path)
        if inside is not None:
            return await self._write_inside(caller, inside, body, condition)
        staged = await self._staged(caller, path, body, condition, size_hint)
        try:
            return await self.edit(
                caller,
                lambda edit: versions.put(
                    edit,
                    path,
                    staged,
                    adopt=lambda: adopt(edit.change.bare, staged, edit.change.at // 10**9),
                    condition=condition,
                    message=message,
                    parents=parents,
                    properties=properties,
                ),
            )
        finally:
            staged.release()

    async def stage(
        self,
        caller: Caller,
        body: bytes | AsyncIterator[bytes],
        *,
        path: str = "",
        size_hint: int | None = None,
    ) -> Staging:
        """Take bytes in, durable but named by nothing; give it to `write`, or release it.

        Args:
            caller: whose they are.
            body: the bytes or their pieces.
            path: of the file they are for: then stored as the difference from what it holds.
            size_hint: bytes that will come.
        """
        if isinstance(body, bytes) and len(body) <= INLINE_MAX:
            self.blobs.layout.check_room(len(body))
            return Staging(blake3.blake3(body).hexdigest(), len(body), inline=body)
        previous = None
        if path:
            try:
                now = self._views.stat(caller, path)
            except PlatformError:
                now = None
            if now is not None and now.hash:
                previous = BlobRef(now.hash, now.size)
        return await self.blobs.stage(body, previous=previous, size_hint=size_hint)

    async def create_folder(self, caller: Caller, path: str, *, parents: bool = False) -> Entry:
        """Make a folder.

        Raises:
            AlreadyExists: something is there.
            NotFound: the folder above is missing, without *parents*.
        """
        inside = await self.mount_of(caller, path)
        if inside is not None:
            return await self.mounts.create_folder(caller, inside)
        return await self.edit(
            caller, lambda edit: placing.create_folder(edit, path, parents=parents)
        )

    async def copy(
        self,
        caller: Caller,
        source: str,
        target: str,
        *,
        checkpoint: int = 0,
        overwrite: bool = False,
        only: Kind | None = None,
        condition: Condition = ANY,
        source_condition: Condition = ANY,
        message: str = "",
    ) -> Entry:
        """Copy a file, or a folder with all below; see `placing.copy`, of mounts `crossing.copy`.

        *condition* is of the target as it is now, *source_condition* of the source.
        """
        if await self.mount_of(caller, source) or await self.mount_of(caller, target):
            return await crossing.copy(
                self,
                caller,
                source,
                target,
                checkpoint=checkpoint,
                overwrite=overwrite,
                condition=condition,
                source_condition=source_condition,
                message=message,
            )
        return await self.edit(
            caller,
            lambda edit: placing.copy(
                edit,
                source,
                target,
                checkpoint=checkpoint,
                overwrite=overwrite,
                only=only,
                condition=condition,
                source_condition=source_condition,
                message=message,
            ),
        )

    async def move(
        self,
        caller: Caller,
        source: str,
        target: str,
        *,
        overwrite: bool = False,
        only: Kind | None = None,
        condition: Condition = ANY,
        source_condition: Condition = ANY,
        message: str = "",
    ) -> Entry:
        """Give something another place or name, with its id; see `placing.move`.

        *condition* is of the target as it is now, *source_condition* of the source.
        """
        return await self.edit(
            caller,
            lambda edit: placing.move(
                edit,
                source,
                target,
                overwrite=overwrite,
                only=only,
                condition=condition,
                source_condition=source_condition,
                message=message,
            ),
        )

    async def delete(
        self, caller: Caller, path: str, *, recursive: bool = True, condition: Condition = ANY
    ) -> None:
        """Hide something with all below it, in one step; see `removal.delete`.

        Inside of a mount it is removed for good. Of a mount itself only the mount goes.
        """
        inside = await self.mount_of(caller, path)
        if inside is not None:
            await self.mounts.delete(caller, inside, recursive=recursive, condition=condition)
            return
        await self.edit(
            caller,
            lambda edit: removal.delete(edit, path, recursive=recursive, condition=condition),
        )

    async def undelete(self, caller: Caller, path: str) -> Entry:
        """Bring back what was deleted last there; see `removal.undelete`."""
        return await self.edit(caller, lambda edit: removal.undelete(edit, path))

    async def obliterate(self, caller: Caller, path: str, *, checkpoints: bool = True) -> None:
        """Remove something for ever; see `removal.obliterate`."""
        await self.edit(
            caller, lambda edit: removal.obliterate(edit, path, checkpoints=checkpoints)
        )

    async def _write_inside(
        self,
        caller: Caller,
        inside: Inside,
        body: bytes | AsyncIterator[bytes] | Staging,
        condition: Condition,
    ) -> Entry:
        if not isinstance(body, Staging):
            return await self.mounts.write(caller, inside, body, condition)
        try:
            async with self.blobs.open_staged(body) as reading:
                return await self.mounts.write(caller, inside, reading.pieces(), condition)
        finally:
            body.release()

    def _stat(
        self,
        caller: Caller,
        path: str,
        *,
        checkpoint: int = 0,
        version: int = 0,
        deleted: bool = False,
    ) -> Entry:
        if not (checkpoint or version or deleted):
            return self._views.stat(caller, path)
        return self._views.stat_past(
            caller, path, checkpoint=checkpoint, version=version, deleted=deleted
        )

    async def _staged(
        self,
        caller: Caller,
        path: str,
        body: bytes | AsyncIterator[bytes] | Staging,
        condition: Condition,
        size_hint: int | None,
    ) -> Staging:
        """The body durable; what cannot be written anyway is refused before it is taken in."""
        if isinstance(body, Staging):
            return body
        if not (isinstance(body, bytes) and len(body) <= INLINE_MAX):
            size = len(body) if isinstance(body, bytes) else size_hint or 0
            await self.look(caller, lambda edit: versions.refuse_put(edit, path, size, condition))
        return await self.stage(caller, body, path=path, size_hint=size_hint)


async def open_content(data: Path, *, clock: Clock, limits: Limits | None = None) -> Content:
    """Open the tree that lies in *data*, make it if there is none; close it when done.

    Args:
        data: folder of all content.
        clock: of the platform.
        limits: of the operator; `Content.care` is to be run beside.

    Raises:
        SetupError: it was written by a later version.
    """
    content = Content(data, clock=clock, limits=limits or Limits())
    await content.start()
    return content
