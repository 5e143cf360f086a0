"""What every method of `Content` stands on: the database, what is mirrored of it, who watches."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

from downstage.content import acl, guarding, locks, quota, removal, versions
from downstage.content.blobs.store import DiskBlobs
from downstage.content.care import Care
from downstage.content.change import Change, Recorded
from downstage.content.channels import Channels
from downstage.content.database import ContentDatabase
from downstage.content.edit import Edit
from downstage.content.events import (
    Calling,
    Hub,
    Subscription,
    Watch,
    forget_old,
    newest,
    read_since,
)
from downstage.content.limits import Limits
from downstage.content.live import Live
from downstage.content.mirrors import Mirrors
from downstage.content.model import ANY, Access, Caller, Event, Scope
from downstage.content.mounts.table import Mounts
from downstage.content.tree import Inside
from downstage.content.uploads import Uploads
from downstage.content.views import Views
from downstage.kernel.clock import Clock
from downstage.kernel.errors import Gone, NotFound, NotSupported, PlatformError

__all__ = ["Ground"]

T = TypeVar("T")

SWEPT_AT_ONCE = 100
HOUSE = Caller(subject="", name="", may=Access.READ | Access.WRITE | Access.ADMIN)
"""Who ends leases and sweeps."""


class Ground:
    """Wires the parts; `Content` adds the methods.

    Args:
        folder: of all content; made if missing.
        clock: of the platform.
        limits: of the operator.
    """

    def __init__(self, folder: Path, *, clock: Clock, limits: Limits) -> None:
        self._clock = clock
        self._limits = limits
        self._mirrors = Mirrors()
        self._tenants = set[str]()
        self.database = ContentDatabase(
            folder,
            now=self._now,
            mirror=self._mirrors.renew,
            publish=self._publish,
            housekeeping=self._keep_house,
        )
        self.blobs = DiskBlobs(
            folder, self.database, idle_s=limits.idle_s, large=limits.chunk_threshold
        )
        self.uploads = Uploads(self.blobs, self, self._now_s, life_s=limits.upload_life_s)
        self.care = Care(
            self.blobs,
            self.uploads,
            self._now_s,
            grace_s=limits.blob_grace_s,
            scrub_interval_s=limits.scrub_interval_s,
        )
        self.channels = Channels(self)
        self.live = Live(self, self.database, lambda: locks.moment(clock).ns)
        self.mounts = Mounts(self, limits.mounts, self.blobs.pool)
        self._views = Views(self.database, self._mirrors, self._now)
        self._hub = Hub(self._views)
        self._mirrors.renew(self.database.near, {"acl", "lock", "mount"})
        self._hub.published = self.database.seq

    async def start(self) -> None:
        """Recover what a crash left; called by `open_content`."""
        await self.database.write(acl.forget_orphans)
        await self.blobs.start()
        await self.uploads.start()

    async def close(self) -> None:
        """Finish what waits, end the subscriptions, close the files; idempotent."""
        self.channels.close()
        await self.live.close()
        self._hub.close()
        await self.mounts.close()
        await self.database.close()
        await self.blobs.close()

    async def sweep(self) -> None:
        """End leases that are over and drop what is kept no longer; done every second anyway."""
        await self.database.change(self._keep_house)

    async def seq(self) -> int:
        """Of the newest event; everything up to it is seen by every reading from now on."""
        return self.database.seq

    @asynccontextmanager
    async def subscribe(
        self, caller: Caller, path: str, scope: Scope, *, since: int | None = None
    ) -> AsyncGenerator[Subscription]:
        """Events at *path* as the caller may see them, from now on or *since* a seq.

        What is watched is the thing, not its path: a move is told and followed. An event
        ``relist`` says that some were lost (a full buffer, a *since* that is too old): list again.

        Raises:
            NotFound: there is nothing, or nothing that may be read.
        """
        await self.know(caller)
        hub = self._hub
        with self._views.edit(caller) as edit:
            trail = edit.find(path, Access.READ)
            seen = newest(edit.db)
        watch = Watch(caller, trail.node.id, trail.path, trail.ids, scope)
        subscription = Subscription(watch, seen if since is None else since)
        if since is not None:
            await self._catch_up(hub, subscription, since, hub.published)
        else:
            hub.add(subscription)
        try:
            yield subscription
        finally:
            hub.remove(subscription)

    @contextmanager
    def watch(self, caller: Caller, path: str, take: Callable[[Event], None]) -> Generator[int]:
        """Hand what happens to the thing at *path* to *take*, on the loop, at once; gives its id.

        Raises:
            NotFound: there is nothing, or nothing that may be read.
        """
        with self._views.edit(caller) as edit:
            trail = edit.find(path, Access.READ)
        watched = Watch(caller, trail.node.id, trail.path, trail.ids, "node")
        subscription = Calling(watched, self._hub.published, take)
        self._hub.add(subscription)
        try:
            yield trail.node.id
        finally:
            self._hub.remove(subscription)

    async def _catch_up(self, hub: Hub, subscription: Subscription, since: int, upto: int) -> None:
        """Hand out the past, then what happened meanwhile, then the present."""
        later = list[Recorded]()
        hub.tap(later.append)
        try:
            watch = subscription.watch
            past = await self.database.reading(lambda db: read_since(db, watch, since, upto))
        except Gone:
            past = None
        finally:
            hub.untap(later.append)
        if past is None:
            subscription.seq = hub.published
            subscription.push(Event(hub.published, "relist", subscription.watch.path))
        else:
            for recorded in (*past, *later):
                hub.offer(subscription, recorded)
        hub.add(subscription)

    async def check_upload(self, caller: Caller, path: str, size: int | None) -> None:
        """Raise what writing *size* bytes to *path* would raise now: rights, locks, quota."""
        await self.look(caller, lambda edit: versions.refuse_put(edit, path, size or 0, ANY))

    async def spare(self, caller: Caller, path: str) -> int | None:
        """Bytes that a file at *path* may have as things stand; None: no bound."""

        def look(edit: Edit) -> int | None:
            trail = edit.walk(path)
            above = trail if trail.missing else trail.up
            bound = quota.spare(edit.db, above.ids)
            return bound if bound is None or trail.missing else bound + trail.node.size

        return await self.look(caller, look)

    # For the methods, and for the parts that stand beside the tree.

    async def know(self, caller: Caller) -> None:
        """Make sure that the caller's tenant has a root."""
        if caller.tenant in self._tenants:
            return
        await self.database.change(lambda change: self._found(self._as(change, caller)))
        self._tenants.add(caller.tenant)

    def _found(self, edit: Edit) -> None:
        """Make the root of a tenant, and bound it as the operator set it."""
        root, limits = edit.root(), self._limits
        now = quota.usage(edit.db, root.id)
        size = now.max_bytes if limits.quota_bytes is None else limits.quota_bytes
        nodes = now.max_nodes if limits.quota_nodes is None else limits.quota_nodes
        if (size, nodes) != (now.max_bytes, now.max_nodes):
            quota.set_bounds(edit.db, root.id, size, nodes)

    async def edit(self, caller: Caller, job: Callable[[Edit], T]) -> T:
        """Run *job* as an operation of *caller*; back after it is durable.

        Raises:
            NotSupported: *job* leads into a mount, where that cannot be done.
        """
        await self.know(caller)
        try:
            return await self.database.change(lambda change: job(self._as(change, caller)))
        except Inside as inside:
            raise self._refused(caller, inside) from None

    async def look(self, caller: Caller, job: Callable[[Edit], T]) -> T:
        """Run *job*, which only looks, on the loop; for what takes no longer than a stat."""
        await self.know(caller)
        try:
            with self._views.edit(caller) as edit:
                return job(edit)
        except Inside as inside:
            raise self._refused(caller, inside) from None

    async def look_long(self, caller: Caller, job: Callable[[Edit], T]) -> T:
        """`look` in a thread, for what may have much to look at."""
        await self.know(caller)
        try:
            return await self.database.reading(
                lambda db: job(Edit(Change(db, self._now(), 0, set()), caller))
            )
        except Inside as inside:
            raise self._refused(caller, inside) from None

    async def mount_of(self, caller: Caller, path: str) -> Inside | None:
        """The mount that *path* leads through, if any."""
        await self.know(caller)
        if not self._mirrors.has_mounts:
            return None
        with self._views.edit(caller) as edit:
            try:
                edit.walk(path)
            except Inside as inside:
                return inside
        return None

    def _refused(self, caller: Caller, inside: Inside) -> PlatformError:
        """What is said of an operation that mounts do not know, to who may see the mount."""
        with self._views.edit(caller) as edit:
            if not edit.access(edit.walk(inside.path)) & Access.READ:
                return NotFound("There is nothing at this path.")
        return NotSupported("That cannot be done inside of a mount.", mount=inside.path)

    def _as(self, change: Change, caller: Caller) -> Edit:
        return Edit(change, caller, self._mirrors)

    def _now(self) -> locks.Moment:
        return locks.moment(self._clock)

    def _now_s(self) -> int:
        return self._now().ns // 10**9

    def _publish(self, events: list[Recorded]) -> None:
        self._hub.publish(events)

    def _keep_house(self, change: Change) -> None:
        guarding.expire_locks(self._as(change, HOUSE))
        forget_old(change.db, self._limits.keep_events)
        before = change.at - self._limits.keep_deleted_s * 10**9
        if removal.sweep_deleted(change.db, before, SWEPT_AT_ONCE):
            change.stale.add("lock")
