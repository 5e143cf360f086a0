"""``acl``, ``lock`` and ``unlock``: who may, and who has it for themselves just now."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from rich.text import Text

from downstage.cli.content.desk import about, client_of, err, out, server_of
from downstage.cli.content.shown import of_url, plain, rights_of
from downstage.client.client import Client
from downstage.client.operations import versions
from downstage.client.places import Place
from downstage.client.providers.server import ServerProvider
from downstage.client.types import AccessFlags, AclEntry
from downstage.contracts.content import GrantRow
from downstage.kernel.errors import InvalidInput, PlatformError, SetupError
from downstage.kernel.settings import Settings

__all__ = ["change_acl", "entry_of", "explain", "hold_lock", "release_lock", "show_acl"]

LETTERS = {"r": AccessFlags.READ, "w": AccessFlags.WRITE, "a": AccessFlags.ADMIN}
NONE = AccessFlags(0)
SIGNALLED = 128
KINDS = ("user:", "group:")


def principal_of(text: str) -> str:
    """``user:…``, ``group:…`` or ``everyone``.

    Raises:
        InvalidInput: neither.
    """
    name = text.strip()
    if name == "everyone" or (name.startswith(KINDS) and name.partition(":")[2]):
        return name
    raise InvalidInput(
        f"{plain(name) or 'Nothing'} is nobody: write user:NAME, group:NAME or everyone."
    )


def entry_of(text: str) -> AclEntry:
    """``group:artists=rw`` gives; ``user:bob=-w`` takes away; ``user:bob=r-w`` does both.

    Raises:
        InvalidInput: out of form.
    """
    name, equals, letters = text.rpartition("=")
    if not equals:
        raise InvalidInput(f"{plain(text)}: write WHO=RIGHTS, for example group:artists=rw.")
    given, _, taken = letters.partition("-")
    return AclEntry(principal_of(name), _flags(text, given), _flags(text, taken))


def _flags(text: str, letters: str) -> AccessFlags:
    flags = NONE
    for letter in letters:
        if letter not in LETTERS:
            raise InvalidInput(
                f"{plain(text)}: rights are r (read), w (write) and a (give rights to others); "
                "those after a - are taken away."
            )
        flags |= LETTERS[letter]
    return flags


@dataclass(frozen=True, slots=True)
class _Level:
    """The entries of a folder, or of the thing itself."""

    place: Place
    entries: tuple[AclEntry, ...]


def show_acl(settings: Settings, url: str) -> None:
    """The entries here and above: of each principal the nearest counts."""
    with client_of(settings) as client, about(url):
        levels = client.run(_levels, url)
        access = client.run(_own, url)
    console = out()
    seen = set[str]()
    for number, level in enumerate(levels):
        if not level.entries and number:
            continue
        title = Text(of_url(level.place.url), "bold")
        console.print(title.append("" if number == 0 else "  (from above)", "dim"))
        if not level.entries:
            console.print("  no entries of its own", style="dim")
        for entry in level.entries:
            line = Text(f"  {plain(entry.name):<24}", "dim" if entry.name in seen else "default")
            line.append(_rights(entry), "dim" if entry.name in seen else "green")
            line.append("  does not count: nearer one above" if entry.name in seen else "", "dim")
            console.print(line)
        seen |= {entry.name for entry in level.entries}
    if "everyone" not in seen:
        console.print("everyone else may read and write, as nothing says otherwise", style="dim")
    console.print(Text("You may: ", "dim").append(rights_of(access), "default"))


def _rights(entry: AclEntry) -> str:
    text = rights_of(entry.access)
    return f"{text}; never {rights_of(entry.deny)}" if entry.deny else text


async def _levels(client: Client, url: str) -> list[_Level]:
    place = client.place(url)
    server = await server_of(client, place, "access lists")
    levels = [_Level(place, await server.get_acls(place))]
    while place.path not in {"/", "/v1/files"}:
        place = client.place(place.url.rstrip("/").rpartition("/")[0] + "/")
        with suppress(PlatformError):  # a folder above may be none of our business
            levels.append(_Level(place, await server.get_acls(place)))
    return levels


async def _own(client: Client, url: str) -> AccessFlags:
    place = client.place(url)
    return (await (await client.provider(place)).stat(place)).access


def change_acl(settings: Settings, url: str, put: Sequence[str], remove: Sequence[str]) -> None:
    """Set and remove entries of one thing; the others stay."""
    entries = {entry.name: entry for entry in map(entry_of, put)}
    gone = {principal_of(name) for name in remove}
    with client_of(settings) as client, about(url):
        missing = client.run(_change, url, entries, gone)
    if missing:
        err().print(f"no entry here was of {', '.join(sorted(missing))}", style="yellow")
    show_acl(settings, url)


async def _change(client: Client, url: str, put: dict[str, AclEntry], gone: set[str]) -> set[str]:
    place = client.place(url)
    server = await server_of(client, place, "access lists")
    before = {entry.name: entry for entry in await server.get_acls(place)}
    after = {name: entry for name, entry in {**before, **put}.items() if name not in gone}
    if after != before:
        await server.set_acls(place, list(after.values()))
    return gone - set(before)


def explain(settings: Settings, url: str, who: str) -> None:
    """Where somebody's rights come from."""
    principal = who if who.startswith("group:") or who == "everyone" else who.removeprefix("user:")
    with client_of(settings) as client, about(url):
        rows = client.run(_explained, url, principal)
    console = out()
    console.print(Text(f"{plain(who)} at {of_url(url)}", "bold"))
    if not rows:
        console.print("  no entry speaks of them: what is usual counts, read and write")
    for row in rows:
        entry = AclEntry(row.principal, AccessFlags(row.allow), AccessFlags(row.deny))
        line = Text(f"  {plain(entry.name):<24}").append(_rights(entry), "green")
        console.print(line.append(f"  set at {plain(row.path)}", "dim"))


async def _explained(client: Client, url: str, principal: str) -> list[GrantRow]:
    place = client.place(url)
    server = await server_of(client, place, "access lists")
    found: list[GrantRow] = await server.link.ask(
        "explain", server.path(place), principal, returns=list[GrantRow]
    )
    return found


def hold_lock(settings: Settings, url: str, command: Sequence[str]) -> int:
    """Keep a file locked while *command* runs, or until Ctrl-C; the command's exit status."""
    if command and shutil.which(command[0]) is None:
        raise SetupError(f"There is no program {command[0]} here. Is it installed and on PATH?")
    with client_of(settings) as client:
        with about(url):
            client.run(_lockable, url)
            client.run(versions.lock, url)
        try:
            if command:
                return _run(command)
            err().print(f"{of_url(url)} is locked for you. Ctrl-C frees it.")
            _wait()
            return 0
        finally:
            with about(url):
                client.run(versions.unlock, url)
            if not command:
                err().print("\nIt is free again.")


def _run(command: Sequence[str]) -> int:
    """Until it ends by itself: Ctrl-C is the command's own affair, the lock stays till then."""
    process = subprocess.Popen(list(command))
    while True:
        try:
            status = process.wait()
        except KeyboardInterrupt:
            continue
        return status if status >= 0 else SIGNALLED - status


def _wait() -> None:
    import threading

    with suppress(KeyboardInterrupt):
        threading.Event().wait()


async def _lockable(client: Client, url: str) -> ServerProvider:
    return await server_of(client, client.place(url), "locks")


def release_lock(settings: Settings, url: str, *, force: bool) -> None:
    """Free a file: what a command of yours left locked, or with *force* whatever it is."""
    with client_of(settings) as client, about(url):
        client.run(_release, url, force)
    err().print(f"{of_url(url)} is free.")


async def _release(client: Client, url: str, force: bool) -> None:
    place = client.place(url)
    server = await server_of(client, place, "locks")
    await server.link.ask("unlock", server.path(place), "", force, again=False)
