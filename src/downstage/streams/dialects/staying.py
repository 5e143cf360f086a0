"""Sockets of the service that are open: who is in, until when, and that all of them end."""

from __future__ import annotations

from contextlib import AbstractContextManager

from downstage.services.sockets import CLOSE, Listener, Socket, SocketRequest
from downstage.streams.callers import Callers, Guest
from downstage.streams.tickets import Purpose

__all__ = ["Guests", "Staying"]


class Staying(Listener):
    """A listener for a guest who may stay until the token no longer counts."""

    socket: Socket
    _stay: AbstractContextManager[None] | None = None
    _guests: Guests | None = None

    def on_open(self, socket: Socket) -> None:
        """It is open."""
        self.socket = socket

    def end(self, code: int, reason: str) -> None:
        """Close it, if it is open already."""
        socket = getattr(self, "socket", None)
        if socket is not None:
            socket.close(code, reason)

    def stay(self, guests: Guests, stay: AbstractContextManager[None]) -> None:
        """Be counted."""
        stay.__enter__()
        self._stay, self._guests = stay, guests
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
    """

    def __init__(self, callers: Callers, *, cookies: bool) -> None:
        self.open = set[Staying]()
        self._callers = callers
        self._cookies = cookies

    async def find(self, request: SocketRequest, purpose: Purpose) -> Guest:
        """Who asks.

        Raises:
            PlatformError: nobody who may come in.
        """
        return await self._callers.of_connection(request, purpose=purpose, cookies=self._cookies)

    def let_in(self, guest: Guest, listener: Staying) -> Staying:
        """Count *listener* among those who are in, until it is over.

        Raises:
            TooMany: there are too many.
        """
        listener.stay(self, self._callers.staying(guest, listener.end))
        return listener

    def stop(self) -> None:
        """Close them all: the service stops."""
        for listener in tuple(self.open):
            listener.end(CLOSE.GOING_AWAY, "going-away")
