"""Commands on users and groups, asked of identity with the caller's own token.

A group is there as long as somebody is in it: it can be neither made empty nor renamed.
"""

from __future__ import annotations

from downstage.content.dialects.nucleus.call import Answer, Call
from downstage.kernel.errors import NotSupported

__all__ = [
    "add_user_to_group",
    "create_group",
    "get_group_users",
    "get_groups",
    "get_user_groups",
    "get_users",
    "remove_group",
    "remove_user_from_group",
    "rename_group",
]

NO_USER = Answer(status="USER_NOT_FOUND")
NO_GROUP = Answer(status="GROUP_NOT_FOUND")


async def get_users(call: Call) -> Answer:
    """Names of all users."""
    return Answer({"users": sorted(await call.desk.accounts.people(call.token))})


async def get_groups(call: Call) -> Answer:
    """Names of all groups."""
    people = await call.desk.accounts.people(call.token)
    return Answer({"groups": sorted({group for groups in people.values() for group in groups})})


async def get_group_users(call: Call) -> Answer:
    """Names of a group's members."""
    group = _named(call, "group", "groupname", "name")
    people = await call.desk.accounts.people(call.token)
    members = sorted(name for name, groups in people.items() if group in groups)
    return Answer({"users": members}) if members else NO_GROUP


async def get_user_groups(call: Call) -> Answer:
    """Names of the groups that a user is in."""
    user = _named(call, "user", "username", "name")
    people = await call.desk.accounts.people(call.token)
    return Answer({"groups": sorted(people[user])}) if user in people else NO_USER


async def add_user_to_group(call: Call) -> Answer:
    """Put a user into a group, which may be new."""
    user, group = _named(call, "user", "username"), _named(call, "group", "groupname")
    people = await call.desk.accounts.people(call.token)
    if user not in people:
        return NO_USER
    if group in people[user]:
        return Answer(status="USER_ALREADY_IN_GROUP")
    await call.desk.accounts.set_groups(call.token, user, [*people[user], group])
    return Answer()


async def remove_user_from_group(call: Call) -> Answer:
    """Take a user out of a group; with its last member the group is gone."""
    user, group = _named(call, "user", "username"), _named(call, "group", "groupname")
    people = await call.desk.accounts.people(call.token)
    if user not in people:
        return NO_USER
    if group not in people[user]:
        return Answer(status="USER_NOT_IN_GROUP")
    left = [name for name in people[user] if name != group]
    await call.desk.accounts.set_groups(call.token, user, left)
    return Answer()


async def remove_group(call: Call) -> Answer:
    """Take everybody out of a group."""
    group = _named(call, "group", "groupname", "name")
    people = await call.desk.accounts.people(call.token)
    members = {name: groups for name, groups in people.items() if group in groups}
    if not members:
        return NO_GROUP
    for name, groups in members.items():
        left = [item for item in groups if item != group]
        await call.desk.accounts.set_groups(call.token, name, left)
    return Answer()


async def create_group(call: Call) -> Answer:
    """Not here: a group begins with its first member."""
    del call
    raise NotSupported("A group is there as soon as a user is put into it.")


async def rename_group(call: Call) -> Answer:
    """Not here: rights name groups, and would not follow."""
    del call
    raise NotSupported("Groups cannot be renamed here.")


def _named(call: Call, *names: str) -> str:
    """The first of these arguments that is given: clients spell them differently."""
    return next((text for name in names if (text := call.text(name))), "")
