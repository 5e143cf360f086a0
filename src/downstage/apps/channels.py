"""Data channels to the people who watch: messages both ways, from inside an application.

::

    from downstage.apps.channels import Channel

    with Channel("chat") as chat:
        chat.send("hello")
        for message in chat:        # str where the page sent a string, bytes where it sent bytes
            chat.send(message)

A page opens a channel by its name (``viewer.openChannel("chat")``, or as its own protocol says);
messages that come before the other side is there are kept. `Events` tells of input that no display
takes: pads, sensors, places. Standard library alone; the file may be copied, and other languages
do the same by unix sockets of type ``SOCK_SEQPACKET``: see the guide on data channels.
"""

from __future__ import annotations

import json
import os
import select
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

__all__ = ["MAX_MESSAGE", "Channel", "ChannelClosed", "Event", "Events", "names"]

MAX_MESSAGE = 64 * 1024
"""Bytes of one message."""
_ENVIRONMENT, _PREFIX, _EVENTS = "DOWNSTAGE_CHANNELS", "webrtc_data_", "events"
_NOTICE, _TEXT, _BINARY = 0, 1, 2
_LOOK_S = 0.05


class ChannelClosed(ConnectionError):
    """The platform's side is gone; after a restart of it the channel may be opened again."""


def names() -> list[str]:
    """Channels that are there now: those that the application declares, those that viewers opened.

    Raises:
        RuntimeError: this program runs outside the platform.
    """
    found = (path.name for path in _folder().iterdir())
    return sorted(name.removeprefix(_PREFIX) for name in found if name.startswith(_PREFIX))


class _Socket:
    """One connection: packets with their kind."""

    def __init__(self, name: str, wait_s: float | None) -> None:
        end = None if wait_s is None else time.monotonic() + wait_s
        while True:
            try:
                self._socket = _connect(name)
            except (FileNotFoundError, ConnectionRefusedError):
                if end is not None and time.monotonic() >= end:
                    raise
                time.sleep(_LOOK_S)
            else:
                return

    def fileno(self) -> int:
        """For `select` and the like: readable where something can be received."""
        return self._socket.fileno()

    def close(self) -> None:
        """Hang up; safe to repeat."""
        self._socket.close()

    def _put(self, kind: int, body: bytes, timeout: float | None) -> None:
        if len(body) > MAX_MESSAGE:
            msg = f"a message has at most {MAX_MESSAGE} bytes"
            raise ValueError(msg)
        _wait(self._socket, select.POLLOUT, timeout)
        try:
            self._socket.sendall(bytes([kind]) + body)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ChannelClosed from error

    def _take(self, timeout: float | None) -> tuple[int, bytes]:
        _wait(self._socket, select.POLLIN, timeout)
        try:
            packet = self._socket.recv(MAX_MESSAGE + 1)
        except ConnectionResetError as error:
            raise ChannelClosed from error
        if not packet:
            raise ChannelClosed
        return packet[0], packet[1:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Channel(_Socket):
    """One named channel, shared by all viewers that have it open.

    Args:
        name: letters, digits, ``_ . -``, at most 64.
        wait_s: how long to wait until a viewer opens it, where the application does not declare
            it; None: for ever.

    Raises:
        RuntimeError: this program runs outside the platform.
        FileNotFoundError: nobody opened it in time.
    """

    def __init__(self, name: str, *, wait_s: float | None = None) -> None:
        super().__init__(_PREFIX + name, wait_s)
        self.name = name
        self.viewers = 0
        """How many viewers have it open, as far as was received."""
        self.lost = 0
        """Messages that were refused because this program did not fetch them in time."""

    def send(self, message: str | bytes, *, timeout: float | None = None) -> None:
        """Send to everybody who has it open; waits while they are slow.

        Raises:
            TimeoutError: they were for longer than *timeout* seconds.
            ChannelClosed: the platform's side is gone.
            ValueError: it is longer than `MAX_MESSAGE`.
        """
        if isinstance(message, str):
            self._put(_TEXT, message.encode(), timeout)
        else:
            self._put(_BINARY, message, timeout)

    def receive(self, *, timeout: float | None = None) -> str | bytes:
        """The next message.

        Raises:
            TimeoutError: none came within *timeout* seconds.
            ChannelClosed: the platform's side is gone.
        """
        while True:
            kind, body = self._take(timeout)
            if kind == _TEXT:
                return body.decode()
            if kind == _BINARY:
                return body
            if kind == _NOTICE:
                facts: dict[str, int] = json.loads(body)
                self.viewers, self.lost = facts["viewers"], facts["lost"]

    def __iter__(self) -> Iterator[str | bytes]:
        """Messages, until the platform's side is gone."""
        while True:
            try:
                yield self.receive()
            except ChannelClosed:
                return


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a viewer did and no display takes."""

    type: str
    data: Any
    viewer: str | None


class Events(_Socket):
    """Input for the application itself, and messages for viewers that have a control channel.

    Args:
        wait_s: how long to wait for the platform; None: for ever.
    """

    def __init__(self, *, wait_s: float | None = None) -> None:
        super().__init__(_EVENTS, wait_s)

    def send(self, kind: str, data: object, *, viewer: str | None = None) -> None:
        """Tell *viewer*, or all of them.

        Raises:
            ChannelClosed: the platform's side is gone.
        """
        message = {"type": kind, "data": data, "viewer": viewer}
        self._put(_TEXT, json.dumps(message).encode(), None)

    def receive(self, *, timeout: float | None = None) -> Event:
        """The next event.

        Raises:
            TimeoutError: none came within *timeout* seconds.
            ChannelClosed: the platform's side is gone.
        """
        while True:
            kind, body = self._take(timeout)
            if kind == _TEXT:
                told: dict[str, Any] = json.loads(body)
                return Event(told["type"], told["data"], told["viewer"])


def _folder() -> Path:
    folder = os.environ.get(_ENVIRONMENT)
    if folder is None:
        msg = f"{_ENVIRONMENT} is not set: this program was not started by Downstage"
        raise RuntimeError(msg)
    return Path(folder)


def _connect(name: str) -> socket.socket:
    # By way of a descriptor, since a socket's path has 107 characters at most.
    folder = os.open(_folder(), os.O_PATH | os.O_DIRECTORY)
    found = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        found.connect(f"/proc/self/fd/{folder}/{name}")
    except OSError:
        found.close()
        raise
    finally:
        os.close(folder)
    return found


def _wait(connection: socket.socket, what: int, timeout: float | None) -> None:
    poll = select.poll()
    poll.register(connection, what)
    if not poll.poll(None if timeout is None else timeout * 1000):
        raise TimeoutError
