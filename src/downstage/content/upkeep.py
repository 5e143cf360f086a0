"""The part of `Content` that is about things that are there: versions, locks, rights, bounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from downstage.content import guarding, properties, versions
from downstage.content.ground import Ground
from downstage.content.locks import DEFAULT_LEASE_S, GRACE_S
from downstage.content.model import (
    ANY,
    Access,
    AclEntry,
    Caller,
    Condition,
    Entry,
    Grant,
    Lock,
    Usage,
    Version,
)

__all__ = ["Upkeep"]


class Upkeep(Ground):
    """Versions, properties, locks, rights and quotas; see `Content`."""

    async def checkpoint(
        self, caller: Caller, path: str, comment: str, *, force: bool = False
    ) -> Version:
        """Make a file's present content a checkpoint; unchanged since the last: that one.

        Raises:
            InvalidField: a blank comment.
            WrongType: not a file.
        """
        return await self.edit(
            caller, lambda edit: versions.checkpoint(edit, path, comment, force=force)
        )

    async def checkpoints(self, caller: Caller, path: str) -> list[Version]:
        """A file's checkpoints, newest first; at most 10,000.

        Raises:
            WrongType: not a file.
        """
        return await self.look_long(caller, lambda edit: versions.of(edit, path, checkpoints=True))

    async def versions(self, caller: Caller, path: str) -> list[Version]:
        """A file's contents that are kept, newest first: all checkpoints, the last 64 others.

        At most 10,000 are told.

        Raises:
            WrongType: not a file.
        """
        return await self.look_long(caller, lambda edit: versions.of(edit, path, checkpoints=False))

    async def restore(
        self, caller: Caller, path: str, checkpoint: int, *, message: str = ""
    ) -> Entry:
        """Make a checkpoint the present content, as a new content and a new checkpoint."""
        return await self.edit(
            caller, lambda edit: versions.restore(edit, path, checkpoint, message)
        )

    async def properties(self, caller: Caller, path: str) -> dict[str, str]:
        """Named texts of something, by name."""
        return await self.look(
            caller,
            lambda edit: properties.properties_of(edit.db, edit.find(path, Access.READ).node.id),
        )

    async def patch_properties(
        self,
        caller: Caller,
        path: str,
        put: Mapping[str, str],
        remove: Sequence[str],
        *,
        condition: Condition = ANY,
    ) -> None:
        """Set some named texts, remove others; all or nothing.

        Raises:
            InvalidField: more than are kept.
            VersionMismatch: *condition* does not hold.
        """
        await self.edit(caller, lambda edit: properties.patch(edit, path, put, remove, condition))

    async def lock(
        self,
        caller: Caller,
        path: str,
        *,
        lease_s: float = DEFAULT_LEASE_S,
        etag: str = "",
        shared_note: str = "",
    ) -> Lock:
        """Let nobody else write there (of a folder: nor below), for *lease_s* seconds.

        The lock is the caller's client's (`Caller.client_id`), else the person's.

        Raises:
            Locked: somebody else holds one there, above or below.
        """
        return await self.edit(
            caller,
            lambda edit: guarding.lock(
                edit, path, lease_s=lease_s, etag=etag, shared_note=shared_note
            ),
        )

    async def renew_lock(
        self, caller: Caller, path: str, token: str, lease_s: float = DEFAULT_LEASE_S
    ) -> Lock:
        """Prolong a lock, *lease_s* seconds from now.

        Raises:
            NotFound: it is over, or never was.
            Locked: it is somebody else's.
        """
        return await self.edit(caller, lambda edit: guarding.renew(edit, path, token, lease_s))

    async def unlock(
        self, caller: Caller, path: str, *, token: str = "", force: bool = False
    ) -> None:
        """End a lock: the caller's own, or with *force* and the right ADMIN anybody's.

        Raises:
            NotFound: there is none.
            Locked: it is somebody else's.
        """
        await self.edit(caller, lambda edit: guarding.unlock(edit, path, token=token, force=force))

    async def locks(self, caller: Caller, path: str, *, below: bool = False) -> list[Lock]:
        """The locks that bear on a place: its own, those above, and those *below*."""
        look = self.look_long if below else self.look
        return await look(caller, lambda edit: guarding.locks_at(edit, path, below=below))

    async def release_client(self, client_id: str, *, grace_s: float = GRACE_S) -> None:
        """A connection is gone: its locks end after *grace_s*, unless they are renewed."""
        if client_id:
            await self.database.change(
                lambda change: guarding.release_client(change, client_id, self._now(), grace_s)
            )

    async def acl(self, caller: Caller, path: str) -> list[AclEntry]:
        """The entries of something itself, not those that it inherits."""
        return await self.look(caller, lambda edit: guarding.acl_of(edit, path))

    async def set_acl(self, caller: Caller, path: str, entries: Sequence[AclEntry]) -> None:
        """Replace the entries of something; none: all is inherited. Needs ADMIN there.

        Raises:
            InvalidField: a principal of an unknown form, one twice, or too many.
        """
        await self.edit(caller, lambda edit: guarding.set_acl(edit, path, entries))

    async def explain(
        self, caller: Caller, path: str, subject: str, groups: Iterable[str]
    ) -> list[Grant]:
        """Where each right of somebody comes from, nearest first; of others with ADMIN there."""
        return await self.look(caller, lambda edit: guarding.explain(edit, path, subject, groups))

    async def usage(self, caller: Caller, path: str) -> Usage:
        """What a folder holds and may hold.

        Raises:
            WrongType: not a folder.
        """
        return await self.look(caller, lambda edit: guarding.usage(edit, path))

    async def set_quota(
        self,
        caller: Caller,
        path: str,
        *,
        bytes: int | None = None,  # noqa: A002 - the word for it
        nodes: int | None = None,
    ) -> None:
        """Bound what a folder may hold; None: no bound. For administrators of the service.

        Raises:
            WrongType: not a folder.
            InvalidField: a negative bound.
        """
        await self.edit(caller, lambda edit: guarding.set_quota(edit, path, bytes, nodes))
