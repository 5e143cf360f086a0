"""A client of the library, connected by our options: once, encrypted where that is demanded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

import anyio
import anyio.to_thread
import nats.errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from downstage.bus.nats_options import NatsOptions, check_credentials
from downstage.kernel.logging import get_logger

__all__ = ["CONNECT_S", "Client", "Delivery", "close", "connect", "subscribe"]

CONNECT_S = 2.0
"""For an attempt; a stop waits for the one under way, as the library does not end it cleanly."""
PING_S = 5
PINGS_OPEN = 2
CLOSE_S = 2.0
log = get_logger(__name__)


class Delivery(Protocol):
    """One message as it came."""

    subject: str
    reply: str
    data: bytes
    headers: dict[str, str] | None


class _Direct(asyncio.Future[Any]):
    """Takes each message of a subscription where the parser stands: no queue, no task between."""

    def __init__(self, deliver: Callable[[Delivery], None]) -> None:
        super().__init__()
        self._deliver = deliver

    def set_result(self, result: Any, /) -> None:
        """Called by the client library for every message."""
        try:
            self._deliver(cast("Delivery", result))
        except Exception:  # the edge: else the reader of the whole connection would end
            log.exception("nats.delivery_crashed", subject=str(result.subject)[:80])


class NatsRefused(nats.errors.Error):
    """No server could be connected to; says what the last attempt met."""

    def __init__(self, last: Exception | None = None) -> None:
        super().__init__(str(last) or type(last).__name__ if last else "no server answers")


async def connect(client: Client, options: NatsOptions, closed: Callable[[], None]) -> None:
    """Connect *client* to one of the servers; *closed* is called when it is over.

    Raises:
        nats.errors.Error: no server can be reached, or none takes us.
        SetupError: a certificate cannot be read.
        OSError, ValueError: the same, as the library has it.
    """
    last: list[Exception] = []

    async def ended() -> None:
        closed()

    async def troubled(error: Exception) -> None:
        last[:] = [error]
        if client.is_connected:
            text = str(error) or type(error).__name__
            log.warning("nats.error_reported", servers=options.shown, why=text)

    try:
        await client.connect(
            options.addresses(),
            name="downstage",
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=int(CONNECT_S),
            ping_interval=PING_S,
            max_outstanding_pings=PINGS_OPEN,
            closed_cb=ended,
            error_cb=troubled,
            **await _identity(client, options),
        )
    except nats.errors.NoServersError:
        raise NatsRefused(*last) from None
    _check_encrypted(client, options)


async def subscribe(
    client: Client, subject: str, deliver: Callable[[Delivery], None], queue: str = ""
) -> Subscription:
    """Give *deliver* every message on *subject*, from within the reader of the connection."""
    make = cast("Callable[..., Awaitable[Subscription]]", client.subscribe)  # pyright: ignore[reportUnknownMemberType]
    return await make(subject, queue=queue, future=_Direct(deliver))


async def close(client: Client) -> None:
    """End *client*, whatever its state."""
    with anyio.move_on_after(CLOSE_S):
        try:
            await client.close()
        except Exception:  # the edge: one that never began asserts that it has
            log.debug("nats.close_failed", exc_info=True)


async def _identity(client: Client, options: NatsOptions) -> dict[str, Any]:
    def secret(value: str) -> str:
        """Asked for by the library when it is about to send *value*."""
        _check_encrypted(client, options)
        return value

    more: dict[str, Any] = {}
    if options.user:
        more["user"] = options.user
        more["password"] = lambda: secret(options.password)
    if options.token:
        more["token"] = lambda: secret(options.token)
    if options.nkey_file is not None:
        more["nkeys_seed"] = str(options.nkey_file)
    if options.credentials_file is not None:
        await anyio.to_thread.run_sync(check_credentials, options.credentials_file)
        more["user_credentials"] = str(options.credentials_file)
    if options.is_encrypted:
        more["tls"] = await anyio.to_thread.run_sync(options.tls_context)
    return more


def _check_encrypted(client: Client, options: NatsOptions) -> None:
    """Refuse a server that offers no TLS where it is demanded: the library would go on."""
    if not options.is_encrypted:
        return
    transport = getattr(client, "_transport", None)  # it does not tell otherwise: no answer is no
    writer = getattr(transport, "_io_writer", None)
    if writer is None or writer.get_extra_info("ssl_object") is None:
        raise nats.errors.SecureConnRequiredError
