"""Entry ids in MCAP messages: every ``ms-seq`` comes back as it was.

A message has a log time (nanoseconds, 64 bits), a publish time (64) and a sequence number (32).
An id has two numbers of 64 bits. The form of its channel says how they lie:

* plain, nearly always: log and publish time are the milliseconds, the sequence is the sequence;
* ``wide``, where the sequence needs more than 32 bits: the publish time is the sequence;
* ``far``, where the milliseconds do not fit into nanoseconds (after the year 2554): the publish
  time is the milliseconds, and the log time, at the end of time, ends in the upper half of the
  sequence.
"""

from __future__ import annotations

from typing import Final, Literal

from downstage.streams.model import EntryId

__all__ = ["FAR", "NS", "Form", "form_of", "pack", "unpack"]

Form = Literal["", "wide", "far"]
"""How ids lie in the messages of a channel; its metadata ``ids``, where it is not empty."""

NS: Final = 1_000_000
"""Nanoseconds of a millisecond."""
HALF: Final = 1 << 32
FAR: Final = (1 << 64) - HALF
"""Log times from here on are no times."""
LAST_MS: Final = FAR // NS - 1


def form_of(entry: EntryId) -> Form:
    """Which form *entry* needs."""
    if entry.ms > LAST_MS:
        return "far"
    return "wide" if entry.seq >= HALF else ""


def pack(entry: EntryId, form: Form) -> tuple[int, int, int]:
    """Log time, publish time and sequence of *entry* in a channel of *form*."""
    low = entry.seq % HALF
    if form == "far":
        return FAR + (entry.seq >> 32), entry.ms, low
    log_time = entry.ms * NS
    return log_time, entry.seq if form == "wide" else log_time, low


def unpack(form: Form, log_time: int, publish_time: int, sequence: int) -> EntryId:
    """The id again."""
    if form == "far":
        return EntryId(publish_time, ((log_time - FAR) << 32) | sequence)
    return EntryId(log_time // NS, publish_time if form == "wide" else sequence)
