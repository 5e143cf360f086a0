"""``ls``, ``info`` and ``rm``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text

from downstage.cli.content.shown import plain, plural, size_of
from downstage.cli.streams.desk import client_at, err, out
from downstage.cli.streams.options import At
from downstage.client.streams.model import StreamInfo
from downstage.kernel.errors import InvalidInput, SetupError

__all__ = ["age_of", "print_stream", "print_streams", "rate_of", "remove_streams"]

MINUTE, HOUR, DAY = 60, 3600, 86400
FAST = 10


def age_of(time: datetime | None) -> str:
    """How long ago, in the largest unit."""
    if time is None:
        return "–"
    seconds = max(0.0, (datetime.now(UTC) - time).total_seconds())
    for unit, word in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.0f} {word} ago"
    return f"{seconds:.0f} s ago"


def rate_of(rate: float) -> str:
    """Entries a second."""
    if not rate:
        return "–"
    return f"{rate:.0f}/s" if rate >= FAST else f"{rate:.1f}/s"


def print_streams(at: At | None, pattern: str, *, as_json: bool) -> None:
    """List them."""
    with client_at(at) as client:
        found = client.infos(pattern)
    if as_json:
        for info in found:
            print(json.dumps(_facts(info), ensure_ascii=False))
        return
    if not found:
        err().print(
            "There are no streams yet. Push one: downstage streams push cam --test-pattern"
            if pattern == "*"
            else f"No stream matches {plain(pattern)}.",
            style="dim",
        )
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("NAME", overflow="fold")
    table.add_column("TYPE", overflow="fold")
    for name in ("ENTRIES", "BYTES", "RATE", "LAST"):
        table.add_column(name, justify="right", no_wrap=True)
    for info in found:
        table.add_row(
            Text(plain(info.name)),
            Text(plain(info.content_type or "bytes"), "dim"),
            f"{info.length:,}",
            size_of(info.bytes),
            rate_of(info.rate),
            age_of(info.last_time),
        )
    out().print(table)


def print_stream(at: At | None, stream: str, *, as_json: bool) -> None:
    """Tell all of one."""
    with client_at(at) as client:
        info = client.info(stream)
    facts = _facts(info)
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
        return
    rows: dict[str, str] = {
        "name": info.name,
        "type": info.content_type or "not said: bytes",
        "entries": f"{info.length:,} kept ({size_of(info.bytes)}), {info.added:,} ever",
        "rate": rate_of(info.rate),
        "oldest": info.first_id or "–",
        "newest": f"{info.last_id} ({age_of(info.last_time)})" if info.last_id else "–",
        "durability": info.durability,
        "keeps": _kept(info),
        "description": info.description,
        "schema": json.dumps(info.schema, ensure_ascii=False) if info.schema else "",
        "meta": json.dumps(info.meta, ensure_ascii=False) if info.meta else "",
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        if value:
            table.add_row(name, Text(plain(value)))
    out().print(table)


def remove_streams(at: At | None, names: Sequence[str], *, yes: bool) -> None:
    """Delete them.

    Raises:
        SetupError: none is named, or nobody is there to ask.
    """
    if not names:
        raise SetupError("Name a stream, for example: downstage streams rm cam")
    with client_at(at) as client:
        chosen = dict.fromkeys(name for name in names if "*" not in name)
        patterns = [name for name in names if "*" in name]
        for pattern in patterns:
            chosen |= dict.fromkeys(info.name for info in client.infos(pattern, everything=True))
        if not chosen:
            raise InvalidInput(f"No stream matches {plain(' '.join(patterns))}.")
        if patterns and not yes and not _agreed(list(chosen)):
            err().print("Nothing was deleted.")
            return
        for name in chosen:
            client.delete(name)
    err().print(f"{plural(len(chosen), 'stream')} deleted.")


def _agreed(names: Sequence[str]) -> bool:
    if not sys.stdin.isatty():
        raise SetupError("Say --yes: nobody is here to be asked whether all of them should go.")
    err().print("\n".join(plain(name) for name in names))
    err().print(f"Delete {plural(len(names), 'stream')}? [y/N] ", end="")
    return input().strip().lower() in ("y", "yes")


def _kept(info: StreamInfo) -> str:
    kept = info.retention
    parts = list[str]()
    if kept.count is not None:
        parts.append(plural(kept.count, "entry", "entries"))
    if kept.bytes is not None:
        parts.append(size_of(kept.bytes))
    if kept.age is not None:
        parts.append(f"{kept.age:g} s")
    full = "" if kept.when_full == "discard-old" else "; refuses more when full"
    return (", ".join(parts) or "as the server's settings say") + full


def _facts(info: StreamInfo) -> dict[str, Any]:
    facts = msgspec.to_builtins(info)
    return {name: value for name, value in facts.items() if value is not None}
