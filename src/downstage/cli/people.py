"""``downstage user …`` and ``downstage token``."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from downstage.auth.principal import STREAM_RIGHTS
from downstage.cli.access import identity_client
from downstage.kernel.errors import InvalidField
from downstage.kernel.settings import Settings

__all__ = ["add_user", "list_users", "print_token", "remove_user", "set_password"]

LEAST = 8


async def add_user(settings: Settings, name: str, *, is_admin: bool) -> None:
    """Add *name*, asking for a password."""
    password = _ask_password()
    async with identity_client(settings) as client:
        groups = ["admins"] if is_admin else []
        await client.v1.users.post(name=name, password=password, groups=groups)
    Console().print(f"Added {name}{' as an administrator' if is_admin else ''}.")


async def list_users(settings: Settings) -> None:
    """Print everybody, page by page."""
    table = Table("name", "groups", "state", "since")
    after = None
    async with identity_client(settings) as client:
        while True:
            page = await client.v1.users.get(after=after)
            for item in page["items"]:
                state = "disabled" if item["disabled"] else "active"
                table.add_row(
                    item["name"], ", ".join(item["groups"]), state, item["created_at"][:10]
                )
            after = page.get("next")
            if after is None:
                break
    Console().print(table)


async def set_password(settings: Settings, name: str) -> None:
    """Give *name* a new password."""
    password = _ask_password()
    async with identity_client(settings) as client:
        await client.v1.users[name].patch(password=password)
    Console().print(f"The password of {name} is changed.")


async def remove_user(settings: Settings, name: str) -> None:
    """Remove *name* for good."""
    async with identity_client(settings) as client:
        await client.v1.users[name].delete()
    Console().print(f"Removed {name}.")


async def print_token(
    settings: Settings, *, name: str, scopes: Sequence[str], streams: Sequence[str], days: int
) -> None:
    """Make an API token and print it, alone on standard output.

    Raises:
        InvalidField: one of *streams* is not of the form ``pattern:right,right``.
    """
    bounds = [_bound(item) for item in streams]
    async with identity_client(settings) as client:
        answer = await client.v1.tokens.post(
            name=name,
            scopes=list(scopes),
            streams=bounds or None,
            expires_in_s=days * 24 * 3600,
        )
    print(answer["token"])


def _bound(text: str) -> dict[str, object]:
    """Read ``camera-*:read``; names of streams may hold colons, rights hold none."""
    pattern, _, rights = text.rpartition(":")
    named = rights.split(",")
    if not pattern or not set(named) <= set(STREAM_RIGHTS):
        raise InvalidField(
            "--stream",
            f"--stream {text}: say which streams and what for, as in 'camera-*:read' or "
            f"'robot:read,write'. The rights are {', '.join(STREAM_RIGHTS)}.",
        )
    return {"pattern": pattern, "rights": named}


def _ask_password() -> str:
    """From the terminal, twice; from a pipe, one line."""
    if not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = getpass.getpass("Password: ")
        if password != getpass.getpass("Again: "):
            raise InvalidField("password", "The two passwords differ; nothing was changed.")
    if len(password) < LEAST:
        raise InvalidField("password", f"A password needs at least {LEAST} characters.")
    return password
