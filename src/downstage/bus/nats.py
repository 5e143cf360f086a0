"""The bus of many processes, over NATS: at most once, and whoever may have missed is told."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel

from downstage.bus.bus import Message, check_subject, decode, encode
from downstage.bus.mailbox import Mailbox
from downstage.bus.nats_connection import Delivery, NatsConnection, NatsDown
from downstage.bus.nats_options import NatsOptions
from downstage.bus.nats_pool import connection
from downstage.kernel.logging import get_logger

__all__ = ["OUTGOING", "NatsBus"]

PREFIX = "downstage.bus."
GAP = "downstage.bus-gap"
"""Somebody's hints were lost before they were sent: everybody reads the truth again."""
OUTGOING = 4096
"""Hints that wait for the server; then the oldest go, and all who listen are told."""
SEND_S = 10.0
JOIN_S = 3.0
log = get_logger(__name__)


class NatsBus:
    """Delivers between processes; publish and subscribe from one loop, and keep `run` running."""

    def __init__(self, options: NatsOptions) -> None:
        self._options = options
        self._connection: NatsConnection | None = None
        self._outgoing: deque[tuple[str, bytes]] = deque()
        self._waits = anyio.Event()
        self._losses = 0
        self._mailboxes: set[Mailbox] = set()

    def publish(self, subject: str, payload: Mapping[str, object]) -> None:
        """Queue *payload* for the server; it goes out as soon as there is a connection."""
        check_subject(subject)
        data = encode(payload)
        if len(self._outgoing) >= OUTGOING:
            self._outgoing.popleft()
            self._losses += 1
        self._outgoing.append((PREFIX + subject, data))
        self._waits.set()

    @asynccontextmanager
    async def subscribe(self, pattern: str) -> AsyncGenerator[AsyncIterator[Message]]:
        """Listen from the moment of entering until leaving; without a server, from when it is."""
        mailbox = Mailbox(pattern)

        def deliver(message: Delivery) -> None:
            _deliver(mailbox, message)

        shared = await self._join()
        end = await shared.subscribe(PREFIX + pattern, deliver)
        self._mailboxes.add(mailbox)
        try:
            # The server may be told of us later than of what others publish: wait until it knows.
            with anyio.move_on_after(JOIN_S):
                try:
                    await shared.ready()
                    await shared.flush(JOIN_S)
                except NatsDown as error:
                    log.warning("bus.joined_later", pattern=pattern, why=str(error))
            yield mailbox
        finally:
            self._mailboxes.discard(mailbox)
            with anyio.CancelScope(shield=True), anyio.move_on_after(JOIN_S):
                await end()

    async def run(self) -> None:
        """Send what is published, and tell listeners of gaps, until cancelled."""
        shared = await self._join()
        end = await shared.subscribe(GAP, lambda _: self._tell_gap())
        shared.on_up.add(self._connected_again)
        try:
            while True:
                await self._send_all(shared)
                self._waits = anyio.Event()
                await self._waits.wait()
        finally:
            shared.on_up.discard(self._connected_again)
            with anyio.CancelScope(shield=True), anyio.move_on_after(JOIN_S):
                await end()

    async def _join(self) -> NatsConnection:
        shared = self._connection = await connection(self._options)
        return shared

    def _connected_again(self) -> None:
        self._losses += 1  # what was on its way when the connection broke may have been lost
        self._waits.set()
        self._tell_gap()

    def _tell_gap(self) -> None:
        for mailbox in self._mailboxes:
            mailbox.push_gap()

    async def _send_all(self, shared: NatsConnection) -> None:
        while self._outgoing or self._losses:
            await shared.wait_up()
            with anyio.move_on_after(SEND_S):
                try:
                    await self._send_some(shared)
                except NatsDown as error:
                    log.info("bus.send_failed", why=str(error))
                    await anyio.lowlevel.checkpoint()  # what fails at once must not hold the loop

    async def _send_some(self, shared: NatsConnection) -> None:
        while self._outgoing or self._losses:
            if losses := self._losses:
                await shared.publish(GAP, b"")
            else:
                losses = self._losses = 1  # unless it goes out
                await shared.publish(*self._outgoing.popleft())
            self._losses -= losses


def _deliver(mailbox: Mailbox, message: Delivery) -> None:
    subject = message.subject.removeprefix(PREFIX)
    try:
        mailbox.push(Message(subject, decode(message.data)))
    except ValueError as error:
        log.warning("bus.message_refused", subject=subject[:80], why=str(error))
        mailbox.push_gap()
