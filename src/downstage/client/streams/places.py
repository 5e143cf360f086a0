"""Where a reader is in each of its streams: what it comes back with after an outage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from downstage.client.streams.model import StreamInfo
from downstage.kernel.errors import BadId, InvalidField

__all__ = ["Places", "Start", "before", "id_key", "id_of", "is_pattern"]

Start = str | int | datetime | None
"""``$``: what comes from now on; ``-``: the newest at once, then what comes; ``0``: all that is
kept; an id, milliseconds since 1970, or a date: what comes after."""
ZERO = "0-0"
NOW, NEWEST = "$", "-"
MOST = 2**64 - 1


def is_pattern(name: str) -> bool:
    """Whether *name* stands for several streams."""
    return "*" in name


def id_key(entry_id: str) -> tuple[int, int]:
    """By which ids are ordered.

    Raises:
        BadId: it is none.
    """
    ms, _, seq = entry_id.partition("-")
    if not (ms.isascii() and ms.isdigit()) or not (seq or "0").isdigit():
        raise BadId("id", f"An entry id is ms-seq, not {entry_id!r}.")
    return int(ms), int(seq or 0)


def id_of(start: Start) -> str:
    """*start* as servers read it.

    Raises:
        BadId: it is no place in a stream.
    """
    if start is None:
        return NOW
    if isinstance(start, datetime):
        return str(max(0, round(start.timestamp() * 1000)))
    if isinstance(start, int):
        return str(start)
    if start in (NOW, NEWEST, "*"):
        return start.replace("*", NEWEST)
    id_key(start)
    return start


def before(entry_id: str) -> str:
    """The id right before: what comes after it begins with *entry_id*."""
    ms, seq = id_key(entry_id)
    if seq:
        return f"{ms}-{seq - 1}"
    return f"{ms - 1}-{MOST}" if ms else ZERO


@dataclass(slots=True)
class Places:
    """Of one reader.

    Attributes:
        names: streams that were named.
        patterns: patterns of streams.
        at: the last id that was given of each stream that is known.
    """

    names: tuple[str, ...]
    patterns: tuple[str, ...]
    start: str
    at: dict[str, str] = field(default_factory=dict[str, str])
    is_settled: bool = False
    """Whether each stream that there was at the beginning has its place."""

    @classmethod
    def of(cls, streams: Sequence[str], last: Start | Mapping[str, Start]) -> Places:
        """At the beginning.

        Raises:
            InvalidField: no stream is named.
        """
        wanted = dict.fromkeys(part for name in streams for part in name.split("+") if part)
        if not wanted:
            raise InvalidField("streams", "Name a stream, or a pattern such as camera-*.")
        names = tuple(name for name in wanted if not is_pattern(name))
        patterns = tuple(name for name in wanted if is_pattern(name))
        if isinstance(last, Mapping):
            found = {name: id_of(start) for name, start in last.items()}
            return cls(names, patterns, NOW, {n: at for n, at in found.items() if at[0].isdigit()})
        return cls(names, patterns, id_of(last))

    def settle(self, infos: Iterable[StreamInfo]) -> None:
        """Give each stream that there is a place with an id.

        What is not among *infos* is made later: all that it will hold is new.
        """
        for info in infos:
            self.at.setdefault(info.name, self._place(info))
        for name in self.names:
            self.at.setdefault(name, ZERO if self.start in (NOW, NEWEST) else self.start)
        if self.start in (NOW, NEWEST):
            self.start = ZERO
        self.is_settled = True

    def _place(self, info: StreamInfo) -> str:
        if self.start == NOW:
            return info.last_id or ZERO
        if self.start == NEWEST:
            return ZERO if info.last_id is None else before(info.last_id)
        return self.start

    def address(self) -> tuple[str, str]:
        """What to ask for: streams and patterns, and after which ids."""
        names = list(self.at) if self.patterns else list(self.names)
        ids = [self.at[name] for name in names]
        if self.patterns:
            ids.append(self.start)
        return "+".join([*names, *self.patterns]), "+".join(ids)

    def passed(self, stream: str, entry_id: str) -> None:
        """The entry was given."""
        self.at[stream] = entry_id

    def missing(self, infos: Iterable[StreamInfo]) -> list[str]:
        """Streams in which what comes after our place may be gone: it is not kept any more."""
        found = list[str]()
        for info in infos:
            at = self.at.get(info.name)
            if at is None or info.first_id is None or info.added <= info.length:
                continue
            if id_key(info.first_id) > id_key(at):
                found.append(info.name)
        return found
