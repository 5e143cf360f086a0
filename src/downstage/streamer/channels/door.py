"""One socket at which the application may connect; never waits, keeps what cannot go yet."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

from downstage.contracts.channels import BINARY, MAX_MESSAGE, TEXT
from downstage.kernel.logging import get_logger
from downstage.streamer.channels.backlog import Backlog

__all__ = ["Door", "DoorEvents"]

log = get_logger(__name__)

READS = 64
"""Packets taken in one go: others have their turn, too."""


@dataclass(frozen=True, slots=True)
class DoorEvents:
    """What a door tells; every call returns at once."""

    on_message: Callable[[int, bytes], None]
    """A message of the application: its kind, and the rest."""
    on_connected: Callable[[], None]
    """An application connected; what had waited goes out after this."""


class Door:
    """Listens on one socket of the channels' folder and keeps one connection.

    Args:
        folder: descriptor of the folder.
        name: the socket's name in it.
        events: what to call.
    """

    def __init__(self, folder: int, name: str, events: DoorEvents) -> None:
        self.name = name
        # By way of the descriptor, since a socket's path has 107 characters at most.
        self._path = f"/proc/self/fd/{folder}/{name}"
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._listener: socket.socket | None = None
        self._connection: socket.socket | None = None
        self._waiting = Backlog()
        self._is_paused = self._is_writing = False
        self.refused = 0
        """Packets of the application that were no messages."""

    @property
    def lost(self) -> int:
        """Messages to the application that it never got."""
        return self._waiting.lost

    @property
    def is_connected(self) -> bool:
        """An application is there."""
        return self._connection is not None

    def open(self) -> None:
        """Listen; a socket that is left over is replaced.

        Raises:
            OSError: it cannot be made.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.setblocking(False)
        try:
            if os.path.lexists(self._path):
                os.unlink(self._path)  # noqa: PTH108 - it is no usual path
            listener.bind(self._path)
            # The application is another user; nobody else sees the folder.
            os.chmod(self._path, 0o666)  # noqa: PTH101, S103 - see above
            listener.listen(4)
        except OSError:
            listener.close()
            raise
        self._listener = listener
        self._loop.add_reader(listener, self._accept)

    def close(self) -> None:
        """Let go of everything."""
        self._hang_up()
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def send(self, packet: bytes) -> bool:
        """Send to the application, now or when it is there; False where others gave way."""
        kept = self._waiting.put(packet)
        self._flush()
        return kept

    def tell(self, packet: bytes) -> None:
        """Send only where the application is there and takes it at once."""
        if self._connection is not None:
            try:
                self._connection.send(packet)
            except BlockingIOError:
                return
            except OSError:
                self._hang_up()

    def pause(self) -> None:
        """Read no more: the application has to wait."""
        if not self._is_paused:
            self._is_paused = True
            if self._connection is not None:
                self._loop.remove_reader(self._connection)

    def resume(self) -> None:
        """Read again."""
        if self._is_paused:
            self._is_paused = False
            if self._connection is not None:
                self._loop.add_reader(self._connection, self._read)

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        self._hang_up()
        connection.setblocking(False)
        self._connection = connection
        if not self._is_paused:
            self._loop.add_reader(connection, self._read)
        log.info("channel.application_connected", channel=self.name)
        self._events.on_connected()
        self._flush()

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._loop.remove_reader(connection)
        self._loop.remove_writer(connection)
        self._is_writing = False
        connection.close()

    def _read(self) -> None:
        for _ in range(READS):
            if self._connection is None or self._is_paused:
                return
            try:
                packet, _, flags, _ = self._connection.recvmsg(MAX_MESSAGE + 1)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                packet, flags = b"", 0
            if not packet:
                self._hang_up()
                return
            if flags & socket.MSG_TRUNC or packet[0] not in (TEXT, BINARY):
                self.refused += 1
                if self.refused == 1:
                    log.warning("channel.packet_refused", channel=self.name)
                continue
            self._events.on_message(packet[0], packet[1:])

    def _flush(self) -> None:
        while self._connection is not None:
            packet = self._waiting.first()
            if packet is None:
                self._stop_writing()
                return
            try:
                self._connection.send(packet)
            except (BlockingIOError, InterruptedError):
                self._start_writing()
                return
            except OSError:
                self._hang_up()
                return
            self._waiting.drop_first()

    def _start_writing(self) -> None:
        if not self._is_writing and self._connection is not None:
            self._is_writing = True
            self._loop.add_writer(self._connection, self._flush)

    def _stop_writing(self) -> None:
        if self._is_writing and self._connection is not None:
            self._is_writing = False
            self._loop.remove_writer(self._connection)
