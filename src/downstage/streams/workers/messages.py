"""What the first process and its workers tell each other: one packet each, nothing of it logged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, Final

import msgspec

from downstage.kernel.settings import Log, Settings, Streams
from downstage.streams.model import Caller, Grant, Right
from downstage.streams.stats import StreamFigures, Totals

__all__ = [
    "COUNTS",
    "Close",
    "Ended",
    "Hello",
    "Hint",
    "Message",
    "Open",
    "Ready",
    "Row",
    "Stop",
    "Teller",
    "Told",
    "Who",
    "counts_of",
    "hello_of",
    "settings_of",
    "totals_of",
]

COUNTS: Final = (
    "entries_in", "bytes_in", "entries_out", "bytes_out", "skipped", "refused",
    "subscribers", "lag",
)  # fmt: skip
"""Figures of a stream that are told, in this order; the last two are no counters."""
TOTALS: Final = tuple(field.name for field in fields(Totals))
ROWS_AT_ONCE = 256
Row = tuple[str, str, tuple[int, ...]]
"""Tenant, stream, `COUNTS`."""


class Hello(msgspec.Struct, tag="hello"):
    """To a worker, before all else. Secrets of engines travel here, on a line of our own."""

    number: int
    folder: str
    """Of the engine's files: what its password is read from."""
    streams: dict[str, Any]
    """The section of the settings."""
    level: str
    """Of its log."""


class Who(msgspec.Struct, array_like=True):
    """A caller."""

    subject: str
    name: str
    tenant: str
    grants: list[tuple[str, int, bool]]

    @classmethod
    def of(cls, caller: Caller) -> Who:
        """*caller* as it is sent."""
        grants = [(item.pattern, item.rights.value, item.of_sessions) for item in caller.grants]
        return cls(caller.subject, caller.name, caller.tenant, grants)

    def caller(self) -> Caller:
        """The inverse."""
        grants = tuple(Grant(pattern, Right(rights), own) for pattern, rights, own in self.grants)
        return Caller(self.subject, self.name, self.tenant, grants)


class Open(msgspec.Struct, tag="open"):
    """To a worker, with the connection: serve this socket; its request is not answered yet."""

    id: int
    kind: str
    """Which sockets: dialect, and push or pull."""
    path: str
    """As it was sent."""
    query: bytes
    """Without what proved who asks."""
    who: Who
    limit: int
    """Bytes of a message."""
    idle_s: float
    answer: bytes
    """What is written first: the socket is open then."""
    early: bytes
    """What had been read of it."""
    request_id: str


class Close(msgspec.Struct, tag="close"):
    """To a worker: close that socket."""

    id: int
    code: int
    reason: str


class Stop(msgspec.Struct, tag="stop"):
    """To a worker: close all, and end."""


class Hint(msgspec.Struct, tag="hint"):
    """Either way: something changed, as the bus tells it."""

    subject: str
    payload: dict[str, Any]


class Ready(msgspec.Struct, tag="ready"):
    """From a worker: it takes sockets."""


class Ended(msgspec.Struct, tag="ended"):
    """From a worker: that socket has gone."""

    id: int


class Told(msgspec.Struct, tag="told"):
    """From a worker, each second: it lives, and what it did."""

    totals: list[int]
    """`TOTALS`, all of them."""
    rows: list[Row]
    """Of the streams where something changed; several messages where there are many."""
    moved: int
    """Bytes in the last second, both ways."""


Message = Hello | Open | Close | Stop | Hint | Ready | Ended | Told


def hello_of(number: int, settings: Settings, folder: str) -> Hello:
    """What a worker needs to know of *settings*."""
    section = settings.streams
    streams = section.model_dump(mode="json")
    for name in ("url", "durable_url"):
        secret = getattr(section, name)
        streams[name] = None if secret is None else secret.get_secret_value()
    return Hello(number, folder, streams, settings.log.level)


def settings_of(hello: Hello) -> Settings:
    """The inverse."""
    log = Log.model_validate({"level": hello.level, "json_lines": True})
    return Settings(streams=Streams.model_validate(hello.streams), log=log)


def totals_of(values: Sequence[int]) -> Totals:
    """Totals as they were told."""
    return Totals(**dict(zip(TOTALS, values, strict=True)))


class Teller:
    """Makes `Told` of a worker's figures: of streams, what changed since the last time."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, str], tuple[int, ...]] = {}
        self._moved = 0

    def tell(self, totals: Totals, figures: Iterable[StreamFigures]) -> list[Told]:
        """One or more; the last carries the totals of all."""
        now = {(item.tenant, item.stream): counts_of(item) for item in figures}
        before, self._before = self._before, now
        rows: list[Row] = [
            (*key, counts) for key, counts in now.items() if before.get(key) != counts
        ]
        moved = totals.bytes_in + totals.bytes_out
        change, self._moved = moved - self._moved, moved
        values = [getattr(totals, name) for name in TOTALS]
        return [
            Told(values, rows[at : at + ROWS_AT_ONCE], change)
            for at in range(0, max(len(rows), 1), ROWS_AT_ONCE)
        ]


def counts_of(figures: StreamFigures) -> tuple[int, ...]:
    """`COUNTS` of one stream."""
    return tuple(getattr(figures, name) for name in COUNTS)
