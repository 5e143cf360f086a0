"""Scopes and roles as data: what each allows, what it implies, who has it.

A principal may hand on only what it holds itself (`may_grant`); what a person's scope lets a
service do in that person's name stands in `DELEGATES`.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

__all__ = [
    "ADMINS",
    "DELEGATES",
    "IMPLIES",
    "ROLES",
    "SCOPES",
    "SERVICES",
    "acting_scopes",
    "expand",
    "may_grant",
    "role_scopes",
]

SCOPES = MappingProxyType(
    {
        "sessions:read": "see one's own sessions",
        "sessions:write": "create, join and end one's own sessions",
        "sessions:admin": "see and end everybody's sessions, and create them for others",
        "instances:read": "see instances and applications behind sessions",
        "instances:write": "start and end instances",
        "instances:exec": "run commands in instances and read their logs",
        "applications:write": "publish, change and remove applications, images and addons",
        "nodes:write": "add, cordon, drain and remove nodes",
        "files:read": "read files, where their rights allow it",
        "files:write": "write files, where their rights allow it",
        "files:admin": "read and write all files, and change rights and quotas",
        "streams:read": "list, read and replay streams, where the token's patterns allow it",
        "streams:write": "push to, describe and delete streams, where the patterns allow it",
        "streams:record": "start and stop recordings, and replay them into streams",
        "streams:admin": "do all of that with all streams and recordings",
        "users:read": "see all users and their groups",
        "users:write": "add, change and remove users who hold no more than oneself",
        "tokens:write": "make and revoke one's own API tokens",
        "tickets:write": "mint and redeem one-time tickets and seat tokens (services)",
        "operate": "read metrics, logs and readiness in detail, and administer the platform",
    }
)
"""Every scope there is, and what it allows in one line."""

IMPLIES = MappingProxyType(
    {
        "sessions:admin": frozenset({"sessions:read", "sessions:write"}),
        "sessions:write": frozenset({"sessions:read"}),
        "instances:write": frozenset({"instances:read"}),
        "instances:exec": frozenset({"instances:read"}),
        "applications:write": frozenset({"instances:read"}),
        "nodes:write": frozenset({"instances:read"}),
        "files:admin": frozenset({"files:read", "files:write"}),
        "files:write": frozenset({"files:read"}),
        "streams:admin": frozenset({"streams:read", "streams:write", "streams:record"}),
        "streams:write": frozenset({"streams:read"}),
        "streams:record": frozenset({"streams:read"}),
        "users:write": frozenset({"users:read"}),
    }
)
"""A scope on the left brings those on its right."""

ADMINS = "admins"
"""The group whose members have the role `admin`."""

ROLES = MappingProxyType(
    {
        "user": frozenset(
            {
                "sessions:read",
                "sessions:write",
                "files:read",
                "files:write",
                "streams:read",
                "streams:write",
                "streams:record",
                "tokens:write",
            }
        ),
        "admin": frozenset(SCOPES),
    }
)
"""What each role of a person brings."""

SERVICES = MappingProxyType(
    {
        "identity": frozenset[str](),
        "gateway": frozenset(
            {"tickets:write", "instances:read", "instances:write", "applications:write"}
        ),
        "agent": frozenset(
            {"instances:read", "instances:write", "applications:write", "sessions:write"}
        ),
        "manager": frozenset({"sessions:write"}),
        "content": frozenset({"tickets:write", "users:read"}),
        "streams": frozenset({"tickets:write", "files:write", "sessions:read"}),
    }
)
"""What each built-in service may do at the others. A service that is not named has no token."""

DELEGATES = MappingProxyType(
    {
        "sessions:read": frozenset({"instances:read"}),
        "sessions:write": frozenset({"instances:read", "instances:write", "tickets:write"}),
    }
)
"""What a person's scope allows a service to do in that person's name (never the person alone)."""


def expand(scopes: Iterable[str]) -> frozenset[str]:
    """*scopes* and all that they imply."""
    found = frozenset(scopes)
    return found.union(*(IMPLIES.get(scope, frozenset[str]()) for scope in found))


def may_grant(held: Iterable[str], wanted: Iterable[str]) -> bool:
    """Whether somebody who holds *held* may hand on *wanted*: nobody gives more than they have."""
    return expand(wanted) <= expand(held)


def role_scopes(groups: Iterable[str]) -> frozenset[str]:
    """Scopes of a person by their *groups*."""
    return ROLES["admin"] if ADMINS in groups else ROLES["user"]


def acting_scopes(service: Iterable[str], person: Iterable[str]) -> frozenset[str]:
    """Scopes of a service that acts for a person: what both may, delegation counted in."""
    own = expand(person)
    lent = own.union(*(DELEGATES.get(scope, frozenset[str]()) for scope in own))
    return expand(service) & lent
