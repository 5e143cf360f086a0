"""Sessions counted: how fast they are made, queued, placed, and found again after a restart."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import aiohttp

from downstage.kernel.ids import new_id
from downstage.testing.platform import PlatformProcess
from measuring.paper import Notes, living_of, paper_platform

__all__ = ["create_on_paper", "create_real", "queue", "reconcile"]

CARD = {"application": "test-card", "display": {"width": 1280, "height": 720, "fps": 30}}
LOOK_S = 0.02
LONGEST_S = 300.0
LONGEST_RESTART_S = 1200.0


@asynccontextmanager
async def client(platform: PlatformProcess) -> AsyncGenerator[aiohttp.ClientSession]:
    """Signed in as the operator."""
    headers = {"authorization": f"Bearer {platform.facts['token']}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(platform.url, headers=headers, connector=connector) as found:
        yield found


async def create(http: aiohttp.ClientSession, **more: object) -> dict[str, Any]:
    """One session.

    Raises:
        RuntimeError: it was refused.
    """
    async with http.post("/v1/sessions", json={**CARD, **more}) as answer:
        body = await answer.json()
        if answer.status != 201:
            raise RuntimeError(f"{answer.status}: {body}")
        return body


async def end(http: aiohttp.ClientSession, session_id: str) -> None:
    """Ask for its end."""
    async with http.delete(f"/v1/sessions/{session_id}") as answer:
        await answer.read()


async def _storm(
    http: aiohttp.ClientSession, count: int, at_once: int
) -> tuple[list[str], float, list[float]]:
    """Ids, seconds for all, milliseconds of each."""
    left, made, took = count, list[str](), list[float]()

    async def work() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            began = time.perf_counter()
            made.append((await create(http))["id"])
            took.append((time.perf_counter() - began) * 1000)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(work())
    return made, time.perf_counter() - began, took


def _speed(count: int, seconds: float, took: list[float]) -> dict[str, Any]:
    ordered = sorted(took)
    return {
        "sessions": count,
        "creates_s": round(count / seconds, 1),
        "p50_ms": round(statistics.median(ordered), 1),
        "p95_ms": round(ordered[int(0.95 * (len(ordered) - 1))], 1),
    }


async def create_on_paper(count: int, at_once: tuple[int, ...]) -> list[dict[str, Any]]:
    """Creates a second through the API where starting costs nothing."""
    rows = list[dict[str, Any]]()
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        paper_platform(Path(folder) / "data", capacity=100_000) as platform,
    ):
        async with client(platform) as http:
            await _storm(http, 20, 2)
            for number in at_once:
                _, seconds, took = await _storm(http, count, number)
                rows.append({"at_once": number, **_speed(count, seconds, took)})
    return rows


async def create_real(count: int, at_once: int) -> dict[str, Any]:
    """The same with the machine's own processes: accepted, and all of them with a picture."""
    with tempfile.TemporaryDirectory(prefix="ds-") as folder:
        environment = {
            "DOWNSTAGE_MANAGER__CAPACITY": str(count),
            "DOWNSTAGE_MANAGER__CPUS": "1000",
            "DOWNSTAGE_MEDIA__AUDIO": "false",
        }
        with PlatformProcess(Path(folder) / "data", environment=environment) as platform:
            async with client(platform) as http:
                began = time.perf_counter()
                made, seconds, took = await _storm(http, count, at_once)
                while not await _all_are_ready(http, set(made)):
                    if time.perf_counter() - began > LONGEST_S:
                        raise RuntimeError("not all sessions got ready")
                    await asyncio.sleep(0.05)
                ready = time.perf_counter() - began
                for session_id in made:
                    await end(http, session_id)
    return {
        "at_once": at_once,
        **_speed(count, seconds, took),
        "all_ready_s": round(ready, 1),
        "ready_per_s": round(count / ready, 2),
    }


async def _all_are_ready(http: aiohttp.ClientSession, wanted: set[str]) -> bool:
    async with http.get("/v1/sessions") as answer:
        items = (await answer.json())["items"]
    states = {item["id"]: item["state"] for item in items if item["id"] in wanted}
    if "ended" in states.values():
        raise RuntimeError(f"a session ended: {items}")
    return set(states.values()) == {"ready"}


# The queue


async def queue(capacity: int, times: int = 10, length_s: float = 1.0) -> dict[str, Any]:
    """*times* as many sessions as places, each ended *length_s* after it has begun.

    Returns:
        How long it took until all had a place, beside the least that it can take, and whether
        they came in the order in which they had asked.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        data = Path(folder) / "data"
        settings = {"DOWNSTAGE_GATEWAY__QUEUE_LENGTH": str(capacity * times)}
        with paper_platform(data, capacity=capacity, settings=settings) as platform:
            async with client(platform) as http:
                return await _queue(http, Notes(data), capacity, times, length_s)


async def _queue(
    http: aiohttp.ClientSession, notes: Notes, capacity: int, times: int, length_s: float
) -> dict[str, Any]:
    asked, started, ended = list[str](), list[tuple[str, float]](), list[float]()
    count, began = capacity * times, time.time()
    async with asyncio.TaskGroup() as tasks:
        ending = tasks.create_task(_end_each(http, notes, (started, ended), count, length_s))
        for _ in range(count):
            asked.append((await create(http, wait=True))["id"])
        asked_s = time.time() - began
        await ending
    order = [session_id for session_id, _ in started]
    least = (times - 1) * length_s
    took = started[-1][1] - began
    refills = sorted(refill_ms([at for _, at in started], ended, capacity))
    return {
        "places": capacity,
        "sessions": count,
        "asked_within_s": round(asked_s, 2),
        "all_placed_s": round(took, 2),
        "least_s": least,
        "ratio": round(took / least, 2),
        "refill_ms_p50": refills[len(refills) // 2],
        "refill_ms_p95": refills[int(0.95 * (len(refills) - 1))],
        "out_of_order": sum(a != b for a, b in zip(asked, order, strict=True)),
        "furthest_from_its_turn": furthest(asked, order),
    }


def furthest(asked: list[str], served: list[str]) -> int:
    """By how many places the worst one was served before or after its turn."""
    place = {name: number for number, name in enumerate(asked)}
    return max(abs(place[name] - number) for number, name in enumerate(served))


def refill_ms(started: list[float], ended: list[float], capacity: int) -> list[int]:
    """Milliseconds that each freed place stood empty: the n-th end frees it for the n-th wait."""
    pairs = zip(started[capacity:], ended, strict=False)
    return [max(0, round((begun - end) * 1000)) for begun, end in pairs]


async def _end_each(
    http: aiohttp.ClientSession,
    notes: Notes,
    seen: tuple[list[tuple[str, float]], list[float]],
    count: int,
    length_s: float,
) -> None:
    (started, ended), deadline = seen, time.monotonic() + LONGEST_S

    async def after(session_id: str, at: float) -> None:
        await asyncio.sleep(max(0.0, at + length_s - time.time()))
        await end(http, session_id)

    async with asyncio.TaskGroup() as tasks:
        while len(started) < count:
            for note in notes.new():
                if note["what"] == "start":
                    started.append((note["session"], note["at"]))
                    tasks.create_task(after(note["session"], note["at"]))
                elif note["what"] == "end":
                    ended.append(note["at"])
            if time.monotonic() > deadline:
                raise RuntimeError(f"only {len(started)} of {count} got a place")
            await asyncio.sleep(LOOK_S)


# After a restart


def reconcile(count: int) -> dict[str, Any]:
    """Kill a platform with *count* sessions, lose some instances, and time until counts agree.

    A hundredth of the instances is gone when it comes back, and half as many run that nobody
    knows: those sessions must end, and those instances, too.
    """
    lost, strays = count // 100, count // 200
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        data = Path(folder) / "data"
        platform = paper_platform(data, capacity=2 * count)
        platform.start()
        began = time.monotonic()
        made = platform.call("POST", "/v1/sessions", CARD)
        asyncio.run(_be_watched(data, made.body["id"], platform))
        platform.kill()
        instances = _multiply(data, made.body["id"], count)
        made_s = time.monotonic() - began
        stray = [new_id("i") for _ in range(strays)]
        living_of(data).write_text(json.dumps([*instances[lost:], *stray]))
        notes = Notes(data)
        notes.new()
        began = time.monotonic()
        try:
            platform.start()
            up_s = time.monotonic() - began
            agreed_s, swept_s = _agree(data, count - lost, notes, set(stray), began)
            slowest = _ask(platform)
        finally:
            platform.kill()
    return {
        "sessions": count,
        "instances_lost": lost,
        "strays": strays,
        "made_in_s": round(made_s, 1),
        "answers_after_s": round(up_s, 2),
        "counts_agree_after_s": round(agreed_s, 2),
        "after_it_answers_s": round(max(0.0, agreed_s - up_s), 2),
        "strays_ended_after_s": round(swept_s, 2),
        "list_ms_then": slowest,
    }


def _ask(platform: PlatformProcess) -> float:
    began = time.perf_counter()
    platform.call("GET", "/v1/sessions")
    return round((time.perf_counter() - began) * 1000, 1)


async def _be_watched(data: Path, session_id: str, platform: PlatformProcess) -> None:
    """Play the streamer of the one session until somebody watches it, as of most that run."""
    (begun,) = (note for note in Notes(data).new() if note["what"] == "start")
    connector = aiohttp.UnixConnector(str(data / "run" / "platform.sock"))
    named = {"instance_id": begun["instance"], "session_id": session_id}
    picture = {"width": 1280, "height": 720, "encoder": "x264", "audio": False}
    async with (
        client(platform) as http,
        aiohttp.ClientSession(connector=connector) as unix,
        unix.ws_connect(
            f"http://gateway/v1/instances/{begun['instance']}/link",
            headers={"authorization": f"Bearer {begun['token']}"},
        ) as link,
    ):
        await link.send_json({"type": "hello", **named, "peers": ["viewer.one"]})
        await link.send_json({"type": "ready", **picture})
        await link.send_json({"type": "peer.connected", "peer": "viewer.one"})
        deadline = time.monotonic() + LONGEST_S
        while await _state(http, session_id) != "active":
            if time.monotonic() > deadline:
                raise RuntimeError("the session was never watched")
            await asyncio.sleep(LOOK_S)


async def _state(http: aiohttp.ClientSession, session_id: str) -> str:
    async with http.get(f"/v1/sessions/{session_id}") as answer:
        return str((await answer.json())["state"])


def _multiply(data: Path, session_id: str, count: int) -> list[str]:
    """Copy the one session and its instance until there are *count*; ids of the instances."""
    sessions, instances = _databases(data)
    ids = [new_id("i") for _ in range(count - 1)]
    session_ids = [str(uuid.uuid4()) for _ in ids]
    with closing(sqlite3.connect(sessions)) as file, file:
        file.row_factory = sqlite3.Row
        row = dict(file.execute("SELECT * FROM sessions WHERE id = ?", [session_id]).fetchone())
        first = str(row["instance_id"])
        copies = [
            {**row, "id": session, "instance_id": instance}
            for session, instance in zip(session_ids, ids, strict=True)
        ]
        _insert(file, "sessions", copies)
    with closing(sqlite3.connect(instances)) as file, file:
        file.row_factory = sqlite3.Row
        row = dict(file.execute("SELECT * FROM instances WHERE id = ?", [first]).fetchone())
        copies = [
            {
                **row,
                "id": instance,
                "runs_as": instance,
                "session_id": session,
                "media_socket": row["media_socket"].replace(first, instance),
            }
            for session, instance in zip(session_ids, ids, strict=True)
        ]
        _insert(file, "instances", copies)
    return [first, *ids]


def _insert(file: sqlite3.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    names = list(rows[0])
    columns = ", ".join(f'"{name}"' for name in names)
    marks = ", ".join("?" for _ in names)
    file.executemany(
        f"INSERT INTO {table} ({columns}) VALUES ({marks})", [list(row.values()) for row in rows]
    )


def _databases(data: Path) -> tuple[Path, Path]:
    return data / "gateway.db", data / "manager.db"


def _agree(
    data: Path, wanted: int, notes: Notes, stray: set[str], began: float
) -> tuple[float, float]:
    """Seconds until both databases count *wanted*, and until no stray instance runs."""
    left, agreed = set(stray), None
    while (passed := time.monotonic() - began) < LONGEST_RESTART_S:
        left -= {note["instance"] for note in notes.new() if note["what"] in ("clean", "end")}
        counts = [
            _living(path, table)
            for path, table in zip(_databases(data), ("sessions", "instances"), strict=True)
        ]
        if agreed is None and counts == [wanted, wanted]:
            agreed = passed
        if agreed is not None and not left:
            return agreed, passed
        time.sleep(0.1)
    raise RuntimeError(f"counts never agreed: {counts}, wanted {wanted}, strays {len(left)}")


def _living(path: Path, table: str) -> int | None:
    """Rows that have not ended; None: the file is locked just now."""
    asked = f"SELECT count(*) FROM {table} WHERE state <> 'ended'"
    with (
        suppress(sqlite3.OperationalError),
        closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file,
    ):
        return int(file.execute(asked).fetchone()[0])
    return None
