"""Figures of streams, in Prometheus' form, on the operator's port alone.

Names of streams are strangers' and without number: the busiest have figures of their own, the
others one sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from downstage.streams.callers import Callers
from downstage.streams.opening import Opening
from downstage.streams.stats import StreamFigures, Totals

if TYPE_CHECKING:
    from downstage.streams.workers.board import Board

__all__ = ["MOST_STREAMS", "OTHERS", "Busiest", "Metrics"]

MOST_STREAMS: Final = 100
"""Streams with figures of their own."""
OTHERS: Final = "(others)"
"""In place of a name: no stream is called so."""
Key = tuple[str, str]
STATES: Final = ("starting", "loading", "ready", "down", "refused")


@dataclass(frozen=True, slots=True)
class Family:
    """A metric and what it is."""

    name: str
    kind: str
    help: str
    field: str = ""

    def head(self) -> list[str]:
        """Its first two lines."""
        return [f"# HELP {self.name} {self.help}", f"# TYPE {self.name} {self.kind}"]


TOTALS: Final = (
    Family("downstage_streams_entries_in_total", "counter", "Entries stored.", "entries_in"),
    Family("downstage_streams_bytes_in_total", "counter", "Bytes stored.", "bytes_in"),
    Family("downstage_streams_entries_out_total", "counter", "Entries given.", "entries_out"),
    Family("downstage_streams_bytes_out_total", "counter", "Bytes given.", "bytes_out"),
    Family("downstage_streams_refused_total", "counter", "Entries not stored.", "refused"),
    Family(
        "downstage_streams_unknown_total",
        "counter",
        "Entries of pushes that wanted no answer, left open by a broken connection.",
        "unknown",
    ),
    Family("downstage_streams_repeated_total", "counter", "Pushes known by their key.", "repeated"),
    Family(
        "downstage_streams_skipped_total",
        "counter",
        "Entries left out for subscribers that asked for the newest.",
        "skipped",
    ),
    Family("downstage_streams_lagged_total", "counter", "Subscribers ended as too slow.", "lagged"),
    Family("downstage_streams_gaps_total", "counter", "Losses told to subscribers.", "gaps"),
    Family("downstage_streams_slow_total", "counter", "Times one left live mode.", "slow"),
    Family("downstage_streams_producers", "gauge", "Open producers.", "producers"),
    Family("downstage_streams_subscriptions", "gauge", "Open subscriptions.", "subscriptions"),
    Family("downstage_streams_live_subscriptions", "gauge", "Of these, in live mode.", "live"),
    Family("downstage_streams_in_flight_bytes", "gauge", "Bytes on their way.", "in_flight"),
)
EACH: Final = (
    Family("downstage_stream_entries_in_total", "counter", "Entries stored.", "entries_in"),
    Family("downstage_stream_bytes_in_total", "counter", "Bytes stored.", "bytes_in"),
    Family("downstage_stream_entries_out_total", "counter", "Entries given.", "entries_out"),
    Family("downstage_stream_bytes_out_total", "counter", "Bytes given.", "bytes_out"),
    Family(
        "downstage_stream_skipped_total",
        "counter",
        "Entries left out for subscribers that asked for the newest.",
        "skipped",
    ),
    Family("downstage_stream_refused_total", "counter", "Entries not stored.", "refused"),
    Family("downstage_stream_subscribers", "gauge", "Subscriptions.", "subscribers"),
    Family("downstage_stream_lag_entries", "gauge", "Waiting for its subscribers.", "lag"),
    Family("downstage_stream_entries_per_second", "gauge", "Lately stored.", "rate"),
    Family("downstage_stream_bytes_per_second", "gauge", "Lately stored.", "byte_rate"),
)
COUNTERS: Final = tuple(family.field for family in EACH if family.kind == "counter")
GAUGES: Final = tuple(family.field for family in EACH if family.kind == "gauge")
UP = Family("downstage_streams_up", "gauge", "Whether the engine of streams is ready.")
STATE = Family("downstage_streams_engine_state", "gauge", "1 for the state that it is in.")
USED = Family("downstage_streams_engine_memory_bytes", "gauge", "Memory that engines use.")
LIMIT = Family("downstage_streams_engine_memory_limit_bytes", "gauge", "That they may use.")
OPEN = Family("downstage_streams_open", "gauge", "Sockets and answers that are open.")
REFUSED = Family("downstage_streams_callers_refused_total", "counter", "Callers refused, by cause.")


class Metrics:
    """Tells what the service did, in this process and in its workers.

    Args:
        opening: the engine and the service on it.
        callers: who is in.
        most: streams with figures of their own.
        board: what workers did, where there are some.
    """

    def __init__(
        self,
        opening: Opening,
        callers: Callers,
        most: int = MOST_STREAMS,
        *,
        board: Board | None = None,
    ) -> None:
        self._board = board
        self._opening = opening
        self._callers = callers
        self._busiest = Busiest(most)

    def lines(self) -> list[str]:
        """All of them."""
        found = [*self._engine(), *self._doors()]
        streams = self._opening.streams
        if streams is not None:
            totals, figures = streams.totals, streams.figures()
            if self._board is not None:
                totals, figures = self._board.totals(totals), self._board.figures(figures)
            found += of_totals(totals)
            found += of_each(self._busiest.of(figures))
        return found

    def _engine(self) -> Iterable[str]:
        yield from UP.head()
        yield f"{UP.name} {int(self._opening.why is None)}"
        yield from STATE.head()
        state = self._opening.state
        word = "starting" if state is None else state.word
        for known in STATES:
            yield f'{STATE.name}{{state="{known}"}} {int(word == known)}'
        memory = self._opening.memory
        if memory is not None:
            for family, value in zip((USED, LIMIT), memory, strict=True):
                yield from family.head()
                yield f"{family.name} {value}"

    def _doors(self) -> Iterable[str]:
        yield from OPEN.head()
        yield f"{OPEN.name} {self._callers.count}"
        yield from REFUSED.head()
        for cause, number in sorted(self._callers.refused.items()):
            yield f'{REFUSED.name}{{cause="{cause}"}} {number}'


def of_totals(totals: Totals) -> Iterable[str]:
    """Figures of the whole process."""
    for family in TOTALS:
        yield from family.head()
        yield f"{family.name} {getattr(totals, family.field)}"


def of_each(figures: Sequence[StreamFigures]) -> Iterable[str]:
    """Figures of single streams."""
    labels = [f'tenant="{item.tenant}",stream="{item.stream}"' for item in figures]
    for family in EACH:
        yield from family.head()
        for item, label in zip(figures, labels, strict=True):
            yield f"{family.name}{{{label}}} {getattr(item, family.field):.12g}"


class Busiest:
    """Chooses the streams that have figures of their own; those of the others add up in one.

    Counters must never fall, or whoever reads them takes that for a restart. So a stream keeps its
    place while it moves anything, and the sum of the others grows by what they moved meanwhile.

    Args:
        most: streams with figures of their own.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._chosen = set[Key]()
        self._before = dict[Key, StreamFigures]()
        self._others = StreamFigures("", OTHERS)

    def of(self, figures: Iterable[StreamFigures]) -> list[StreamFigures]:
        """Those of the chosen, by name, then of the others where there are any."""
        now = {(item.tenant, item.stream): replace(item) for item in figures}
        moved = {key: _moved(item, self._before.get(key)) for key, item in now.items()}

        def rank(key: Key) -> tuple[bool, int]:
            return key in self._chosen and moved[key] > 0, now[key].bytes_in + now[key].bytes_out

        ranked = sorted(now, key=rank, reverse=True)
        self._chosen = set(ranked[: self._most])
        rest = ranked[self._most :]
        self._add([(now[key], self._before.get(key)) for key in rest])
        self._before = now
        found = [now[key] for key in sorted(self._chosen)]
        return [*found, replace(self._others)] if rest or self._others.entries_in else found

    def _add(self, rest: Sequence[tuple[StreamFigures, StreamFigures | None]]) -> None:
        for name in COUNTERS:
            grown = sum(max(0, getattr(now, name) - getattr(was, name, 0)) for now, was in rest)
            setattr(self._others, name, getattr(self._others, name) + grown)
        for name in GAUGES:
            setattr(self._others, name, sum(getattr(now, name) for now, _ in rest))


def _moved(now: StreamFigures, before: StreamFigures | None) -> int:
    was = 0 if before is None else before.bytes_in + before.bytes_out
    return now.bytes_in + now.bytes_out - was
