"""One connection to NATS: made again for ever, with inboxes and subscriptions that survive it.

The client library's own reconnection is switched off. It keeps what was published meanwhile and
sends it late, gives up for good at some errors of the server, and tells callers nothing; here
every loss ends what was under way at once, and a new client takes its place.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio
import anyio.lowlevel
import nats.errors
from nats.aio.subscription import Subscription as NatsSubscription

from downstage.bus.nats_client import CONNECT_S, Client, Delivery, close, connect, subscribe
from downstage.bus.nats_options import NatsOptions
from downstage.kernel.logging import get_logger

__all__ = ["TICK_S", "Delivery", "NatsConnection", "NatsDown", "Peer", "is_no_responders"]

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
TICK_S = 0.1
"""How often a peer is asked what time has brought."""
CONGESTED = 1024 * 1024
"""Bytes that wait for the server to read them; at twice as many, publishing waits."""
POSTED = 4096
"""Small frames that wait to be sent without anybody waiting for them."""
log = get_logger(__name__)


class NatsDown(Exception):
    """There is no connection, or it broke; the text says why and holds no secret."""


class Peer(Protocol):
    """Whoever waits at an inbox; none of these may wait or raise."""

    def deliver(self, message: Delivery) -> None:
        """A message came to its inbox."""
        ...

    def tick(self) -> None:
        """`TICK_S` of a running loop have passed: time that the loop was held does not count."""
        ...

    def lost(self, why: str) -> None:
        """The connection broke; its inbox is gone."""
        ...


def is_no_responders(message: Delivery) -> bool:
    """Whether the server says that nobody listens where *message*'s cause was sent."""
    return bool(message.headers) and not message.data and message.headers.get("Status") == "503"


class _Wanted:
    """A subscription that is made again on every connection."""

    def __init__(self, subject: str, queue: str, deliver: Callable[[Delivery], None]) -> None:
        self.subject = subject
        self.queue = queue
        self.deliver = deliver
        self.made: NatsSubscription | None = None


class NatsConnection:
    """Shared by all who speak to one cluster on one loop; `run` keeps it up."""

    def __init__(self, options: NatsOptions) -> None:
        self.options = options
        self.stray: Callable[[Delivery], None] | None = None
        """Who is told of messages to inboxes that are no more."""
        self.on_up: set[Callable[[], None]] = set()
        """Called after every connection that follows another, once subscriptions are made."""
        self.loop = asyncio.get_running_loop()
        self.is_closed = False
        """Whether `run` has ended: ask for another."""
        self._scope = anyio.CancelScope()
        self._client: Client | None = None
        self._why = "not connected yet"
        self._attempted = anyio.Event()
        self._kick = anyio.Event()
        self._lost = anyio.Event()
        self._times = 0
        self._peers: dict[str, Peer] = {}
        self._inbox = ""
        self._timer: asyncio.TimerHandle | None = None
        self._wanted: list[_Wanted] = []
        self._posted: deque[tuple[str, bytes, str]] = deque()
        self._post_waits = anyio.Event()
        self._post_done = anyio.Event()

    # --- up and down ---------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        """Whether something can be sent now."""
        # Closed a few turns before we are told: else who waits for it to be up would not wait.
        return self._client is not None and self._client.is_connected

    @property
    def is_congested(self) -> bool:
        """Whether the server reads so slowly that `publish` may have to wait."""
        return self._client is not None and self._client.pending_data_size > CONGESTED

    @property
    def max_payload(self) -> int:
        """Bytes that the server takes in one message."""
        return self._client.max_payload if self._client is not None else 0

    async def ready(self) -> None:
        """Return at once where it is up, else after the next attempt.

        Raises:
            NatsDown: that attempt failed.
        """
        while not self.is_up:
            attempted = self._attempted
            self._kick.set()
            await attempted.wait()
            if not self.is_up:
                raise NatsDown(f"{self.options.shown} cannot be reached: {self._why}")

    async def wait_up(self) -> None:
        """Return once it is up, without hurrying it."""
        while not self.is_up:
            await self._attempted.wait()

    async def run(self) -> None:
        """Keep the connection up until `stop`, or cancellation."""
        try:
            with self._scope:
                await self._keep_up()
        finally:
            self.is_closed = True
            with anyio.CancelScope(shield=True):
                await self._drop("the connection was closed")

    def stop(self) -> None:
        """Let `run` return. The library swallows a task's plain cancellation, never this."""
        self._scope.cancel()

    async def _keep_up(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            self._kick = anyio.Event()
            with anyio.CancelScope(shield=True):
                await self._try_connect()
            _notice_cancellation()
            if self.is_up:
                pause = FIRST_PAUSE_S
                await self._hold()
            else:
                with anyio.move_on_after(pause * random.uniform(0.5, 1.0)):  # noqa: S311
                    await self._kick.wait()
                pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _try_connect(self) -> None:
        client = Client()
        try:
            with anyio.fail_after(CONNECT_S):
                await self._connect(client)
        except Exception as error:  # noqa: BLE001 - the edge: what is no server is tried again too
            why = str(error) or type(error).__name__
            if why != self._why:
                log.warning("nats.not_reached", servers=self.options.shown, why=why)
            self._why = why
            await close(client)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await close(client)
            raise
        self._announce()

    def _announce(self) -> None:
        self._attempted.set()
        self._attempted = anyio.Event()

    async def _connect(self, client: Client) -> None:
        lost = self._lost = anyio.Event()
        await connect(client, self.options, lost.set)
        await self._settle(client)

    async def _settle(self, client: Client) -> None:
        """Make inbox and subscriptions, and be sure that the server knows of them."""
        self._inbox = f"_INBOX.{secrets.token_hex(11)}."
        await subscribe(client, f"{self._inbox}*", self._dispatch)
        for wanted in self._wanted:
            await self._make(client, wanted)
        await client.flush(timeout=int(CONNECT_S))
        self._client = client
        self._times += 1
        log.info("nats.connected", servers=self.options.shown, again=self._times > 1)
        if self._times > 1:
            for tell in list(self.on_up):
                tell()

    async def _hold(self) -> None:
        """Send what is posted until the connection breaks."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._send_posted)
            await self._lost.wait()
            tasks.cancel_scope.cancel()
        log.warning("nats.disconnected", servers=self.options.shown)
        await self._drop("the connection to NATS broke")

    async def _drop(self, why: str) -> None:
        client, self._client = self._client, None
        self._why = why
        self._posted.clear()
        self._post_done.set()
        peers, self._peers = list(self._peers.values()), {}
        for peer in peers:
            peer.lost(why)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for wanted in self._wanted:
            wanted.made = None
        if client is not None:
            await close(client)
        self._announce()

    # --- inboxes -------------------------------------------------------------------------------

    def open_inbox(self, peer: Peer) -> str:
        """A new inbox for *peer*, valid until `close_inbox` or the loss of the connection."""
        # Not to be guessed: who is given one inbox could speak at its neighbours otherwise.
        token = secrets.token_hex(8)
        self._peers[token] = peer
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        return self._inbox + token

    def close_inbox(self, inbox: str) -> None:
        """Forget it. Safe to repeat."""
        if inbox.startswith(self._inbox):
            self._peers.pop(inbox[len(self._inbox) :], None)

    def _dispatch(self, message: Delivery) -> None:
        peer = self._peers.get(message.subject[len(self._inbox) :])
        if peer is not None:
            peer.deliver(message)
        elif self.stray is not None:
            self.stray(message)

    def _tick(self) -> None:
        self._timer = None
        for peer in list(self._peers.values()):
            peer.tick()
        if self._peers:
            self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    # --- sending -------------------------------------------------------------------------------

    async def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        """Send one message; waits where the server reads slowly.

        Raises:
            NatsDown: there is no connection.
        """
        client = self._client
        if client is None:
            raise NatsDown(self._why)
        asked = _cancellations()
        try:
            await client.publish(subject, data, reply)
        except nats.errors.Error as error:
            raise NatsDown(str(error)) from error
        if _cancellations() > asked:  # the library swallows it where it waits for the server
            await anyio.lowlevel.checkpoint_if_cancelled()  # a scope knows its own alone
            raise asyncio.CancelledError

    def post(self, subject: str, data: bytes, reply: str = "") -> None:
        """Send a small message soon, without waiting; the oldest goes where too many wait."""
        if len(self._posted) >= POSTED:
            self._posted.popleft()
        self._posted.append((subject, data, reply))
        self._post_waits.set()

    async def _send_posted(self) -> None:
        while True:
            while self._posted:
                await self.publish_or_drop(*self._posted.popleft())
            self._post_done.set()
            self._post_waits = anyio.Event()
            await self._post_waits.wait()

    async def drained(self) -> None:
        """Return once all that was posted before goes ahead of what is published next."""
        while self._posted:
            if self._post_done.is_set():
                self._post_done = anyio.Event()
            await self._post_done.wait()

    async def publish_or_drop(self, subject: str, data: bytes, reply: str = "") -> bool:
        """As `publish`; tells by its answer whether it was sent."""
        try:
            await self.publish(subject, data, reply)
        except NatsDown:
            return False
        return True

    async def flush(self, deadline_s: float) -> None:
        """Return once the server has seen all that was sent.

        Raises:
            NatsDown: it did not in time, or there is no connection.
        """
        client = self._client
        if client is None:
            raise NatsDown(self._why)
        try:
            with anyio.fail_after(deadline_s):
                await client.flush(timeout=max(1, int(deadline_s)))
        except (nats.errors.Error, TimeoutError) as error:
            raise NatsDown(str(error) or "no answer from the NATS server") from error

    # --- subscriptions -------------------------------------------------------------------------

    async def subscribe(
        self, subject: str, deliver: Callable[[Delivery], None], *, queue: str = ""
    ) -> Callable[[], Awaitable[None]]:
        """Give *deliver* every message on *subject*, on this and every later connection.

        Of those who name the same *queue* one gets it. *deliver* may neither wait nor raise.

        Returns:
            A function that ends it; what the server sent before still comes.
        """
        wanted = _Wanted(subject, queue, deliver)
        self._wanted.append(wanted)
        try:
            if self._client is not None:
                await self._make(self._client, wanted)
        except BaseException:
            self._wanted.remove(wanted)  # else no later connection would come up with it
            raise

        async def end() -> None:
            self._wanted.remove(wanted)
            if wanted.made is not None and self.is_up:
                await wanted.made.unsubscribe()

        return end

    async def _make(self, client: Client, wanted: _Wanted) -> None:
        try:
            wanted.made = await subscribe(client, wanted.subject, wanted.deliver, wanted.queue)
        except nats.errors.ConnectionClosedError:
            wanted.made = None  # the next connection makes it


def _cancellations() -> int:
    """How often this task was asked to end."""
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


def _notice_cancellation() -> None:
    """Raise what the library swallowed."""
    if _cancellations():
        raise asyncio.CancelledError
