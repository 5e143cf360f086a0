"""Sockets of the service that are open: who is in, until when, and that all of them end.

With workers a socket is let in here and served there; here it is counted, and ended, all the same.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from downstage.kernel.errors import PlatformError
from downstage.services.sockets import CLOSE, Handover, Listener, Socket, SocketRequest
from downstage.streams.callers import Callers, Guest
from downstage.streams.model import Caller
from downstage.streams.tickets import Purpose

__all__ = ["Away", "Gate", "Guests", "Opener", "Staying", "Workers"]


class Away(Protocol):
    """A socket that a worker serves."""

    def close(self, code: int, reason: str) -> None:
        """Have it closed."""
        ...


class Workers(Protocol):
    """Serve sockets in other processes."""

    def take(
        self, handover: Handover, kind: str, caller: Caller, listener: Listener
    ) -> Away | None:
        """Let a worker serve the socket; None: none can.

        Args:
            handover: the connection.
            kind: which `Opener` has its listener there.
            caller: who was let in.
            listener: `on_close` is called when it has ended.
        """
        ...


class Opener(Protocol):
    """Makes listeners for sockets of one kind, in whichever process serves them."""

    def listen(self, caller: Caller, request: SocketRequest) -> Listener:
        """Who listens to the socket that *caller* asks for.

        Raises:
            PlatformError: it may not have it.
        """
        ...


class Staying(Listener):
    """A listener for a guest who may stay until the token no longer counts."""

    socket: Socket
    _away: Away | None = None
    _stay: AbstractContextManager[None] | None = None
    _guests: Guests | None = None
    _caller: Caller | None = None
    _kind = ""

    def elsewhere(self, handover: Handover) -> bool:
        """Let a worker have it, where there are some."""
        workers = None if self._guests is None else self._guests.workers
        if workers is None or self._caller is None:
            return False
        self._away = workers.take(handover, self._kind, self._caller, self)
        return self._away is not None

    def on_open(self, socket: Socket) -> None:
        """It is open."""
        self.socket = socket

    def end(self, code: int, reason: str) -> None:
        """Close it, if it is open already."""
        socket = self._away or getattr(self, "socket", None)
        if socket is not None:
            socket.close(code, reason)

    def stay(
        self, guests: Guests, stay: AbstractContextManager[None], caller: Caller, kind: str
    ) -> None:
        """Be counted."""
        stay.__enter__()
        self._stay, self._guests = stay, guests
        self._caller, self._kind = caller, kind
        guests.open.add(self)

    def on_close(self) -> None:
        """It is over."""
        stay, self._stay = self._stay, None
        if stay is not None:
            stay.__exit__(None, None, None)
        if self._guests is not None:
            self._guests.open.discard(self)


class Guests:
    """Lets guests in, and out.

    Args:
        callers: of the service.
        cookies: whether a cookie may prove who asks.
        workers: serve the sockets, where there are some.
    """

    def __init__(self, callers: Callers, *, cookies: bool, workers: Workers | None = None) -> None:
        self.workers = workers
        self.open = set[Staying]()
        self._callers = callers
        self._cookies = cookies

    async def find(self, request: SocketRequest, purpose: Purpose) -> Guest:
        """Who asks.

        Raises:
            PlatformError: nobody who may come in.
        """
        return await self._callers.of_connection(request, purpose=purpose, cookies=self._cookies)

    def let_in(self, guest: Guest, listener: Staying, kind: str) -> Staying:
        """Count *listener*, to a socket of *kind*, among those who are in, until it is over.

        Raises:
            TooMany: there are too many.
        """
        listener.stay(self, self._callers.staying(guest, listener.end), guest.caller, kind)
        return listener

    def stop(self) -> None:
        """Close them all: the service stops."""
        for listener in tuple(self.open):
            listener.end(CLOSE.GOING_AWAY, "going-away")


class Gate:
    """Opens sockets of one kind.

    Args:
        guests: lets people in.
        opener: knows what they may do here.
        kind: its name.
        purpose: of one-time tickets.
    """

    def __init__(self, guests: Guests, opener: Opener, kind: str, purpose: Purpose) -> None:
        self._guests = guests
        self._opener = opener
        self._kind = kind
        self._purpose: Purpose = purpose

    async def open(self, request: SocketRequest) -> Listener:
        """Let somebody in.

        Raises:
            PlatformError: not there, or not now.
        """
        guest = await self._guests.find(request, self._purpose)
        listener = self._opener.listen(guest.caller, request)
        if not isinstance(listener, Staying):
            return listener  # it says what was wrong, and closes
        try:
            return self._guests.let_in(guest, listener, self._kind)
        except PlatformError:
            listener.on_close()
            raise
