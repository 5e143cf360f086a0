"""The socket's file operations: each one call of `Content`, its arguments typed."""

from __future__ import annotations

import time
from collections.abc import Sequence

from downstage.content.dialects.arguments import (
    CheckpointArgs,
    CopyArgs,
    DeleteArgs,
    ExplainArgs,
    FolderArgs,
    ListArgs,
    LockArgs,
    LocksArgs,
    ManyArgs,
    MountArgs,
    MoveArgs,
    ObliterateArgs,
    PatchArgs,
    PathArgs,
    QuotaArgs,
    ReadArgs,
    RenewArgs,
    RestoreArgs,
    SetAclArgs,
    StatArgs,
    UnlockArgs,
    WriteArgs,
    acl_entry,
    condition_of,
)
from downstage.content.dialects.calls import Asked, NoArgs, Ops, Run
from downstage.content.dialects.forms import (
    acl_row,
    grant_row,
    lock_row,
    page_row,
    row,
    usage_row,
    version_row,
)
from downstage.content.directory import Callers
from downstage.content.model import Entry
from downstage.content.service import Content
from downstage.contracts.content import MAX_INLINE
from downstage.kernel.errors import (
    BadMessage,
    Forbidden,
    NotSupported,
    PlatformError,
    RangeNotSatisfiable,
    TooLarge,
)

__all__ = ["register"]

MAX_PAGE = 10_000
MANY = 4096
"""Paths of one `stat_many`: what holds the loop for less than 20 ms."""
MAX_LEASE_S = 86_400.0


class _Handlers:
    def __init__(self, content: Content, callers: Callers, lease_s: float) -> None:
        self._content = content
        self._callers = callers
        self._lease_s = lease_s

    # At once: reads of single rows.

    def ping(self, asked: Asked) -> object:
        del asked
        return time.time_ns()

    def stat_many(self, asked: Asked) -> object:
        addresses = asked.args.addresses
        if len(addresses) > MANY:
            raise TooLarge(f"At most {MANY} paths at once.", limit=MANY)
        found = self._content.stat_many(asked.caller, addresses)
        if any(isinstance(item, NotSupported) for item in found):
            return self._stat_each(asked)
        return self._rows(found)

    async def _stat_each(self, asked: Asked) -> object:
        """The same where some lie in mounts, which have to be asked."""
        found = self._content.stat_many(asked.caller, asked.args.addresses)
        for n, (path, checkpoint) in enumerate(asked.args.addresses):
            if isinstance(found[n], NotSupported):
                try:
                    found[n] = await self._content.stat(asked.caller, path, checkpoint=checkpoint)
                except PlatformError as error:
                    found[n] = error
        return self._rows(found)

    @staticmethod
    def _rows(found: Sequence[Entry | PlatformError]) -> object:
        return [
            (item.status, (item.code, item.detail, item.context))
            if isinstance(item, PlatformError)
            else (200, row(item))
            for item in found
        ]

    def stat(self, asked: Asked) -> object:
        args: StatArgs = asked.args
        if args.deleted:
            return self._stat_deleted(asked)
        found = self._content.stat_many(asked.caller, [(args.path, args.checkpoint)])[0]
        if isinstance(found, NotSupported):
            return self._stat_deleted(asked)  # in a mount, which has to be asked
        if isinstance(found, PlatformError):
            raise found
        return row(found)

    async def _stat_deleted(self, asked: Asked) -> object:
        args: StatArgs = asked.args
        entry = await self._content.stat(
            asked.caller, args.path, checkpoint=args.checkpoint, deleted=args.deleted
        )
        return row(entry)

    # In tasks.

    async def list(self, asked: Asked) -> object:
        args: ListArgs = asked.args
        page = await self._content.list(
            asked.caller,
            args.path,
            after=args.after,
            limit=min(max(1, args.limit), MAX_PAGE),
            recursive=args.recursive,
            deleted=args.deleted,
        )
        return page_row(page)

    async def read(self, asked: Asked) -> object:
        args: ReadArgs = asked.args
        async with await self._content.read(
            asked.caller, args.path, checkpoint=args.checkpoint
        ) as reading:
            size = reading.entry.size
            stop = size if args.length < 0 else min(size, args.start + args.length)
            if not 0 <= args.start <= size:
                raise RangeNotSatisfiable(f"The file has {size} bytes.", size=size)
            if stop - args.start > MAX_INLINE:
                raise TooLarge("Read so much by HTTP.", limit=MAX_INLINE)
            if reading.data is not None:
                return row(reading.entry), reading.data[args.start : stop]
            pieces = [piece async for piece in reading.pieces(args.start, stop)]
            return row(reading.entry), b"".join(pieces)

    async def write(self, asked: Asked) -> object:
        args: WriteArgs = asked.args
        if len(args.data) > MAX_INLINE:
            raise TooLarge("Write so much by HTTP.", limit=MAX_INLINE)
        entry = await self._content.write(
            asked.caller,
            args.path,
            args.data,
            condition=condition_of(args.conditions),
            message=args.message,
            parents=args.parents,
            size_hint=len(args.data),
        )
        return row(entry)

    async def create_folder(self, asked: Asked) -> object:
        args: FolderArgs = asked.args
        made = await self._content.create_folder(asked.caller, args.path, parents=args.parents)
        return row(made)

    async def copy(self, asked: Asked) -> object:
        args: CopyArgs = asked.args
        entry = await self._content.copy(
            asked.caller,
            args.source,
            args.target,
            checkpoint=args.checkpoint,
            overwrite=args.overwrite,
            only=args.only,
            condition=condition_of(args.conditions),
            message=args.message,
        )
        return row(entry)

    async def move(self, asked: Asked) -> object:
        args: MoveArgs = asked.args
        entry = await self._content.move(
            asked.caller,
            args.source,
            args.target,
            overwrite=args.overwrite,
            only=args.only,
            condition=condition_of(args.conditions),
            message=args.message,
        )
        return row(entry)

    async def delete(self, asked: Asked) -> object:
        args: DeleteArgs = asked.args
        await self._content.delete(
            asked.caller,
            args.path,
            recursive=args.recursive,
            condition=condition_of(args.conditions),
        )
        return None

    async def undelete(self, asked: Asked) -> object:
        return row(await self._content.undelete(asked.caller, asked.args.path))

    async def obliterate(self, asked: Asked) -> object:
        args: ObliterateArgs = asked.args
        await self._content.obliterate(asked.caller, args.path, checkpoints=args.checkpoints)
        return None

    async def checkpoint(self, asked: Asked) -> object:
        args: CheckpointArgs = asked.args
        version = await self._content.checkpoint(
            asked.caller, args.path, args.comment, force=args.force
        )
        return version_row(version)

    async def checkpoints(self, asked: Asked) -> object:
        found = await self._content.checkpoints(asked.caller, asked.args.path)
        return [version_row(item) for item in found]

    async def versions(self, asked: Asked) -> object:
        found = await self._content.versions(asked.caller, asked.args.path)
        return [version_row(item) for item in found]

    async def restore(self, asked: Asked) -> object:
        args: RestoreArgs = asked.args
        entry = await self._content.restore(
            asked.caller, args.path, args.checkpoint, message=args.message
        )
        return row(entry)

    async def properties(self, asked: Asked) -> object:
        return await self._content.properties(asked.caller, asked.args.path)

    async def patch_properties(self, asked: Asked) -> object:
        args: PatchArgs = asked.args
        await self._content.patch_properties(
            asked.caller,
            args.path,
            args.put,
            args.remove,
            condition=condition_of(args.conditions),
        )
        return None

    async def lock(self, asked: Asked) -> object:
        args: LockArgs = asked.args
        taken = await self._content.lock(
            asked.caller,
            args.path,
            lease_s=self._lease(args.lease_s),
            etag=args.etag,
            shared_note=args.note,
        )
        return lock_row(taken)

    async def renew_lock(self, asked: Asked) -> object:
        args: RenewArgs = asked.args
        lease_s = self._lease(args.lease_s)
        renewed = await self._content.renew_lock(asked.caller, args.path, args.token, lease_s)
        return lock_row(renewed)

    async def unlock(self, asked: Asked) -> object:
        args: UnlockArgs = asked.args
        await self._content.unlock(asked.caller, args.path, token=args.token, force=args.force)
        return None

    async def locks(self, asked: Asked) -> object:
        args: LocksArgs = asked.args
        found = await self._content.locks(asked.caller, args.path, below=args.below)
        return [lock_row(item) for item in found]

    async def acl(self, asked: Asked) -> object:
        return [acl_row(item) for item in await self._content.acl(asked.caller, asked.args.path)]

    async def set_acl(self, asked: Asked) -> object:
        args: SetAclArgs = asked.args
        entries = [acl_entry(item) for item in args.entries]
        await self._content.set_acl(asked.caller, args.path, entries)
        return None

    async def explain(self, asked: Asked) -> object:
        args: ExplainArgs = asked.args
        people = await self._callers.directory.read()
        person = people.by_subject.get(args.principal)
        groups = frozenset(person.groups) if person is not None else frozenset[str]()
        found = await self._content.explain(asked.caller, args.path, args.principal, groups)
        return [grant_row(item) for item in found]

    async def usage(self, asked: Asked) -> object:
        return usage_row(await self._content.usage(asked.caller, asked.args.path))

    async def set_quota(self, asked: Asked) -> object:
        args: QuotaArgs = asked.args
        await self._content.set_quota(asked.caller, args.path, bytes=args.bytes, nodes=args.nodes)
        return usage_row(await self._content.usage(asked.caller, args.path))

    async def mount(self, asked: Asked) -> object:
        args: MountArgs = asked.args
        shown = await self._content.mounts.mount(
            asked.caller, args.path, args.target, writable=args.writable
        )
        return row(shown)

    async def people(self, asked: Asked) -> object:
        """Users and groups, for who sets rights; an instance has no business with them."""
        caller = asked.caller
        if caller.reach is not None:
            raise Forbidden("A token with bounds sees no people.")
        people = await self._callers.directory.read()
        users = [(item.subject, item.groups) for item in people.of(caller.tenant)]
        return users, people.groups_of(caller.tenant)

    def _lease(self, wanted: float) -> float:
        if not 0 <= wanted <= MAX_LEASE_S:
            raise BadMessage(f"lease_s: 0 to {MAX_LEASE_S:g}.")
        return wanted or self._lease_s


def register(ops: Ops, content: Content, callers: Callers, lease_s: float) -> None:
    """Let *ops* serve all of them.

    Args:
        ops: of the socket.
        content: the service.
        callers: knows people and groups.
        lease_s: of a lock whose taker names none.
    """
    files = _Handlers(content, callers, lease_s)
    ops.register("ping", NoArgs, files.ping)
    ops.register("stat", StatArgs, files.stat)
    ops.register("stat_many", ManyArgs, files.stat_many)
    handlers: list[tuple[str, type, Run]] = [
        ("list", ListArgs, files.list),
        ("read", ReadArgs, files.read),
        ("write", WriteArgs, files.write),
        ("create_folder", FolderArgs, files.create_folder),
        ("copy", CopyArgs, files.copy),
        ("move", MoveArgs, files.move),
        ("delete", DeleteArgs, files.delete),
        ("undelete", PathArgs, files.undelete),
        ("obliterate", ObliterateArgs, files.obliterate),
        ("checkpoint", CheckpointArgs, files.checkpoint),
        ("checkpoints", PathArgs, files.checkpoints),
        ("versions", PathArgs, files.versions),
        ("restore", RestoreArgs, files.restore),
        ("properties", PathArgs, files.properties),
        ("patch_properties", PatchArgs, files.patch_properties),
        ("lock", LockArgs, files.lock),
        ("renew_lock", RenewArgs, files.renew_lock),
        ("unlock", UnlockArgs, files.unlock),
        ("locks", LocksArgs, files.locks),
        ("acl", PathArgs, files.acl),
        ("set_acl", SetAclArgs, files.set_acl),
        ("explain", ExplainArgs, files.explain),
        ("usage", PathArgs, files.usage),
        ("set_quota", QuotaArgs, files.set_quota),
        ("mount", MountArgs, files.mount),
        ("people", NoArgs, files.people),
    ]
    for name, args, handler in handlers:
        ops.register(name, args, handler)
