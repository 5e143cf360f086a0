"""Changing who is in which group: at the identity service of the same platform."""

from __future__ import annotations

import aiohttp

from downstage.client.http import Http
from downstage.client.providers.provider import GroupChange
from downstage.client.url_parts import encode
from downstage.kernel.errors import AlreadyExists, NotFound, NotSupported

__all__ = ["change_group"]

People = tuple[dict[str, tuple[str, ...]], tuple[str, ...]]


async def change_group(
    http: Http, people: People, change: GroupChange, group: str, other: str
) -> None:
    """Do one change; a group is there as long as somebody is in it.

    Raises:
        NotFound: no such group or user.
        AlreadyExists: a group of the new name is there.
        NotSupported: a group without anybody.
        Forbidden: not an administrator.
    """
    users, groups = people
    if change == "create":
        raise NotSupported("A group comes into being with the first user who is put into it.")
    if change in {"add", "drop"}:
        if other not in users:
            raise NotFound("There is no such user.")
        theirs = set(users[other])
        await _set(http, other, theirs | {group} if change == "add" else theirs - {group})
        return
    if group not in groups:
        raise NotFound("There is no such group.")
    if change == "rename" and other in groups:
        raise AlreadyExists("A group of that name is there.")
    for user, theirs in users.items():
        if group in theirs:
            kept = set(theirs) - {group}
            await _set(http, user, kept | {other} if change == "rename" else kept)


async def _set(http: Http, user: str, groups: set[str]) -> None:
    url = f"{http.origin.url}/v1/users/{encode(user, '')}"
    body = aiohttp.JsonPayload({"groups": sorted(groups)})
    async with http.request("PATCH", url, data=body):
        return
