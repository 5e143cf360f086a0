"""What subscribers are sent for a delivery: a text that says what, then every payload at once.

The text is ``[[stream, id, where it begins], …]``, the binary message behind it all payloads one
after the other. A delivery that goes to many is encoded once, by whoever gets it first.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    payloads = (BINARY, [row[2] for row in rows])
    if not header:
        return Packet(payloads)
    said = list[tuple[str, str, int]]()
    at = 0
    for stream, id_, data in rows:
        said.append((stream, id_.decode("ascii"), at))
        at += len(data)
    return Packet((TEXT, [_write(said)]), payloads)
