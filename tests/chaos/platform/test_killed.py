"""A keeper that is killed, a platform that is told to end: nothing new comes, nothing is left."""

from __future__ import annotations

import os
import signal
import threading
import time
import urllib.error
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any

import pytest

from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

Start = Callable[..., PlatformProcess]
GONE_S = 10
BODY = {"application": "test-card"}


def ask_once(platform: PlatformProcess, key: str) -> Any:
    """Ask for a session; whatever becomes of the connection."""
    try:
        return platform.call("POST", "/v1/sessions", BODY, headers={"Idempotency-Key": key})
    except (OSError, HTTPException, urllib.error.URLError):
        return None


def test_S04_a_keeper_that_dies_takes_its_session_with_it(start: Start) -> None:
    platform = start()
    session = platform.create("test-card")
    keepers = [p for p, c in platform.processes().items() if "spawners.keeper" in c]
    assert keepers
    for pid in keepers:
        os.kill(pid, signal.SIGKILL)
    ended = platform.wait_state(session["id"], "ended", deadline_s=GONE_S)
    assert (ended["outcome"], bool(ended["reason"])) == ("failed", True)
    assert platform.create("test-card"), "its place is free again"


def test_S08_told_to_end_it_takes_nothing_new_and_leaves_nothing(start: Start) -> None:
    platform = start("--capacity", "5")
    for _ in range(4):
        platform.create("test-card")
    told = threading.Event()
    made = list[int]()

    def go_on_asking() -> None:
        told.wait()
        for number in range(5):
            answer = ask_once(platform, f"late-{number}")
            made.append(answer.status if answer is not None else 0)

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(go_on_asking)
        process = platform._process
        assert process is not None
        os.kill(platform.pid, signal.SIGTERM)
        began = time.monotonic()
        time.sleep(0.3)
        told.set()
        assert process.wait(20) == 0
        took_s = time.monotonic() - began
        asking.result()
    assert took_s < 20
    assert not [status for status in made if status in (200, 201)], made
    assert not platform.processes()
