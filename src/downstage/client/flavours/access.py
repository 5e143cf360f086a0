"""Who may do what, who is who, and what a server says of itself.

Made by ``tools/generate_client.py`` from `downstage.client.operations.access`; change that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from downstage.client.flavour import block, block_bare, start, start_bare, wait, wait_bare
from downstage.client.operations import access as do
from downstage.client.request import Request
from downstage.client.types import AclEntry, Result, ServerInfo

__all__ = [
    "add_user_to_group",
    "add_user_to_group_async",
    "add_user_to_group_with_callback",
    "create_group",
    "create_group_async",
    "create_group_with_callback",
    "get_acls",
    "get_acls_async",
    "get_acls_with_callback",
    "get_group_users",
    "get_group_users_async",
    "get_group_users_with_callback",
    "get_groups",
    "get_groups_async",
    "get_groups_with_callback",
    "get_server_info",
    "get_server_info_async",
    "get_server_info_with_callback",
    "get_user_groups",
    "get_user_groups_async",
    "get_user_groups_with_callback",
    "get_users",
    "get_users_async",
    "get_users_with_callback",
    "remove_group",
    "remove_group_async",
    "remove_group_with_callback",
    "remove_user_from_group",
    "remove_user_from_group_async",
    "remove_user_from_group_with_callback",
    "rename_group",
    "rename_group_async",
    "rename_group_with_callback",
    "set_acls",
    "set_acls_async",
    "set_acls_with_callback",
]


def get_server_info(url: str) -> tuple[Result, ServerInfo]:
    """Ask a server what it is, and who you are there.

    Args:
        url: anywhere on the server.
    """
    return block(ServerInfo(), do.get_server_info, url)


async def get_server_info_async(url: str) -> tuple[Result, ServerInfo]:
    """Ask a server what it is, and who you are there.

    Args:
        url: anywhere on the server.
    """
    return await wait(ServerInfo(), do.get_server_info, url)


def get_server_info_with_callback(
    url: str, callback: Callable[[Result, ServerInfo], Any]
) -> Request:
    """Ask a server what it is, and who you are there.

    Args:
        url: anywhere on the server.
        callback: gets what the blocking flavour returns, on the callback thread.
    """
    return start(callback, ServerInfo(), do.get_server_info, url)


def get_acls(url: str) -> tuple[Result, tuple[AclEntry, ...]]:
    """List the rights that are given at one place, not those from above.

    Args:
        url: of the file or folder.
    """
    return block((), do.get_acls, url)


async def get_acls_async(url: str) -> tuple[Result, tuple[AclEntry, ...]]:
    """List the rights that are given at one place, not those from above.

    Args:
        url: of the file or folder.
    """
    return await wait((), do.get_acls, url)


def get_acls_with_callback(
    url: str, callback: Callable[[Result, tuple[AclEntry, ...]], Any]
) -> Request:
    """List the rights that are given at one place, not those from above.

    Args:
        url: of the file or folder.
        callback: gets what the blocking flavour returns, on the callback thread.
    """
    return start(callback, (), do.get_acls, url)


def set_acls(url: str, acls: Sequence[AclEntry]) -> Result:
    """Replace the rights that are given at one place; needs ADMIN there.

    Args:
        url: of the file or folder.
        acls: all of them; an empty list leaves what comes from above.
    """
    return block_bare(do.set_acls, url, acls)


async def set_acls_async(url: str, acls: Sequence[AclEntry]) -> Result:
    """Replace the rights that are given at one place; needs ADMIN there.

    Args:
        url: of the file or folder.
        acls: all of them; an empty list leaves what comes from above.
    """
    return await wait_bare(do.set_acls, url, acls)


def set_acls_with_callback(
    url: str, acls: Sequence[AclEntry], callback: Callable[[Result], Any]
) -> Request:
    """Replace the rights that are given at one place; needs ADMIN there.

    Args:
        url: of the file or folder.
        acls: all of them; an empty list leaves what comes from above.
        callback: gets what the blocking flavour returns, on the callback thread.
    """
    return start_bare(callback, do.set_acls, url, acls)


def get_users(url: str) -> tuple[Result, tuple[str, ...]]:
    """List the users of a server.

    Args:
        url: anywhere on the server.
    """
    return block((), do.get_users, url)


async def get_users_async(url: str) -> tuple[Result, tuple[str, ...]]:
    """List the users of a server.

    Args:
        url: anywhere on the server.
    """
    return await wait((), do.get_users, url)


def get_users_with_callback(
    url: str, callback: Callable[[Result, tuple[str, ...]], Any]
) -> Request:
    """List the users of a server.

    Args:
        url: anywhere on the server.
        callback: gets what the blocking flavour returns, on the callback thread.
    """
    return start(callback, (), do.get_users, url)


def get_groups(url: str) -> tuple[Result, tuple[str, ...]]:
    """List the groups of a server.

    Args:
        url: anywhere on the server.
    """
    return block((), do.get_groups, url)


async def get_groups_async(url: str) -> tuple[Result, tuple[str, ...]]:
    """List the groups of a server.

    Args:
        url: anywhere on the server.
    """
    return await wait((), do.get_groups, url)


def get_groups_with_callback(
    url: str, callback: Callable[[Result, tuple[str, ...]], Any]
) -> Request:
    """List the groups of a server.

    Args:
        url: anywhere on the server.
        callback: gets what the blocking flavour returns, on the callback thread.
    """
    return start(callback, (), do.get_groups, url)


def get_user_groups(url: str, user: str) -> tuple[Result, tuple[str, ...]]:
    """List the groups that a user is in.

    Args:
        url: anywhere on the server.
        user: as `get_users` names them.
    """
    return block((), do.get_user_groups, url, user)


async def get_user_groups_async(url: str, user: str) -> tuple[Result, tuple[str, ...]]:
    """List the groups that a user is in.

    Args:
        url: anywhere on the server.
        user: as `get_users` names them.
    """
    return await wait((), do.get_user_groups, url, user)


def get_user_groups_with_callback(
    url: str, user: str, callback: Callable[[Result, tuple[str, ...]], Any]
) -> Request:
    """List the groups that a user is in.

    Args:
        url: anywhere on the server.
        user: as `get_users` names them.
        callback: gets what the blocking flavour returns, on the callback thread.
    """
    return start(callback, (), do.get_user_groups, url, user)


def get_group_users(url: str, group: str) -> tuple[Result, tuple[str, ...]]:
    """List the users in a group.

    Args:
        url: anywhere on the server.
        group: its name.
    """
    return block((), do.get_group_users, url, group)


async def get_group_users_async(url: str, group: str) -> tuple[Result, tuple[str, ...]]:
    """List the users in a group.

    Args:
        url: anywhere on the server.
        group: its name.
    """
    return await wait((), do.get_group_users, url, group)


def get_group_users_with_callback(
    url: str, group: str, callback: Callable[[Result, tuple[str, ...]], Any]
) -> Request:
    """List the users in a group.

    Args:
        url: anywhere on the server.
        group: its name.
        callback: gets what the blocking flavour returns, on the callback thread.
    """
    return start(callback, (), do.get_group_users, url, group)


def create_group(url: str, group: str) -> Result:
    """Make a group; our servers make one with its first user, and answer ERROR_NOT_SUPPORTED.

    Args:
        url: anywhere on the server.
        group: its name.
    """
    return block_bare(do.create_group, url, group)


async def create_group_async(url: str, group: str) -> Result:
    """Make a group; our servers make one with its first user, and answer ERROR_NOT_SUPPORTED.

    Args:
        url: anywhere on the server.
        group: its name.
    """
    return await wait_bare(do.create_group, url, group)


def create_group_with_callback(url: str, group: str, callback: Callable[[Result], Any]) -> Request:
    """Make a group; our servers make one with its first user, and answer ERROR_NOT_SUPPORTED.

    Args:
        url: anywhere on the server.
        group: its name.
        callback: gets what the blocking flavour returns, on the callback thread.
    """
    return start_bare(callback, do.create_group, url, group)


def rename_group(url: str, group: str, new_name: str) -> Result:
    """Give a group another name; rights that were given to it stay with the old one.

    Args:
        url: anywhere on the server.
        group: its name.
        new_name: what it shall be called.
    """
    return block_bare(do.rename_group, url, group, new_name)


async def rename_group_async(url: str, group: str, new_name: str) -> Result:
    """Give a group another name; rights that were given to it stay with the old one.

    Args:
        url: anywhere on the server.
        group: its name.
        new_name: what it shall be called.
    """
    return await wait_bare(do.rename_group, url, group, new_name)


def rename_group_with_callback(
    url: str, group: str, new_name: str, callback: Callable[[Result], Any]
) -> Request:
    """Give a group another name; rights that were given to it stay with the old one.

    Args:
        url: anywhere on the server.
        group: its name.
        new_name: what it shall be called.
        callback: gets what the blocking flavour returns, on the callback thread.
    """
    return start_bare(callback, do.rename_group, url, group, new_name)


def remove_group(url: str, group: str) -> Result:
    """Remove a group.

    Args:
        url: anywhere on the server.
        group: its name.
    """
    return block_bare(do.remove_group, url, group)


async def remove_group_async(url: str, group: str) -> Result:
    """Remove a group.

    Args:
        url: anywhere on the server.
        group: its name.
    """
    return await wait_bare(do.remove_group, url, group)


def remove_group_with_callback(url: str, group: str, callback: Callable[[Result], Any]) -> Request:
    """Remove a group.

    Args:
        url: anywhere on the server.
        group: its name.
        callback: gets what the blocking flavour returns, on the callback thread.
    """
    return start_bare(callback, do.remove_group, url, group)


def add_user_to_group(url: str, user: str, group: str) -> Result:
    """Put a user into a group.

    Args:
        url: anywhere on the server.
        user: as `get_users` names them.
        group: its name.
    """
    return block_bare(do.add_user_to_group, url, user, group)


async def add_user_to_group_async(url: str, user: str, group: str) -> Result:
    """Put a user into a group.

    Args:
        url: anywhere on the server.
        user: as `get_users` names them.
        group: its name.
    """
    return await wait_bare(do.add_user_to_group, url, user, group)


def add_user_to_group_with_callback(
    url: str, user: str, group: str, callback: Callable[[Result], Any]
) -> Request:
    """Put a user into a group.

    Args:
        url: anywhere on the server.
        user: as `get_users` names them.
        group: its name.
        callback: gets what the blocking flavour returns, on the callback thread.
    """
    return start_bare(callback, do.add_user_to_group, url, user, group)


def remove_user_from_group(url: str, user: str, group: str) -> Result:
    """Take a user out of a group.

    Args:
        url: anywhere on the server.
        user: as `get_users` names them.
        group: its name.
    """
    return block_bare(do.remove_user_from_group, url, user, group)


async def remove_user_from_group_async(url: str, user: str, group: str) -> Result:
    """Take a user out of a group.

    Args:
        url: anywhere on the server.
        user: as `get_users` names them.
        group: its name.
    """
    return await wait_bare(do.remove_user_from_group, url, user, group)


def remove_user_from_group_with_callback(
    url: str, user: str, group: str, callback: Callable[[Result], Any]
) -> Request:
    """Take a user out of a group.

    Args:
        url: anywhere on the server.
        user: as `get_users` names them.
        group: its name.
        callback: gets what the blocking flavour returns, on the callback thread.
    """
    return start_bare(callback, do.remove_user_from_group, url, user, group)
