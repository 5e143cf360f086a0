"""What subscribers are sent for a delivery: a text that says what, then every payload at once.

The text is ``[[stream, id, where it begins], …]``, the binary message behind it all payloads one
after the other. A delivery that goes to many is encoded once, by whoever gets it first.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import msgspec

from downstage.services.sockets import BINARY, TEXT, Packet
from downstage.streams.reading import Delivery, Row

__all__ = ["encode", "packet_of"]

_write = msgspec.json.Encoder().encode


def encode(delivery: Delivery, *, header: bool = True) -> Packet:
    """*delivery* as messages; without *header* the binary one alone."""
    found: Packet | None = delivery.cache.get(header)
    if found is None:
        found = delivery.cache[header] = packet_of(delivery.rows, header=header)
    return found


def packet_of(rows: Sequence[Row], *, header: bool = True) -> Packet:
    """Entries as messages."""
    names, ids, payloads = zip(*rows, strict=True)
    if not header:
        return Packet((BINARY, payloads))
    # No step of this runs in Python for each entry: it is what readers of small ones cost most.
    begins = [0, *accumulate(map(len, payloads))]
    said = zip(names, b",".join(ids).decode("ascii").split(","), begins, strict=False)
    return Packet((TEXT, [_write(list(said))]), (BINARY, payloads))
