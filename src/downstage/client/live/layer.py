"""A live layer as a program has it: `process` on the thread that edits, and nothing by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from downstage.client.live.editor import LiveEditor
from downstage.client.live.session import LiveSession
from downstage.client.live.wire import Broken, Wire
from downstage.kernel.errors import BadMessage, DeadlineExceeded, Unavailable
from downstage.kernel.logging import get_logger
from downstage.live.messages import Ended, Merged, Message, Ordered, Person

__all__ = ["FINAL", "LiveLayer"]

log = get_logger(__name__)

FINAL = frozenset({"not-found", "forbidden", "wrong-type", "not-supported", "bad-message"})
"""Codes of an end after which nobody need try again."""
MAX_AT_ONCE = 10_000
"""Messages that one call applies at most, so that a program goes on drawing."""


class LiveLayer:
    """One `Sdf.Layer` kept as everybody's. All calls on the thread that edits it.

    Args:
        url: of the file that the layer lies over.
        layer: the layer itself.
        wire: to the server.
        on_base: told that the file has another content, after a merge.
        on_change: called from within a notice when the layer was edited here.
    """

    def __init__(
        self,
        url: str,
        layer: Any,
        wire: Wire,
        *,
        on_base: Callable[[str], None] | None = None,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self.url = url
        self.layer = layer
        self.wire = wire
        self.session = LiveSession(LiveEditor(layer, on_change), on_base)
        self._is_closed = False
        wire.connect(self.session.join())

    @property
    def time(self) -> int:
        """Server time of the last message applied, nanoseconds; 0: none yet."""
        return self.session.time

    @property
    def people(self) -> list[Person]:
        """Who is here."""
        return self.session.people

    @property
    def client(self) -> str:
        """This client's name among `people`."""
        return self.session.client

    @property
    def problem(self) -> Ended | None:
        """Why the layer is live no more; None: it is, or will be again."""
        ended = self.session.ended
        return ended if ended is not None and ended.code in FINAL else None

    @property
    def has_pending(self) -> bool:
        """Own edits that the server has not confirmed."""
        return self.session.has_pending

    def process(self, until: int | None = None) -> int:
        """Send what was edited here, apply what others did; the number of messages applied.

        Args:
            until: apply nothing that the server took after this time.
        """
        self._send()
        count = 0
        while count < MAX_AT_ONCE:
            upcoming = self.wire.peek()
            if upcoming is None or _is_later(upcoming, until):
                break
            self.wire.take()
            self._hear(upcoming)
            count += 1
        self.session.settle()
        self._send()
        return count

    def wait(self, timeout_s: float = 1.0) -> bool:
        """Sleep until something came that `process` would apply; whether it did."""
        return self.wire.wait(timeout_s)

    def settle(self, timeout_s: float = 30.0, *, durable: bool = False) -> None:
        """Process until every own edit is confirmed, with *durable* also on the server's disk.

        Raises:
            DeadlineExceeded: it took longer.
            PlatformError: the layer is live no more.
        """
        self.settle_until(
            lambda: self.session.is_durable if durable else not self.has_pending, timeout_s
        )

    def settle_until(self, holds: Callable[[], bool], timeout_s: float) -> None:
        """Process until *holds* (and the first welcome came); raises as `settle`."""
        until = time.monotonic() + timeout_s
        while True:
            self.process()
            if self.problem is not None:
                raise Unavailable(f"The layer is live no more: {self.problem.detail}")
            if self.session.is_joined and holds():
                return
            left = until - time.monotonic()
            if left <= 0:
                raise DeadlineExceeded("The live layer did not settle in time.")
            self.wait(min(left, 0.5))

    def undo(self) -> bool:
        """Take back the last own edits that nobody changed since; False: there are none."""
        done = self.session.undo()
        self._send()
        return done

    def close(self) -> None:
        """Leave; the layer keeps what it has. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self.wire.close()
            self.session.editor.close()

    def _hear(self, message: Message | Broken) -> None:
        try:
            if isinstance(message, Broken):
                self._rejoin()
                return
            self.session.hear(message)
            if isinstance(message, Ended) and message.code not in FINAL:
                log.info("live.member_ended", code=message.code)
        except BadMessage as error:
            log.warning("live.message_refused", why=error.detail)
            self._rejoin()

    def _rejoin(self) -> None:
        ended = self.session.ended
        if ended is None or ended.code not in FINAL:
            self.wire.connect(self.session.join())

    def _send(self) -> None:
        session = self.session
        session.flush()
        if session.outbox:
            self.wire.send(session.outbox)
            session.outbox.clear()


def _is_later(message: Message | Broken, until: int | None) -> bool:
    return until is not None and isinstance(message, Ordered | Merged) and message.time > until
