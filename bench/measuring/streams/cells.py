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
from pathlib import Path
from typing import Any

from measuring.streams.floor import Direct, encode
from measuring.streams.frames import Reader, Wave, connect, wave
from measuring.streams.places import KEEP, Engine, Places, Server

__all__ = [
    "fan_out", "floor_latency", "floor_pull", "floor_push", "idle_memory", "latency", "pull", "push",
]  # fmt: skip

FIRST = 0.15
"""Seconds of the look at how fast it is, before it is measured."""
MEASURED_S = 0.8


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
    engine, key = places.engine, server.key(stream)
    try:
        one = _push_acked if ack else _push_free
        few = _rounded(min(1000, (32 << 20) // size), batch)
        spent = one(sock, made, batch, few, engine, key, 0)
        count = _rounded(few / spent * MEASURED_S, batch)
        spent = one(sock, made, batch, count, engine, key, few)
        _check(engine, key, few + count, size)
        return count / spent
    finally:
        sock.close()
        _forget(places, server, stream)


def _push_free(
    sock: socket.socket, made: Wave, batch: int, count: int, engine: Engine, key: str, before: int
) -> float:
    began, left = time.perf_counter(), count
    while left >= made.entries:
        sock.sendall(made.data)
        left -= made.entries
    if left:
        sock.sendall(b"".join(made.parts[: left // batch]))
    engine.wait(key, before + count)
    return time.perf_counter() - began


def _push_acked(
    sock: socket.socket, made: Wave, batch: int, count: int, engine: Engine, key: str, before: int
) -> float:
    reader, parts = Reader(sock), made.parts
    began = time.perf_counter()
    for number in range(count // batch):
        sock.sendall(parts[number % len(parts)])
        opcode, ids = reader.message()
        assert opcode == 1
        if number == 0:
            assert bytes(ids).count(b"-") == batch
    spent = time.perf_counter() - began
    engine.wait(key, before + count)
    return spent


def _check(engine: Engine, key: str, count: int, size: int) -> None:
    assert engine.added(key) == count, (engine.added(key), count)
    assert len(engine.last(key)) == size


def _forget(places: Places, server: Server, stream: str) -> None:
    places.engine.redis.delete(server.key(stream))
    if server is places.ours:
        places.engine.redis.hdel(server.prefix.rsplit("s/", 1)[0] + "made", stream)


def _fill(places: Places, server: Server, size: int, count: int) -> str:
    """A stream of *server* with so many entries."""
    stream = _name()
    sock = connect(server.port, f"/data/{stream}/push", server.token)
    made = wave(size, 1, stream=stream)
    _push_free(sock, made, 1, count, places.engine, server.key(stream), 0)
    sock.close()
    return stream


def _stock(size: int) -> int:
    """Entries that a stream holds for readers."""
    return min(KEEP, max(64, (256 << 20) // size))


def floor_pull(places: Places, size: int, at_once: int) -> float:
    """Entries a second of XREAD alone."""
    direct = Direct(places.engine)
    key = f"floor:{_name()}"
    count = _stock(size)
    try:
        direct.push(key, size, 1, count, ack=False)
        count = int(places.engine.redis.xlen(key))
        few = min(count, 200 * at_once if at_once == 1 else count)
        few = min(few, 4000) if at_once == 1 else few
        return few / direct.pull(key, few, at_once)
    finally:
        direct.close()
        places.engine.redis.delete(key)


def pull(places: Places, server: Server, size: int, at_once: int) -> float:
    """Entries a second that one reader gets from the beginning of a stream."""
    count = _stock(size)
    stream = _fill(places, server, size, count)
    try:
        if at_once == 1:
            count = min(count, 4000)
        path = f"/data/{stream}/pull?last_entry_id=0&count={at_once}"
        sock = connect(server.port, path, server.token)
        reader, read, most = Reader(sock), 0, 0
        began = time.perf_counter()
        while read < count:
            entries, _, body = reader.delivery()
            assert len(body) == entries * size
            read += entries
            most = max(most, entries)
        spent = time.perf_counter() - began
        assert most <= at_once
        sock.close()
        return read / spent
    finally:
        _forget(places, server, stream)


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
    """The same of XADD, and an XREAD that waits."""
    adding, reading = Direct(places.engine), Direct(places.engine)
    key, took, last = f"floor:{_name()}", list[float](), "0"
    command = encode("XADD", key, "MAXLEN", "~", KEEP, "*", "d", os.urandom(size))
    try:
        for _ in range(samples):
            reading.send(encode("XREAD", "COUNT", 1, "BLOCK", 5000, "STREAMS", key, last))
            time.sleep(0.0005)
            began = time.perf_counter()
            adding.send(command)
            ((_, entries),) = reading.replies(1)[0]  # pyright: ignore
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
        spent = _fan(server, path, sock, made, readers, few)
        count = int(min(KEEP * 0.9, max(few, few / spent * MEASURED_S)))
        spent = _fan(server, path, sock, made, readers, count)
        return count * readers / spent
    finally:
        sock.close()
        _forget(places, server, stream)


def _fan(
    server: Server, path: str, sock: socket.socket, made: Wave, readers: int, count: int
) -> float:
    asked = {
        "port": server.port, "path": path, "token": server.token, "readers": readers,
        "bytes": count * (len(made.last)),
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "measuring.streams.crowd", json.dumps(asked)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert process.stdout.readline().strip() == "ready"
        time.sleep(0.3)  # the servers see them
        began = time.monotonic()
        left = count
        while left:
            parts = made.parts[: min(left, len(made.parts))]
            sock.sendall(b"".join(parts))
            left -= len(parts)
        said = json.loads(process.stdout.readline() or "{}")
        return said["ended"] - began
    finally:
        process.kill()
        process.wait()


def idle_memory(server: Server, count: int) -> dict[str, Any]:
    """Bytes of the server for each of *count* sockets that wait."""
    asked = {
        "port": server.port, "path": f"/data/{_name()}/pull", "token": server.token,
        "readers": count, "bytes": 1,
    }  # fmt: skip
    before = _rss(server.pid)
    process = subprocess.Popen(
        [sys.executable, "-m", "measuring.streams.crowd", json.dumps(asked)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert process.stdout is not None
    try:
        began = time.monotonic()
        assert process.stdout.readline().strip() == "ready"
        opened = time.monotonic() - began
        time.sleep(1)
        return {"bytes": (_rss(server.pid) - before) / count, "opened_s": opened, "count": count}
    finally:
        process.kill()
        process.wait()


def _rss(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


