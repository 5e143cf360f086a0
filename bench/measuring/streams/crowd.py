"""Many readers in a process of their own; it says when the last of them has all it waits for."""

from __future__ import annotations

import json
import resource
import selectors
import socket
import sys
import time
from typing import Any

from measuring.streams.frames import connect


class Counter:
    """Counts the bytes of binary messages on one socket, without looking at them."""

    __slots__ = ("_head", "_is_binary", "_left", "got")

    def __init__(self) -> None:
        self.got = 0
        self._left = 0
        self._is_binary = False
        self._head = b""

    def feed(self, view: memoryview) -> None:
        at, end = 0, len(view)
        while at < end:
            if self._left:
                step = min(self._left, end - at)
                if self._is_binary:
                    self.got += step
                self._left -= step
                at += step
                continue
            head = self._head + bytes(view[at : at + 10 - len(self._head)])
            need = 2 if len(head) < 2 else {126: 4, 127: 10}.get(head[1], 2)
            if len(head) < need:
                self._head = head
                return
            at += need - len(self._head)
            self._head = b""
            size = head[1] if need == 2 else int.from_bytes(head[2:need], "big")
            self._is_binary = head[0] & 15 == 2
            self._left = size
            if head[0] & 15 == 8:
                raise ConnectionError("closed by the server")


def main() -> None:
    """Open the sockets, say ``ready``, read until all have what they wait for."""
    asked = json.loads(sys.argv[1])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    selector = selectors.DefaultSelector()
    socks = list[socket.socket]()
    for _ in range(asked["readers"]):
        sock = connect(asked["port"], asked["path"], asked["token"])
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ, Counter())
        socks.append(sock)
    print("ready", flush=True)
    buffer = memoryview(bytearray(1 << 18))
    missing, wanted = len(socks), asked["bytes"]
    while missing:
        for key, _ in selector.select():
            counter: Counter = key.data
            sock: Any = key.fileobj
            try:
                got = sock.recv_into(buffer)
            except BlockingIOError:
                continue
            if not got:
                raise ConnectionError("the server hung up")
            before = counter.got
            counter.feed(buffer[:got])
            if before < wanted <= counter.got:
                missing -= 1
    print(json.dumps({"ended": time.monotonic()}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
