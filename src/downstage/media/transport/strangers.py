"""What reaches the handshake and the media of a peer connection: datagrams of the viewer alone.

The engine hands over every datagram that comes to its port, whoever sent it, and keeps as many as
come. A stranger who starts the media handshake first would take the viewer's place in it, and a
flood would fill the memory. Here only such addresses count as have shown by an ICE check that they
know the connection's password, or have answered one of ours; what waits is bounded.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Any

from selkies.ice.ice import CandidatePair

__all__ = ["Dropped", "Watch"]

MAX_WAITING = 2048
"""Datagrams that wait to be read."""
MAX_KNOWN = 64
"""Addresses that a viewer comes from; the one it came from first is forgotten first."""
STUN_BYTES = 4
"""The first byte of STUN is below; that of the handshake and of media is above."""
_MALFORMED = (ValueError, KeyError, IndexError, AttributeError, TypeError, AssertionError)


@dataclass(slots=True)
class Dropped:
    """Datagrams that were not taken."""

    strangers: int = 0
    overflow: int = 0
    malformed: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.strangers + self.overflow + self.malformed


class Watch:
    """Stands before the sockets of one ICE connection.

    Args:
        connection: the engine's, once it has gathered its candidates.
    """

    def __init__(self, connection: Any) -> None:
        self.dropped = Dropped()
        self._connection = connection
        self._known = deque[tuple[str, int]](maxlen=MAX_KNOWN)
        for protocol in connection._protocols:  # noqa: SLF001
            self._stand_before(protocol)
        # What came before is of nobody who could know us.
        while not connection._queue.empty():  # noqa: SLF001
            connection._queue.get_nowait()  # noqa: SLF001
            self.dropped.strangers += 1

    def _stand_before(self, protocol: Any) -> None:
        protocol.datagram_received = partial(self._received, protocol, protocol.datagram_received)
        learn = getattr(protocol, "peer_authenticated", None)

        def authenticated(address: Any) -> None:
            self._learn((address[0], address[1]))
            if learn is not None:
                learn(address)

        protocol.peer_authenticated = authenticated

    def _received(self, protocol: Any, take: Any, data: bytes, address: Any) -> None:
        if not data:
            return
        if data[0] < STUN_BYTES:
            try:
                take(data, address)
            except _MALFORMED:
                self.dropped.malformed += 1
            return
        if not self._is_known((address[0], address[1])):
            self.dropped.strangers += 1
        elif self._connection._queue.qsize() >= MAX_WAITING:  # noqa: SLF001
            self.dropped.overflow += 1
        else:
            component = protocol.local_candidate.component
            self._connection.data_received(data, component)

    def _is_known(self, address: tuple[str, int]) -> bool:
        if address in self._known:
            return True
        for pair in self._connection._check_list:  # noqa: SLF001
            if pair.remote_addr == address and pair.state is CandidatePair.State.SUCCEEDED:
                self._learn(address)
                return True
        return False

    def _learn(self, address: tuple[str, int]) -> None:
        if address not in self._known:
            self._known.append(address)
