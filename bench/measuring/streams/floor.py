"""The engine asked directly, by pipelined commands and hiredis: the most that any server can do."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from typing import Any

import hiredis

from measuring.streams.places import KEEP, Engine

__all__ = ["Direct", "encode"]

IN_FLIGHT = 4 << 20
MOST_BATCHES = 64


def encode(*parts: bytes | str | int) -> bytes:
    """One command."""
    out = [b"*%d\r\n" % len(parts)]
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        out.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(out)


class Direct:
    """A connection to the engine."""

    def __init__(self, engine: Engine) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.connect(engine.access["path"])
        self._reader = hiredis.Reader()
        self._buffer = bytearray(1 << 20)
        self._sock.sendall(encode("AUTH", "downstage", engine.access["password"]))
        self.replies(1)

    def close(self) -> None:
        self._sock.close()

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def replies(self, count: int) -> list[object]:
        """So many."""
        found = list[object]()
        while len(found) < count:
            reply = self._reader.gets()
            if reply is False:
                got = self._sock.recv_into(self._buffer)
                self._reader.feed(self._buffer, 0, got)
            else:
                if isinstance(reply, Exception):
                    raise reply
                found.append(reply)
        return found

    def reply(self) -> Any:
        """The next one."""
        return self.replies(1)[0]

    def push(self, key: str, size: int, batch: int, count: int, *, ack: bool) -> float:
        """Seconds that *count* XADDs take, *batch* at once.

        Unless *ack*, the next ones leave before the last ones are answered.
        """
        trains = [
            b"".join(
                encode("XADD", key, "MAXLEN", "~", KEEP, "*", "d", os.urandom(size))
                for _ in range(batch)
            )
            for _ in range(max(1, min(64, (8 << 20) // (size * batch))))
        ]
        most = 1 if ack else max(1, min(MOST_BATCHES, IN_FLIGHT // (size * batch)))
        if not ack and batch == 1:
            # One entry a message leaves without waiting: the kernel joins what is written apart.
            group = max(1, min(64, IN_FLIGHT // size // 4))
            trains = [b"".join(trains[:group])] if len(trains) >= group else trains
            return self._run(trains, group if len(trains) == 1 else 1, count, 4)
        return self._run(trains, batch, count, most)

    def _run(self, trains: Sequence[bytes], batch: int, count: int, most: int) -> float:
        began, sent, waiting = time.perf_counter(), 0, 0
        while sent < count:
            self._sock.sendall(trains[(sent // batch) % len(trains)])
            sent += batch
            waiting += 1
            if waiting >= most:
                self.replies(batch)
                waiting -= 1
        self.replies(batch * waiting)
        return (time.perf_counter() - began) * count / sent

    def pull(self, key: str, count: int, at_once: int) -> float:
        """Seconds that *count* entries take, read by XREAD, *at_once* at a time."""
        began, last, read = time.perf_counter(), b"0", 0
        while read < count:
            self._sock.sendall(encode("XREAD", "COUNT", at_once, "STREAMS", key, last))
            ((_, entries),) = self.reply()
            read += len(entries)
            last = entries[-1][0]
        return time.perf_counter() - began
