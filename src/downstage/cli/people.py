"""``downstage user …`` and ``downstage token``."""

from __future__ import annotations

import getpass
import sys

from rich.console import Console
from rich.table import Table

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


async def print_token(settings: Settings, *, name: str, scopes: list[str], days: int) -> None:
    """Make an API token and print it, alone on standard output."""
    async with identity_client(settings) as client:
        answer = await client.v1.tokens.post(
            name=name, scopes=scopes, expires_in_s=days * 24 * 3600
        )
    print(answer["token"])


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
