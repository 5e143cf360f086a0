"""``ls``, ``tree``, ``stat``, ``du``, ``cat`` and ``checkpoints``: looked at, then laid out."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.text import Text

from downstage.cli.content.desk import about, client_of, out, server_of
from downstage.cli.content.shown import (
    facts_of,
    kind_of,
    of_url,
    plain,
    plural,
    rights_of,
    size_of,
    time_of,
)
from downstage.client.client import Client
from downstage.client.operations import listing, versions
from downstage.client.providers.provider import Found
from downstage.client.providers.server import ServerProvider
from downstage.client.types import ItemFlags, ListEntry, ListIncludeOption
from downstage.contracts.content import UsageRow
from downstage.kernel.errors import NotSupported, WrongType
from downstage.kernel.settings import Settings

__all__ = [
    "Branch",
    "lines_of",
    "print_checkpoints",
    "print_content",
    "print_entry",
    "print_listing",
    "print_tree",
    "print_usage",
    "tree_lines",
    "tree_of",
]

FOLDER = "bold blue"
DIM = "dim"


def print_listing(settings: Settings, url: str, *, deleted: bool, as_json: bool) -> None:
    """What lies in a folder, or a file itself."""
    with client_of(settings) as client, about(url):
        entries = client.run(_listed, url, deleted=deleted)
    if as_json:
        for entry in entries:
            print(json.dumps(facts_of(entry)))
        return
    console = out()
    for line in lines_of(entries):
        console.print(line)


async def _listed(client: Client, url: str, *, deleted: bool) -> Sequence[ListEntry]:
    include = (
        ListIncludeOption.INCLUDE_DELETED_FILES if deleted else ListIncludeOption.NO_DELETED_FILES
    )
    try:
        return await listing.list_(client, url, include)
    except WrongType:
        return [await listing.stat(client, url, include)]


def lines_of(entries: Iterable[ListEntry]) -> list[Text]:
    """One line each: when, how large, by whom, what."""
    rows = [(*_cells(entry), entry) for entry in entries]
    wide = max((len(size) for _, size, _, _ in rows), default=0)
    by = max((cell_len(who) for _, _, who, _ in rows), default=0)
    lines = list[Text]()
    for when, size, who, entry in rows:
        line = Text(f"{when:<16}  {size:>{wide}}  ", style=DIM)
        if by:
            line.append(who + " " * (by - cell_len(who)) + "  ")
        lines.append(line.append_text(_named(entry)))
    return lines


def _cells(entry: ListEntry) -> tuple[str, str, str]:
    size = "–" if entry.is_folder else size_of(entry.size)
    return time_of(entry.modified_time), size, plain(entry.modified_by or "")


def _named(entry: ListEntry) -> Text:
    name = plain(entry.relative_path)
    if entry.deleted_time:
        by = f" by {plain(entry.deleted_by)}" if entry.deleted_by else ""
        return Text(name, "strike").append(f"  deleted {time_of(entry.deleted_time)}{by}", "red")
    text = Text(name + "/", FOLDER) if entry.is_folder else Text(name, "default")
    if kind_of(entry) in {"mount", "channel", "other"}:
        text.append(f"  ({kind_of(entry)})", DIM)
    if entry.locked_by:
        text.append(f"  locked by {plain(entry.locked_by)}", "yellow")
    return text


@dataclass(slots=True)
class Branch:
    """A thing in a tree, with what is below it."""

    name: str
    entry: ListEntry | None = None
    note: str = ""
    below: dict[str, Branch] = field(default_factory=dict[str, "Branch"])


def tree_of(found: Iterable[Found]) -> Branch:
    """What a walk found, as a tree."""
    root = Branch("")
    for item in found:
        branch = root
        for part in item.parts:
            branch = branch.below.setdefault(part, Branch(part))
        branch.entry = item.entry
        branch.note = item.refused or ("link" if item.is_link and item.entry.is_folder else "")
    return root


def tree_lines(root: Branch, depth: int = 0, stem: str = "") -> list[Text]:
    """Drawn with lines; *depth* 0: all of it."""
    lines, names = list[Text](), sorted(root.below)
    for name in names:
        branch, is_last = root.below[name], name == names[-1]
        line = Text(stem + ("└── " if is_last else "├── "), DIM)
        is_folder = bool(branch.below) or (branch.entry is not None and branch.entry.is_folder)
        line.append(plain(name) + ("/" if is_folder else ""), FOLDER if is_folder else "default")
        if branch.entry is not None and not is_folder:
            line.append(f"  {size_of(branch.entry.size)}", DIM)
        if branch.note:
            line.append(f"  ({plain(branch.note)})", "yellow")
        lines.append(line)
        if depth != 1:
            lines += tree_lines(branch, depth - 1, stem + ("    " if is_last else "│   "))
    return lines


def print_tree(settings: Settings, url: str, *, depth: int) -> None:
    """A folder with all below it."""
    with client_of(settings) as client, about(url):
        found = client.run(_walked, url)
    console = out()
    console.print(Text(of_url(url), FOLDER))
    for line in tree_lines(tree_of(found), depth):
        console.print(line)
    console.print(Text(f"\n{_counted(found)}", DIM))


async def _walked(client: Client, url: str) -> list[Found]:
    place = client.place(url)
    provider = await client.provider(place)
    if not (await provider.stat(place)).is_folder:
        raise WrongType("That is a file.")
    return [found async for found in provider.below(place)]


def _counted(found: Sequence[Found]) -> str:
    files = [item.entry for item in found if not item.entry.is_folder]
    total = size_of(sum(entry.size for entry in files))
    return f"{plural(len(found) - len(files), 'folder')}, {plural(len(files), 'file')}, {total}"


def print_entry(settings: Settings, urls: Sequence[str], *, as_json: bool) -> None:
    """All that is known of things."""
    console = out()
    with client_of(settings) as client:
        for number, url in enumerate(urls):
            with about(url):
                entry = client.run(listing.stat, url)
            if as_json:
                print(json.dumps(facts_of(entry)))
                continue
            if number:
                console.print()
            for name, value in _facts(entry):
                console.print(Text(f"{name:>9}  ", DIM).append(value, "default"))


def _facts(entry: ListEntry) -> list[tuple[str, str]]:
    def at(ns: int, who: str | None) -> str:
        return time_of(ns) + (f" by {plain(who)}" if who else "")

    rows = [("url", plain(entry.url)), ("kind", kind_of(entry))]
    if not entry.is_folder:
        rows.append(("size", f"{size_of(entry.size)} ({entry.size:,} bytes)"))
    rows.append(("modified", at(entry.modified_time, entry.modified_by)))
    rows.append(("created", at(entry.created_time, entry.created_by)))
    rows.append(("you may", rights_of(entry.access)))
    known = [
        ("version", entry.version if not entry.is_folder else None),
        ("hash", entry.hash and f"{entry.hash} (BLAKE3)"),
        ("comment", entry.comment),
        ("locked by", entry.locked_by),
    ]
    rows += [(name, plain(value)) for name, value in known if value]
    if entry.flags & ItemFlags.IS_CHECKPOINTED:
        rows.append(("kept", "it has checkpoints"))
    return rows


def print_usage(settings: Settings, url: str, *, as_json: bool) -> None:
    """How much lies where, largest first, and the quota where there is one."""
    with client_of(settings) as client, about(url):
        found = client.run(_walked_or_file, url)
        usage = client.run(_usage, url)
    sums = dict[str, list[int]]()
    for item in found:
        if not item.entry.is_folder:
            mine = sums.setdefault(item.parts[0] + ("/" if len(item.parts) > 1 else ""), [0, 0])
            mine[0] += item.entry.size
            mine[1] += 1
    total, files = sum(s for s, _ in sums.values()), sum(n for _, n in sums.values())
    quota = usage.max_bytes if usage else None
    if as_json:
        below = [{"name": k, "bytes": s, "files": n} for k, (s, n) in sums.items()]
        facts = {"url": url, "bytes": total, "files": files, "below": below, "max_bytes": quota}
        print(json.dumps(facts))
        return
    console = out()
    for name, (size, count) in sorted(sums.items(), key=lambda pair: -pair[1][0]):
        style = FOLDER if name.endswith("/") else "default"
        line = Text(f"{size_of(size):>9}  {plural(count, 'file'):>14}  ", DIM)
        console.print(line.append(plain(name), style))
    last = Text(f"{size_of(total):>9}  {plural(files, 'file'):>14}  ", "bold").append(of_url(url))
    console.print(last.append(f"  (of {size_of(quota)} allowed)" if quota else ""))


async def _walked_or_file(client: Client, url: str) -> list[Found]:
    place = client.place(url)
    entry = await (await client.provider(place)).stat(place)
    if not entry.is_folder:
        return [Found(place, entry, (place.name,))]
    return await _walked(client, url)


async def _usage(client: Client, url: str) -> UsageRow | None:
    place = client.place(url)
    provider = await client.provider(place)
    if not isinstance(provider, ServerProvider):
        return None
    found: UsageRow = await provider.link.ask("usage", provider.path(place), returns=UsageRow)
    return found


def print_content(settings: Settings, urls: Sequence[str]) -> None:
    """The bytes of files, one after the other."""
    sys.stdout.flush()
    with client_of(settings) as client:
        for url in urls:
            with about(url):
                client.run(_poured, url, sys.stdout.fileno())


async def _poured(client: Client, url: str, handle: int) -> None:
    place = client.place(url)
    provider = await client.provider(place)
    if (await provider.stat(place)).is_folder:
        raise WrongType("That is a folder.")
    async with provider.incoming(place) as incoming:
        async for piece in incoming.pieces:
            await asyncio.to_thread(_pour, handle, memoryview(piece).cast("B"))


def _pour(handle: int, view: memoryview) -> None:
    while view:
        view = view[os.write(handle, view) :]


def print_checkpoints(settings: Settings, url: str, *, as_json: bool) -> None:
    """What was kept of a file, newest first."""
    with client_of(settings) as client, about(url):
        found = client.run(_checkpoints, url)
    if as_json:
        for entry in found:
            print(json.dumps(facts_of(entry)))
        return
    console = out()
    if not found:
        console.print("No checkpoints. Make one with: downstage files checkpoint URL -m WHY")
    wide = max((len(entry.relative_path) for entry in found), default=0)
    for entry in found:
        line = Text(f"{'?' + entry.relative_path:>{wide + 1}}", "bold")
        line.append(f"  {time_of(entry.modified_time)}  {size_of(entry.size):>8}  ", DIM)
        line.append(plain(entry.modified_by or "") + "  ")
        console.print(line.append(plain(entry.comment or ""), "default"))


async def _checkpoints(client: Client, url: str) -> Sequence[ListEntry]:
    place = client.place(url)
    await server_of(client, place, "checkpoints")
    if (await listing.stat(client, url)).is_folder:
        raise NotSupported("Folders have no checkpoints; their files do.")
    return await versions.list_checkpoints(client, url)
