"""Appends on their way: trains for what needs no look, guarded appends for the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import anyio

from downstage.kernel.errors import InvalidField, PlatformError, StoreFull, Unavailable
from downstage.streams import entry_ids, names
from downstage.streams.model import AUTO, Caller, Durability, Receipt, Right
from downstage.streams.outbox import Answer, Outbox, Unit
from downstage.streams.outlet import Outlet
from downstage.streams.outlets import (
    Outlets,
    check_wanted,
    durability_of,
    is_copied,
    needs_guard,
)
from downstage.streams.stats import StreamFigures, Totals
from downstage.streams.words import Data, Done, Item

__all__ = ["Settled", "account", "append", "check_key", "count_in", "open_all", "send"]

END = b"\r\n"
MOST_KEY = 128
DEADLINE_S = 15.0
Settled = tuple[Outlet, bytes, Data]


def send(items: Sequence[Settled], done: Done, totals: Totals, *, copied: bool) -> None:
    """Append *items*, all or nothing in each part; *done* is told once."""
    outlets = [outlet for outlet, _, _ in items]
    groups: dict[Outbox, list[int]] = {}
    for at, outlet in enumerate(outlets):
        outbox = outlet.part.copied if copied else outlet.outbox
        groups.setdefault(outbox, []).append(at)
    if len(groups) > 1 and (full := _full(items)) is not None:
        done(full)
        return
    answers: list[Answer | None] = [None] * len(items)
    left = len(groups)

    def tell(unit: Unit, got: list[Answer]) -> None:
        nonlocal left
        places: Any = unit.owner
        for at, answer in zip(places, got, strict=True):
            answers[at] = answer
        left -= 1
        if not left:
            done(_receipt(items, answers, totals, copied=copied))

    for outbox, places in groups.items():
        mine = [outlets[at] for at in places]
        is_one = all(outlet is mine[0] for outlet in mine)
        unit = outbox.begin(places, tell, mine[:1] if is_one else mine)
        outbox.want_answer()
        for at in places:
            outlet, given, data = items[at]
            size = len(data)
            unit.count += 1
            unit.size += size
            head = outlet.head(size) if given == AUTO else outlet.head_of(given, size)
            outbox.out += (head, data, END)
            if not is_one:
                outlet.took(1, size)


def _full(items: Sequence[Settled]) -> PlatformError | None:
    """Why *items*, which go into several parts, cannot be stored: looked at before the first is."""
    size = sum(len(data) for _, _, data in items)
    for part in {outlet.part for outlet, _, _ in items}:
        if not part.has_room(size):
            return StoreFull("The engine of streams has reached its memory limit.")
    return None


def _receipt(
    items: Sequence[Settled], answers: Sequence[Answer | None], totals: Totals, *, copied: bool
) -> Receipt | PlatformError:
    ids: list[bytes] = []
    error: PlatformError | None = None
    for (outlet, _, data), answer in zip(items, answers, strict=True):
        if isinstance(answer, bytes):
            ids.append(answer)
            outlet.last_id = answer
            count_in(totals, outlet.figures, 1, len(data), 0)
        else:
            error = error or answer
            count_in(totals, outlet.figures, 0, 0, 1)
    if error is not None:
        return error
    return Receipt(tuple(ids), durability_of([item[0] for item in items], copied=copied))


def count_in(totals: Totals, figures: StreamFigures, entries: int, size: int, refused: int) -> None:
    """Count *entries* of *size* bytes that were stored, and how many were not."""
    figures.entries_in += entries
    figures.bytes_in += size
    figures.refused += refused
    totals.entries_in += entries
    totals.bytes_in += size
    totals.refused += refused


def account(outlets: Outlets, items: Sequence[Settled], receipt: Receipt) -> None:
    """Count what a guarded append has stored."""
    totals = outlets.figures.totals
    if receipt.repeated:
        totals.repeated += 1
        return
    for (outlet, _, data), id_ in zip(items, receipt.ids, strict=True):
        outlet.last_id = id_
        count_in(totals, outlet.figures, 1, len(data), 0)


async def open_all(outlets: Outlets, tenant: str, items: Sequence[Item]) -> dict[str, Outlet]:
    """The outlets of all streams of *items*, opened where they are not."""
    found: dict[str, Outlet] = {}
    for stream, _, _ in items:
        if stream not in found:
            found[stream] = await outlets.open(tenant, stream)
    return found


def check_key(key: str | None) -> None:
    """Return if *key* may be the key of a push.

    Raises:
        InvalidField: it may not.
    """
    if key is not None and not (0 < len(key) <= MOST_KEY and key.isprintable()):
        raise InvalidField("key", f"A key has 1 to {MOST_KEY} printable characters.")


async def append(
    outlets: Outlets,
    caller: Caller,
    items: Sequence[Item],
    *,
    key: str | None,
    want: Durability | None,
) -> Receipt:
    """See `Streams.append`."""
    check_key(key)
    for stream in dict.fromkeys(stream for stream, _, _ in items):
        names.check(stream)
        caller.need(stream, Right.WRITE)
    for _, given, _ in items:
        entry_ids.check_form(given)
    if not items:
        return Receipt((), want or Durability.MEMORY)
    with anyio.move_on_after(DEADLINE_S):
        opened = await open_all(outlets, caller.tenant, items)
        settled = [(opened[stream], given, data) for stream, given, data in items]
        if want is not None:
            check_wanted(list(opened.values()), want)
        return await _append(outlets, settled, key, copied=want is Durability.REPLICATED)
    raise Unavailable("The engine of streams does not answer; it may have been stored.")


async def _append(
    outlets: Outlets, settled: list[Settled], key: str | None, *, copied: bool
) -> Receipt:
    for outlet, _, _ in settled:
        if is_copied(outlet):
            outlet.part.check_replicated()
    if needs_guard(settled, key):
        receipt = await outlets.guarded(settled, key, copied=copied)
        account(outlets, settled, receipt)
        return receipt
    future: asyncio.Future[Receipt | PlatformError] = asyncio.get_running_loop().create_future()

    def tell(result: Receipt | PlatformError) -> None:
        if not future.done():
            future.set_result(result)

    send(settled, tell, outlets.figures.totals, copied=copied)
    result = await future
    if isinstance(result, PlatformError):
        raise result
    return result
