"""Single measurements: how many entries a second, how long one takes."""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring.streams.floor import Direct, encode
from measuring.streams.frames import Reader, Wave, connect, wave
from measuring.streams.places import KEEP, Engine, Places, Server

__all__ = [
    "crowd", "fan_out", "floor_latency", "floor_pull", "floor_push", "idle_memory", "latency",
    "pull", "push", "raw_latency",
]  # fmt: skip

MEASURED_S = 0.8
"""And how long it is measured, at least."""


@dataclass(slots=True)
class Stored:
    """What a stream is to hold."""

    engine: Engine
    key: str
    count: int = 0

    def wait(self, more: int) -> None:
        """Return once it has had so many more."""
        self.count += more
        self.engine.wait(self.key, self.count)

    def check(self, size: int) -> None:
        """Whether that was all, and as large as it should be."""
        assert self.engine.added(self.key) == self.count
        assert len(self.engine.last(self.key)) == size


def _name() -> str:
    return f"b-{uuid.uuid4().hex[:12]}"


def _rounded(entries: float, step: int) -> int:
    return max(step, int(entries) // step * step)


def floor_push(places: Places, size: int, batch: int, *, ack: bool) -> float:
    """Entries a second of the engine alone."""
    direct = Direct(places.engine)
    key = f"floor:{_name()}"
    try:
        few = _rounded(min(2000, (32 << 20) // size), batch)
        rate = few / direct.push(key, size, batch, few, ack=ack)
        count = _rounded(rate * MEASURED_S, batch)
        rate = count / direct.push(key, size, batch, count, ack=ack)
        assert places.engine.added(key) >= count + few
        return rate
    finally:
        direct.close()
        places.engine.redis.delete(key)


def push(places: Places, server: Server, size: int, batch: int, *, ack: bool) -> float:
    """Entries a second: until the last one is stored."""
    stream = _name()
    made = wave(size, batch, stream=stream)
    options = ["batch=true"] * (batch > 1) + ["ack=true"] * ack
    path = f"/data/{stream}/push" + ("?" + "&".join(options) if options else "")
    sock = connect(server.port, path, server.token)
    stored = Stored(places.engine, server.key(stream))
    try:
        one = _push_acked if ack else _push_free
        few = _rounded(min(1000, (32 << 20) // size), batch)
        spent = one(sock, made, batch, few, stored)
        count = _rounded(few / spent * MEASURED_S, batch)
        spent = one(sock, made, batch, count, stored)
        stored.check(size)
        return count / spent
    finally:
        sock.close()
        _forget(places, server, stream)


def _push_free(sock: socket.socket, made: Wave, batch: int, count: int, stored: Stored) -> float:
    began, left = time.perf_counter(), count
    while left >= made.entries:
        sock.sendall(made.data)
        left -= made.entries
    if left:
        sock.sendall(b"".join(made.parts[: left // batch]))
    stored.wait(count)
    return time.perf_counter() - began


def _push_acked(sock: socket.socket, made: Wave, batch: int, count: int, stored: Stored) -> float:
    reader, parts = Reader(sock), made.parts
    began = time.perf_counter()
    for number in range(count // batch):
        sock.sendall(parts[number % len(parts)])
        opcode, ids = reader.message()
        assert opcode == 1
        if number == 0:
            assert bytes(ids).count(b"-") == batch
    spent = time.perf_counter() - began
    stored.wait(count)
    return spent


def _forget(places: Places, server: Server, stream: str) -> None:
    places.engine.redis.delete(server.key(stream))
    if server is places.ours:
        places.engine.redis.hdel(server.prefix.rsplit("s/", 1)[0] + "made", stream)


def _fill(places: Places, server: Server, size: int, count: int) -> str:
    """A stream of *server* with so many entries."""
    stream = _name()
    sock = connect(server.port, f"/data/{stream}/push", server.token)
    made = wave(size, 1, stream=stream)
    _push_free(sock, made, 1, count, Stored(places.engine, server.key(stream)))
    sock.close()
    return stream


def _stock(size: int) -> int:
    """Entries that a stream holds for readers."""
    return min(KEEP, max(64, (256 << 20) // size))


def floor_pull(places: Places, size: int, at_once: int) -> float:
    """Entries a second of XREAD alone."""
    direct = Direct(places.engine)
    key = f"floor:{_name()}"
    try:
        direct.push(key, size, 1, _stock(size), ack=False)
        count = int(places.engine.redis.xlen(key))
        return _repeated(lambda: (count, direct.pull(key, count, at_once)))
    finally:
        direct.close()
        places.engine.redis.delete(key)


def pull(places: Places, server: Server, size: int, at_once: int) -> float:
    """Entries a second that one reader gets from the beginning of a stream."""
    count = _stock(size)
    stream = _fill(places, server, size, count)
    path = f"/data/{stream}/pull?last_entry_id=0&count={at_once}"
    try:
        return _repeated(lambda: _pull_once(server, path, size, count, at_once))
    finally:
        _forget(places, server, stream)


def _pull_once(server: Server, path: str, size: int, count: int, at_once: int) -> tuple[int, float]:
    sock = connect(server.port, path, server.token)
    reader, read = Reader(sock), 0
    began = time.perf_counter()
    while read < count and time.perf_counter() - began < MEASURED_S:
        entries, _, body = reader.delivery()
        assert len(body) == entries * size
        assert entries <= at_once
        read += entries
    spent = time.perf_counter() - began
    sock.close()
    return read, spent


def _repeated(once: Callable[[], tuple[int, float]]) -> float:
    """Entries a second, of as many goes as it takes to measure it."""
    entries, seconds = 0, 0.0
    while seconds < MEASURED_S:
        more, spent = once()
        entries += more
        seconds += spent
    return entries / seconds


def latency(places: Places, server: Server, size: int, samples: int = 400) -> tuple[float, float]:
    """Milliseconds from push to pull of one entry at a time: the median, and 99 of 100."""
    stream = _fill(places, server, size, 1)
    made = wave(size, 1, stream=stream)
    push_socket = connect(server.port, f"/data/{stream}/push", server.token)
    pull_socket = connect(server.port, f"/data/{stream}/pull?last_entry_id=0", server.token)
    reader, took = Reader(pull_socket), list[float]()
    reader.delivery()
    try:
        for number in range(samples):
            time.sleep(0.0005)
            began = time.perf_counter()
            push_socket.sendall(made.parts[number % len(made.parts)])
            reader.delivery()
            took.append(1000 * (time.perf_counter() - began))
    finally:
        push_socket.close()
        pull_socket.close()
        _forget(places, server, stream)
    return statistics.median(took), statistics.quantiles(took, n=100)[98]


def floor_latency(places: Places, size: int, samples: int = 400) -> tuple[float, float]:
    """The same of XADD, and an XREAD that waits, by redis-py."""
    client = places.engine.redis
    key, took, last = f"floor:{_name()}", list[float](), "0"
    with places.engine.another() as reading:
        command = ("XREAD", "COUNT", 1, "BLOCK", 5000, "STREAMS", key)
        data = os.urandom(size)
        for _ in range(samples):
            # The read that waits is sent by one connection, its answer read after the add's.
            reading.send_command(*command, last)
            time.sleep(0.0005)
            began = time.perf_counter()
            client.execute_command("XADD", key, "MAXLEN", "~", KEEP, "*", "d", data)
            ((_, entries),) = reading.read_response()
            took.append(1000 * (time.perf_counter() - began))
            last = entries[-1][0]
    client.delete(key)
    return statistics.median(took), statistics.quantiles(took, n=100)[98]


def raw_latency(places: Places, size: int, samples: int = 400) -> tuple[float, float]:
    """The same with nothing but a socket and hiredis."""
    adding, reading = Direct(places.engine), Direct(places.engine)
    key, took, last = f"floor:{_name()}", list[float](), "0"
    command = encode("XADD", key, "MAXLEN", "~", KEEP, "*", "d", os.urandom(size))
    try:
        for _ in range(samples):
            reading.send(encode("XREAD", "COUNT", 1, "BLOCK", 5000, "STREAMS", key, last))
            time.sleep(0.0005)
            began = time.perf_counter()
            adding.send(command)
            ((_, entries),) = reading.reply()
            took.append(1000 * (time.perf_counter() - began))
            adding.replies(1)
            last = entries[-1][0]
    finally:
        adding.close()
        reading.close()
        places.engine.redis.delete(key)
    return statistics.median(took), statistics.quantiles(took, n=100)[98]


def fan_out(places: Places, server: Server, size: int, readers: int) -> float:
    """Deliveries a second: entries times readers, until the last reader has the last entry."""
    stream = _fill(places, server, size, 1)
    made = wave(size, 1, stream=stream)
    path = f"/data/{stream}/pull?last_entry_id=$&count=64"
    sock = connect(server.port, f"/data/{stream}/push", server.token)
    try:
        few = max(4, min(400, (8 << 20) // (size * readers)))
        spent = _fan(_readers(server, path, readers, few * size), sock, made, few)
        count = int(min(KEEP * 0.9, max(few, few / spent * MEASURED_S)))
        spent = _fan(_readers(server, path, readers, count * size), sock, made, count)
        return count * readers / spent
    finally:
        sock.close()
        _forget(places, server, stream)


def _fan(
    crowd: AbstractContextManager[subprocess.Popen[str]],
    sock: socket.socket,
    made: Wave,
    count: int,
) -> float:
    with crowd as process:
        assert process.stdout is not None
        began = time.monotonic()
        left = count
        while left:
            parts = made.parts[: min(left, len(made.parts))]
            sock.sendall(b"".join(parts))
            left -= len(parts)
        said = json.loads(process.stdout.readline() or "{}")
        return said["ended"] - began


def crowd(places: Places, server: Server, producers: int, idle: int) -> float:
    """Entries of 1 KB a second, of many producers beside many readers that wait."""
    stream, size = _name(), 1024
    made = wave(size, 1, stream=stream)
    with _readers(server, f"/data/{_name()}/pull", idle, 1):
        socks = [
            connect(server.port, f"/data/{stream}/push", server.token) for _ in range(producers)
        ]
        try:
            count = producers * 200
            each = b"".join(made.parts[:25])
            began = time.perf_counter()
            for _ in range(count // producers // 25):
                for sock in socks:
                    sock.sendall(each)
            places.engine.wait(server.key(stream), count)
            return count / (time.perf_counter() - began)
        finally:
            for sock in socks:
                sock.close()
            _forget(places, server, stream)


def idle_memory(server: Server, count: int) -> dict[str, Any]:
    """Bytes of the server for each of *count* sockets that wait."""
    before = _rss(server.pid)
    with _readers(server, f"/data/{_name()}/pull", count, 1):
        time.sleep(1)
        return {"bytes": (_rss(server.pid) - before) / count, "count": count}


@contextmanager
def _readers(
    server: Server, path: str, readers: int, size: int
) -> Generator[subprocess.Popen[str]]:
    """Readers in a process of their own, which wait for *size* bytes each."""
    asked = {
        "port": server.port, "path": path, "token": server.token, "readers": readers,
        "bytes": size,
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "measuring.streams.crowd", json.dumps(asked)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert process.stdout.readline().strip() == "ready"
        time.sleep(0.3)  # the server sees the last of them
        yield process
    finally:
        process.kill()
        process.wait()


def _rss(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")
