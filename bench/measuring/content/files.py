"""Bytes up and down over HTTP, beside nginx."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from typing import Any

from measuring.content.places import Places, row

__all__ = ["measure_large", "measure_small"]

SMALL = 4096
AT_ONCE = 16
EACH = 320
LARGE = 256 * 1024 * 1024
PIECE = 256 * 1024


async def measure_small(places: Places, rounds: int) -> list[dict[str, Any]]:
    """4 KB files, one after another and 16 at once."""
    if not places.nginx:
        raise SystemExit("nginx is needed beside which to measure: apt install nginx-light")
    body = os.urandom(SMALL)
    rows = list[dict[str, Any]]()
    for at_once, put_goal in ((1, 0.5), (AT_ONCE, 1.0)):
        found: dict[str, list[float]] = {key: [] for key in ("put", "get", "nput", "nget")}
        for number in range(rounds):
            for server, key in _in_turn(places, number):
                prefix = "" if server is places.url else "n"
                run = f"{at_once}-{number}"
                found[f"{prefix}put"].append(
                    await _many(
                        places, server, key, method="PUT", run=run, body=body, at_once=at_once
                    )
                )
                found[f"{prefix}get"].append(
                    await _many(
                        places, server, key, method="GET", run=run, body=body, at_once=at_once
                    )
                )
        title = f"{at_once} in flight"
        rows.append(
            row(
                f"PUT 4 KB, {title} (durable)",
                "nginx, not durable",
                found["put"],
                found["nput"],
                "/s",
                goal=put_goal,
            )
        )
        rows.append(
            row(f"GET 4 KB, {title}", "nginx", found["get"], found["nget"], "/s", goal=None)
        )
    return rows


async def measure_large(places: Places, rounds: int) -> list[dict[str, Any]]:
    """256 MB up and down, one stream."""
    found: dict[str, list[float]] = {key: [] for key in ("put", "get", "nput", "nget")}
    piece = os.urandom(PIECE)
    for number in range(max(3, rounds // 2)):
        for server, key in _in_turn(places, number):
            prefix = "" if server is places.url else "n"
            # Other bytes each time: the same ones are stored once, which would be no measure.
            first = os.urandom(16)
            found[f"{prefix}put"].append(
                await _put_large(places, f"{server}{key}/large{number}", server, piece, first)
            )
            found[f"{prefix}get"].append(
                await _get_large(places, f"{server}{key}/large{number}", server)
            )
            async with places.http.delete(
                f"{server}{key}/large{number}", headers=_headers(places, server)
            ) as answer:
                await answer.read()
    return [
        row(
            "PUT 256 MB (durable, hashed)",
            "nginx, neither",
            found["put"],
            found["nput"],
            "MB/s",
            goal=0.8,
        ),
        row("GET 256 MB", "nginx", found["get"], found["nget"], "MB/s", goal=1.0),
    ]


def _in_turn(places: Places, number: int) -> list[tuple[str, str]]:
    """Both servers and the path below which files are put; who is first takes turns."""
    both = [(places.url, "/v1/files/bench"), (places.nginx, "/bench")]
    return both if number % 2 == 0 else both[::-1]


def _headers(places: Places, server: str) -> dict[str, str]:
    return places.ours if server is places.url else {}


async def _many(
    places: Places, server: str, key: str, *, method: str, run: str, body: bytes, at_once: int
) -> float:
    """Requests a second."""
    headers = _headers(places, server)
    count = EACH if at_once > 1 else EACH // 2
    waiting = iter(range(count))
    data = body if method == "PUT" else None

    async def work() -> None:
        for number in waiting:
            url = f"{server}{key}/{run}/f{number}"
            async with places.http.request(method, url, data=data, headers=headers) as answer:
                await answer.read()
                assert answer.status in (200, 201, 204), answer.status

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(at_once)))
    return count / (time.perf_counter() - began)


async def _put_large(places: Places, url: str, server: str, piece: bytes, first: bytes) -> float:
    async def body() -> AsyncIterator[bytes]:
        yield first + piece[len(first) :]
        for _ in range(LARGE // PIECE - 1):
            yield piece

    headers = {**_headers(places, server), "Content-Length": str(LARGE)}
    began = time.perf_counter()
    async with places.http.put(url, data=body(), headers=headers) as answer:
        await answer.read()
        assert answer.status in (200, 201, 204), await answer.text()
    return LARGE / 1e6 / (time.perf_counter() - began)


async def _get_large(places: Places, url: str, server: str) -> float:
    began, count = time.perf_counter(), 0
    async with places.http.get(url, headers=_headers(places, server)) as answer:
        async for piece in answer.content.iter_any():
            count += len(piece)
    assert count == LARGE, count
    return LARGE / 1e6 / (time.perf_counter() - began)
