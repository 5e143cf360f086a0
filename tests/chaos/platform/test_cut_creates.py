"""A create that ``kill -9`` cuts off, asked for again by its key: one session, one instance."""

from __future__ import annotations

import random
import shutil
import sqlite3
import tempfile
import threading
import time
import urllib.error
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

BODY = {"application": "test-card"}
CUTS = 3
ENOUGH_S = 120


@pytest.fixture
def platform() -> Iterator[PlatformProcess]:
    """Instances wait for their platform as long as a busy machine needs to start it again."""
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    environment = {
        "DOWNSTAGE_MANAGER__ATTACH_DEADLINE": "120",
        "DOWNSTAGE_GATEWAY__CONNECT_LEASE": "3600",
    }
    try:
        with PlatformProcess(
            folder / "data", "--capacity", "4", environment=environment
        ) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def ask(platform: PlatformProcess, key: str) -> Any:
    """Ask for a session; None where the connection was cut."""
    try:
        return platform.call("POST", "/v1/sessions", BODY, headers={"Idempotency-Key": key})
    except (OSError, HTTPException, urllib.error.URLError):
        return None


def rows(platform: PlatformProcess, service: str, query: str) -> list[tuple[Any, ...]]:
    """What the database of *service* says."""
    path = next(platform.data.rglob(f"{service}.db"))
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return database.execute(query).fetchall()


def instances(platform: PlatformProcess) -> dict[str, list[str]]:
    """Session → how the instances stand that were ever made for it."""
    found = dict[str, list[str]]()
    for session_id, state in rows(platform, "manager", "SELECT session_id, state FROM instances"):
        found.setdefault(session_id, []).append(state)
    return found


def until(platform: PlatformProcess, session_id: str) -> str:
    """How the session stands once it is decided: ready, or ended."""
    end = time.monotonic() + ENOUGH_S
    while True:
        session = platform.call("GET", f"/v1/sessions/{session_id}").body
        if session["state"] not in ("queued", "starting"):
            return str(session["state"])
        assert time.monotonic() < end, session
        time.sleep(0.1)


def asked_in_time(platform: PlatformProcess, key: str) -> Any:
    """Ask of one that runs, which may be slow."""
    end = time.monotonic() + ENOUGH_S
    while (answer := ask(platform, key)) is None:
        assert time.monotonic() < end, platform.output()[-2000:]
    return answer


def repeated(platform: PlatformProcess, key: str) -> tuple[str, int]:
    """Ask again until there is a session that goes on, and how often there was none.

    One that had hardly begun may be told of before it is known that nothing came of it.
    """
    for number in range(3):
        again = asked_in_time(platform, key)
        assert again.status == 201, (again.status, again.body)
        session_id = str(again.body["id"])
        if until(platform, session_id) != "ended":
            assert asked_in_time(platform, key).body["id"] == session_id
            return session_id, number
    pytest.fail(f"nothing comes of {key}: {platform.output()[-2000:]}")


def cut(platform: PlatformProcess, key: str, seconds: float) -> None:
    """Ask, and kill the platform so many seconds later."""
    asking = threading.Thread(target=ask, args=(platform, key))
    asking.start()
    time.sleep(seconds)
    platform.kill()
    asking.join()


def test_S04_a_create_that_was_cut_off_is_made_once(platform: PlatformProcess) -> None:
    began = time.monotonic()
    first = ask(platform, "whole")
    took = time.monotonic() - began
    assert first.status == 201, first.body
    assert until(platform, first.body["id"]) == "ready"
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    asked = [str(first.body["id"])]
    print(f"seed {seed}; a create takes {took:.3f} s")
    for number in range(CUTS):
        key, seconds = f"cut-{number}", chance.uniform(0, 1.3 * took)
        cut(platform, key, seconds)
        platform.start()
        session_id, ended = repeated(platform, key)
        print(f"cut after {seconds:.3f} s, {ended} came to nothing")
        asked.append(session_id)
        until_live(platform, {asked[0]: 1, session_id: 1})
        until_keepers(platform, 2)
        tell(platform, f"/v1/sessions/{session_id}")
        platform.wait_state(session_id, "ended", deadline_s=ENOUGH_S)
    made = {row[0] for row in rows(platform, "gateway", "SELECT id FROM sessions")}
    assert made == set(asked), "one session for each key, and no other"
    assert until(platform, asked[0]) == "ready"
    until_keepers(platform, 1)


def until_live(platform: PlatformProcess, wanted: dict[str, int]) -> None:
    """Wait until so many instances of these sessions run, and none of others.

    Whether a session is ready is told by its streamer, before the manager has heard of it.
    """
    end = time.monotonic() + ENOUGH_S
    while True:
        found = {
            one: len([s for s in states if s != "ended"])
            for one, states in instances(platform).items()
        }
        if {one: count for one, count in found.items() if count} == wanted:
            return
        assert time.monotonic() < end, (found, wanted)
        time.sleep(0.1)


def until_keepers(platform: PlatformProcess, count: int) -> None:
    """Wait until so many instances run."""
    end = time.monotonic() + ENOUGH_S
    while sum("spawners.keeper" in c for c in platform.processes().values()) != count:
        assert time.monotonic() < end, platform.processes()
        time.sleep(0.1)


def test_S04_an_end_that_was_cut_off_is_an_end(platform: PlatformProcess) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    print(f"seed {seed}")
    stays = platform.create("test-card")
    for number in range(2):
        session = platform.create("test-card")
        path = f"/v1/sessions/{session['id']}"
        ending = threading.Thread(target=tell, args=(platform, path))
        ending.start()
        time.sleep(chance.uniform(0, 0.4))
        platform.kill()
        ending.join()
        platform.start()
        assert platform.call("DELETE", path).status == 202
        ended = platform.wait_state(session["id"], "ended", deadline_s=ENOUGH_S)
        assert ended["outcome"] == "stopped", (number, ended)
    assert platform.call("GET", f"/v1/sessions/{stays['id']}").body["state"] == "ready"
    until_live(platform, {stays["id"]: 1})
    until_keepers(platform, 1)


def tell(platform: PlatformProcess, path: str) -> None:
    """Ask for the end; whatever becomes of the connection."""
    with suppress(OSError, HTTPException, urllib.error.URLError):
        platform.call("DELETE", path)
