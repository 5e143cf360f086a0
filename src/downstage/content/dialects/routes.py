"""``/v1/files-…``: what is no transfer of bytes, as JSON. Each is one call of `Content`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Response

from downstage.auth.principal import Principal
from downstage.content.dialects.addresses import condition_of
from downstage.content.dialects.forms import entry_object, plain
from downstage.content.dialects.origin import Links
from downstage.content.dialects.tickets import Tickets
from downstage.content.directory import Callers
from downstage.content.model import Access, AclEntry, Condition
from downstage.content.service import Content
from downstage.contracts.content import SOCKET_PROTOCOL
from downstage.contracts.files import (
    CAPABILITY,
    MAX_PATH,
    AclList,
    CheckpointRequest,
    CopyRequest,
    FileEntry,
    FileLink,
    FileLock,
    FilesTicket,
    FileVersion,
    FolderRequest,
    GrantList,
    LinkRequest,
    LockList,
    LockRelease,
    LockRenewal,
    LockRequest,
    MountRequest,
    MoveRequest,
    ObliterateRequest,
    PathRequest,
    PeopleView,
    PropertyMap,
    PropertyPatch,
    QuotaRequest,
    RestoreRequest,
    UsageView,
    VersionList,
)
from downstage.services.facilities.principal import require
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter

__all__ = ["ActionRoutes", "Reader", "Writer"]

KINDS = ("user", "token", "service", "instance")
Reader = Annotated[Principal, Depends(require("files:read", kinds=KINDS))]
Writer = Annotated[Principal, Depends(require("files:write", kinds=KINDS))]
MOUNTING = refusals(400, 404, 409, 502, 504)
Path = Annotated[str, Query(max_length=MAX_PATH)]
Match = Annotated[str | None, Header(alias="If-Match", max_length=4096)]
NoneMatch = Annotated[str | None, Header(alias="If-None-Match", max_length=4096)]


def _condition(match: str | None, none_match: str | None) -> Condition:
    given = [(b"if-match", match), (b"if-none-match", none_match)]
    return condition_of([(name, text.encode()) for name, text in given if text is not None])


class ActionRoutes:
    """The routes.

    Args:
        content: the service.
        callers: makes callers of principals.
        links, tickets: of this service.
        lease_s: of a lock whose taker names none.
        socket_url: where sockets are opened.
    """

    def __init__(
        self,
        content: Content,
        callers: Callers,
        links: Links,
        tickets: Tickets,
        *,
        lease_s: float,
        socket_url: str,
    ) -> None:
        self._content = content
        self._callers = callers
        self._links = links
        self._tickets = tickets
        self._lease_s = lease_s
        self._socket_url = socket_url

    def router(self) -> APIRouter:
        """All of them; every answer names the capability, as those of the files themselves do."""
        router = ServiceAPIRouter(tags=["files"], dependencies=[Depends(_mark)])
        lost: dict[str, Any] = {"responses": refusals(400, 404)}
        changing: dict[str, Any] = {"responses": refusals(400, 404, 409, 412, 423, 501, 507)}
        empty: dict[str, Any] = {**changing, "status_code": 204}
        get, post = router.get, router.post
        post("/v1/files-copy", **changing)(self.copy)
        post("/v1/files-move", **changing)(self.move)
        post("/v1/files-folders", status_code=201, **changing)(self.make_folder)
        post("/v1/files-undelete", **changing)(self.undelete)
        post("/v1/files-obliterate", **empty)(self.obliterate)
        get("/v1/files-checkpoints", responses=refusals(400, 404, 409, 501))(self.checkpoints)
        post("/v1/files-checkpoints", **changing)(self.checkpoint)
        get("/v1/files-versions", responses=refusals(400, 404, 409, 501))(self.versions)
        post("/v1/files-restore", **changing)(self.restore)
        get("/v1/files-properties", **lost)(self.properties)
        router.patch("/v1/files-properties", **changing)(self.patch_properties)
        get("/v1/files-locks", **lost)(self.locks)
        post("/v1/files-locks", **changing)(self.lock)
        post("/v1/files-locks/renew", **changing)(self.renew_lock)
        post("/v1/files-locks/release", **empty)(self.release_lock)
        get("/v1/files-acl", **lost)(self.acl)
        router.put("/v1/files-acl", **changing)(self.set_acl)
        get("/v1/files-acl/explain", **lost)(self.explain)
        get("/v1/files-usage", **lost)(self.usage)
        router.put("/v1/files-usage", **changing)(self.set_quota)
        post("/v1/files-mounts", status_code=201, responses=MOUNTING)(self.mount)
        post("/v1/files-links", responses=refusals(400, 404, 409))(self.link)
        post("/v1/files-tickets")(self.ticket)
        get("/v1/files-people")(self.people)
        return router

    async def copy(
        self, body: CopyRequest, who: Writer, match: Match = None, none_match: NoneMatch = None
    ) -> FileEntry:
        """Copy a file, one of its checkpoints, or a folder: rows only, whatever its size."""
        entry = await self._content.copy(
            await self._callers.of(who),
            body.source,
            body.target,
            checkpoint=body.checkpoint,
            overwrite=body.overwrite,
            only=body.only,
            condition=_condition(match, none_match),
            message=body.message,
        )
        return FileEntry.model_validate(entry_object(entry))

    async def move(
        self, body: MoveRequest, who: Writer, match: Match = None, none_match: NoneMatch = None
    ) -> FileEntry:
        """Move a file or folder; its locks, rights and watchers go with it."""
        entry = await self._content.move(
            await self._callers.of(who),
            body.source,
            body.target,
            overwrite=body.overwrite,
            only=body.only,
            condition=_condition(match, none_match),
            message=body.message,
        )
        return FileEntry.model_validate(entry_object(entry))

    async def make_folder(self, body: FolderRequest, who: Writer) -> FileEntry:
        """Make a folder."""
        caller = await self._callers.of(who)
        entry = await self._content.create_folder(caller, body.path, parents=body.parents)
        return FileEntry.model_validate(entry_object(entry))

    async def undelete(self, body: PathRequest, who: Writer) -> FileEntry:
        """Bring back what was deleted last at a path."""
        entry = await self._content.undelete(await self._callers.of(who), body.path)
        return FileEntry.model_validate(entry_object(entry))

    async def obliterate(self, body: ObliterateRequest, who: Writer) -> None:
        """Remove something for ever."""
        caller = await self._callers.of(who)
        await self._content.obliterate(caller, body.path, checkpoints=body.checkpoints)

    async def checkpoints(self, path: Path, who: Reader) -> VersionList:
        """Checkpoints of a file, newest first."""
        found = await self._content.checkpoints(await self._callers.of(who), path)
        return VersionList(items=[FileVersion.model_validate(plain(item)) for item in found])

    async def checkpoint(self, body: CheckpointRequest, who: Writer) -> FileVersion:
        """Keep the present content under a number."""
        caller = await self._callers.of(who)
        made = await self._content.checkpoint(caller, body.path, body.comment, force=body.force)
        return FileVersion.model_validate(plain(made))

    async def versions(self, path: Path, who: Reader) -> VersionList:
        """Every content of a file that is kept, newest first."""
        found = await self._content.versions(await self._callers.of(who), path)
        return VersionList(items=[FileVersion.model_validate(plain(item)) for item in found])

    async def restore(self, body: RestoreRequest, who: Writer) -> FileEntry:
        """Make a checkpoint the present content again."""
        entry = await self._content.restore(
            await self._callers.of(who), body.path, body.checkpoint, message=body.message
        )
        return FileEntry.model_validate(entry_object(entry))

    async def properties(self, path: Path, who: Reader) -> PropertyMap:
        """Properties of one thing."""
        found = await self._content.properties(await self._callers.of(who), path)
        return PropertyMap(properties=found)

    async def patch_properties(
        self, body: PropertyPatch, who: Writer, match: Match = None, none_match: NoneMatch = None
    ) -> PropertyMap:
        """Set and remove properties, all or none."""
        caller = await self._callers.of(who)
        condition = _condition(match, none_match)
        await self._content.patch_properties(
            caller, body.path, body.put, body.remove, condition=condition
        )
        return PropertyMap(properties=await self._content.properties(caller, body.path))

    async def locks(self, path: Path, who: Reader, below: bool = False) -> LockList:
        """Locks at a path; with `below` also those of what it holds."""
        found = await self._content.locks(await self._callers.of(who), path, below=below)
        return LockList(items=[FileLock.model_validate(plain(item)) for item in found])

    async def lock(self, body: LockRequest, who: Writer) -> FileLock:
        """Lock a file for the person who asks, until it is given back or the lease ends."""
        taken = await self._content.lock(
            await self._callers.of(who),
            body.path,
            lease_s=body.lease_s or self._lease_s,
            etag=body.etag,
            shared_note=body.note,
        )
        return FileLock.model_validate(plain(taken))

    async def renew_lock(self, body: LockRenewal, who: Writer) -> FileLock:
        """Hold a lock for longer."""
        lease_s = body.lease_s or self._lease_s
        caller = replace(await self._callers.of(who), lock_tokens=frozenset({body.token}))
        renewed = await self._content.renew_lock(caller, body.path, body.token, lease_s)
        return FileLock.model_validate(plain(renewed))

    async def release_lock(self, body: LockRelease, who: Writer) -> None:
        """Give a lock back; with `force` break somebody's, where one may."""
        caller = replace(await self._callers.of(who), lock_tokens=frozenset({body.token}))
        await self._content.unlock(caller, body.path, token=body.token, force=body.force)

    async def acl(self, path: Path, who: Reader) -> AclList:
        """The explicit rights at a path."""
        found = await self._content.acl(await self._callers.of(who), path)
        return AclList.model_validate({"path": path, "items": [plain(item) for item in found]})

    async def set_acl(self, body: AclList, who: Writer) -> AclList:
        """Replace the explicit rights at a path."""
        caller = await self._callers.of(who)
        entries = [
            AclEntry(item.principal, Access(item.allow), Access(item.deny)) for item in body.items
        ]
        await self._content.set_acl(caller, body.path, entries)
        found = await self._content.acl(caller, body.path)
        return AclList.model_validate({"path": body.path, "items": [plain(i) for i in found]})

    async def explain(
        self, path: Path, principal: Annotated[str, Query(max_length=256)], who: Reader
    ) -> GrantList:
        """Where somebody's rights at a path come from; `principal` is a user's subject."""
        people = await self._callers.directory.read()
        person = people.by_subject.get(principal)
        groups = frozenset(person.groups) if person is not None else frozenset[str]()
        caller = await self._callers.of(who)
        found = await self._content.explain(caller, path, principal, groups)
        return GrantList.model_validate({"items": [plain(item) for item in found]})

    async def usage(self, path: Path, who: Reader) -> UsageView:
        """What a folder holds, and may hold."""
        found = await self._content.usage(await self._callers.of(who), path)
        return UsageView.model_validate(plain(found))

    async def set_quota(self, body: QuotaRequest, who: Writer) -> UsageView:
        """Bound what a folder may hold."""
        caller = await self._callers.of(who)
        await self._content.set_quota(caller, body.path, bytes=body.max_bytes, nodes=body.max_nodes)
        return UsageView.model_validate(plain(await self._content.usage(caller, body.path)))

    async def mount(self, body: MountRequest, who: Writer) -> FileEntry:
        """Show a place elsewhere in the tree; for administrators."""
        caller = await self._callers.of(who)
        entry = await self._content.mounts.mount(
            caller, body.path, body.target, writable=body.writable
        )
        return FileEntry.model_validate(entry_object(entry))

    async def link(self, body: LinkRequest, who: Reader, response: Response) -> FileLink:
        """A signed URL of a file on the content origin, for a browser to show or download."""
        caller = await self._callers.of(who)
        url, expires_at = await self._links.open(
            self._content, caller, body.path, body.checkpoint, body.lifetime_s
        )
        response.headers["cache-control"] = "no-store"
        return FileLink(url=url, expires_at=expires_at)

    async def ticket(self, who: Reader, response: Response) -> FilesTicket:
        """A ticket by which a page opens one socket, once, within a minute."""
        await self._callers.of(who)
        response.headers["cache-control"] = "no-store"
        ticket = self._tickets.mint(who)
        return FilesTicket(ticket=ticket, protocol=SOCKET_PROTOCOL, url=self._socket_url)

    async def people(self, who: PersonReader) -> PeopleView:
        """Users and groups whom rights may name."""
        await self._callers.of(who)
        people = await self._callers.directory.read()
        users = [
            {"subject": item.subject, "name": item.name, "groups": item.groups}
            for item in people.of(who.tenant)
        ]
        groups = people.groups_of(who.tenant)
        return PeopleView.model_validate({"users": users, "groups": groups})


PersonReader = Annotated[Principal, Depends(require("files:read", kinds=("user", "token")))]


async def _mark(response: Response) -> None:
    response.headers[CAPABILITY] = "1"
