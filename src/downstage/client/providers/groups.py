"""Changing who is in which group: at the identity service of the same platform."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import aiohttp

from downstage.client.http import Http
from downstage.client.providers.provider import GroupChange
from downstage.client.url_parts import encode
from downstage.kernel.errors import AlreadyExists, NotFound, NotSupported

__all__ = ["change_group"]

PAGE = 500


async def change_group(http: Http, change: GroupChange, group: str, other: str) -> None:
    """Do one change; a group is there as long as somebody is in it.

    User by user: whoever fails leaves those before changed. Rights that were given to a group
    stay with its name.

    Raises:
        NotFound: no such group or user.
        AlreadyExists: a group of the new name is there.
        NotSupported: a group without anybody.
        Forbidden: not an administrator.
    """
    if change == "create":
        raise NotSupported("A group comes into being with the first user who is put into it.")
    users = await _users(http)
    if change in {"add", "drop"}:
        if other not in users:
            raise NotFound("There is no such user.")
        theirs = users[other]
        await _set(http, other, theirs | {group} if change == "add" else theirs - {group})
        return
    groups = set[str]().union(*users.values())
    if group not in groups:
        raise NotFound("There is no such group.")
    if change == "rename" and other in groups:
        raise AlreadyExists("A group of that name is there.")
    for user, theirs in users.items():
        if group in theirs:
            kept = theirs - {group}
            await _set(http, user, kept | {other} if change == "rename" else kept)


async def _users(http: Http) -> dict[str, set[str]]:
    """Groups by user as they are now; what the content service knows may be seconds old."""
    found, after = dict[str, set[str]](), ""
    while True:
        query = {"limit": str(PAGE), **({"after": after} if after else {})}
        async with http.request(
            "GET", f"{http.origin.url}/v1/users?{urlencode(query)}"
        ) as response:
            page: dict[str, Any] = await response.json()
        found |= {str(user["name"]): set(user["groups"]) for user in page["items"]}
        if not (after := page.get("next") or ""):
            return found


async def _set(http: Http, user: str, groups: set[str]) -> None:
    url = f"{http.origin.url}/v1/users/{encode(user, '')}"
    body = aiohttp.JsonPayload({"groups": sorted(groups)})
    async with http.request("PATCH", url, data=body):
        return
