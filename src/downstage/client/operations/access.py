"""Who may do what, who is who, and what a server says of itself."""

# ruff: noqa: D417 - the first argument is the client, in every operation
from __future__ import annotations

from collections.abc import Sequence

from downstage.client.client import Client
from downstage.client.types import AclEntry, ServerInfo
from downstage.kernel.errors import NotFound

__all__ = [
    "add_user_to_group",
    "create_group",
    "get_acls",
    "get_group_users",
    "get_groups",
    "get_server_info",
    "get_user_groups",
    "get_users",
    "remove_group",
    "remove_user_from_group",
    "rename_group",
    "set_acls",
]


async def get_server_info(client: Client, url: str) -> ServerInfo:
    """Ask a server what it is, and who you are there.

    Args:
        url: anywhere on the server.
    """
    place = client.place(url)
    return await (await client.provider(place)).server_info(place)


async def get_acls(client: Client, url: str) -> tuple[AclEntry, ...]:
    """List the rights that are given at one place, not those from above.

    Args:
        url: of the file or folder.
    """
    place = client.place(url)
    return await (await client.provider(place)).get_acls(place)


async def set_acls(client: Client, url: str, acls: Sequence[AclEntry]) -> None:
    """Replace the rights that are given at one place; needs ADMIN there.

    Args:
        url: of the file or folder.
        acls: all of them; an empty list leaves what comes from above.
    """
    place = client.place(url)
    await (await client.provider(place)).set_acls(place, acls)


async def get_users(client: Client, url: str) -> tuple[str, ...]:
    """List the users of a server.

    Args:
        url: anywhere on the server.
    """
    users, _ = await _people(client, url)
    return tuple(sorted(users))


async def get_groups(client: Client, url: str) -> tuple[str, ...]:
    """List the groups of a server.

    Args:
        url: anywhere on the server.
    """
    _, groups = await _people(client, url)
    return tuple(sorted(groups))


async def get_user_groups(client: Client, url: str, user: str) -> tuple[str, ...]:
    """List the groups that a user is in.

    Args:
        url: anywhere on the server.
        user: as `get_users` names them.
    """
    users, _ = await _people(client, url)
    if user not in users:
        raise NotFound("There is no such user.")
    return tuple(sorted(users[user]))


async def get_group_users(client: Client, url: str, group: str) -> tuple[str, ...]:
    """List the users in a group.

    Args:
        url: anywhere on the server.
        group: its name.
    """
    users, groups = await _people(client, url)
    if group not in groups:
        raise NotFound("There is no such group.")
    return tuple(sorted(user for user, theirs in users.items() if group in theirs))


async def create_group(client: Client, url: str, group: str) -> None:
    """Make a group; our servers make one with its first user, and answer ERROR_NOT_SUPPORTED.

    Args:
        url: anywhere on the server.
        group: its name.
    """
    place = client.place(url)
    await (await client.provider(place)).change_group(place, "create", group, "")


async def rename_group(client: Client, url: str, group: str, new_name: str) -> None:
    """Give a group another name; rights that were given to it stay with the old one.

    Args:
        url: anywhere on the server.
        group: its name.
        new_name: what it shall be called.
    """
    place = client.place(url)
    await (await client.provider(place)).change_group(place, "rename", group, new_name)


async def remove_group(client: Client, url: str, group: str) -> None:
    """Remove a group.

    Args:
        url: anywhere on the server.
        group: its name.
    """
    place = client.place(url)
    await (await client.provider(place)).change_group(place, "remove", group, "")


async def add_user_to_group(client: Client, url: str, user: str, group: str) -> None:
    """Put a user into a group.

    Args:
        url: anywhere on the server.
        user: as `get_users` names them.
        group: its name.
    """
    place = client.place(url)
    await (await client.provider(place)).change_group(place, "add", group, user)


async def remove_user_from_group(client: Client, url: str, user: str, group: str) -> None:
    """Take a user out of a group.

    Args:
        url: anywhere on the server.
        user: as `get_users` names them.
        group: its name.
    """
    place = client.place(url)
    await (await client.provider(place)).change_group(place, "drop", group, user)


async def _people(client: Client, url: str) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    place = client.place(url)
    return await (await client.provider(place)).people(place)
