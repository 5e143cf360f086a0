"""Ids that a producer gives: read, and checked against the last one of the stream."""

from __future__ import annotations

import re

from downstage.kernel.errors import BadId
from downstage.streams.model import AUTO, ZERO, EntryId

__all__ = ["check_form", "follow", "read"]

MS = re.compile(rb"(\d{1,20})-\*")
MOST = 2**64 - 1


def read(given: bytes) -> tuple[EntryId, bool]:
    """The id that *given* names, and whether the engine chooses its second number.

    Raises:
        BadId: it is no ``ms``, ``ms-seq`` or ``ms-*``, or it is 0.
    """
    found = MS.fullmatch(given)
    if found is not None and int(found[1]) <= MOST:
        return EntryId(int(found[1])), True
    id_ = EntryId.parse(given)
    if id_ == ZERO:
        raise BadId("id", "An entry id is greater than 0-0.")
    return id_, False


def check_form(given: bytes) -> None:
    """Return if *given* may be an id.

    Raises:
        BadId: it is none.
    """
    if given != AUTO:
        read(given)


def follow(last: EntryId, given: bytes) -> EntryId:
    """The id that *given* becomes where *last* was the last.

    Raises:
        BadId: it would not be newer.
    """
    id_, is_open = read(given)
    if is_open and id_.ms == last.ms:
        id_ = EntryId(last.ms, last.seq + 1)
    if id_ <= last or id_.seq > MOST:
        raise BadId("id", "An id must be newer than the last one of its stream.", given=str(id_))
    return id_
