"""A full disk, no descriptors left: said clearly, nothing lost, over when there is room (S05)."""

from __future__ import annotations

import http.client
import json
import os
import resource
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from downstage.testing.platform import Answer, PlatformProcess

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

DISK = "96m"
BODY = {"application": "test-card"}
ENOUGH_S = 60
SPARE = 6
"""Descriptors that are left to the platform: for none of the starts that are asked for."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path, for unix sockets lie below it."""
    made = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system that can be filled."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(disk)], check=False
    )
    if mounted.returncode:
        pytest.skip("this machine mounts no tmpfs")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all the room there is."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            pass
        try:
            while True:
                file.write(b"x")
        except OSError:
            return ballast


def ask(platform: PlatformProcess) -> Answer:
    return platform.call("POST", "/v1/sessions", BODY)


def not_ended(platform: PlatformProcess) -> dict[str, str]:
    """Sessions that have not ended, and how they stand."""
    items = platform.call("GET", "/v1/sessions").body["items"]
    return {item["id"]: item["state"] for item in items if item["state"] != "ended"}


def keepers(platform: PlatformProcess) -> int:
    return sum("spawners.keeper" in command for command in platform.processes().values())


def until(is_so: Callable[[], object], what: str) -> None:
    end = time.monotonic() + ENOUGH_S
    while not is_so():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def agree(platform: PlatformProcess) -> None:
    """As many instances run as there are sessions."""
    until(lambda: keepers(platform) == len(not_ended(platform)), "counts do not agree")


def test_S05_a_full_disk_is_said_clearly_and_is_over_when_there_is_room(small_disk: Path) -> None:
    with PlatformProcess(small_disk / "d", "--capacity", "6") as platform:
        session = platform.create("test-card")
        ballast = fill(small_disk)
        said = list[tuple[int, Any]]()
        for _ in range(4):
            fill(small_disk)  # what was given back is taken again
            answer = ask(platform)
            said.append((answer.status, answer.body))
            if answer.status == 201:
                # Its row went where room was left in a file: the start is what fails, and says why.
                until(
                    lambda one=answer.body["id"]: one not in not_ended(platform),
                    "a session that cannot be started does not end",
                )
                body = platform.call("GET", f"/v1/sessions/{answer.body['id']}").body
                assert "space" in f"{body['reason']} {body['detail']}".lower(), body
            else:
                assert answer.status == 507, answer.body
                assert answer.body["code"] == "out-of-space"
                assert "disk is full" in answer.body["detail"]
        assert platform.call("GET", f"/v1/sessions/{session['id']}").body["state"] == "ready"
        assert platform.call("GET", "/healthcheck").status == 200
        for defect in ("request.crashed", "task.crashed", "--- Logging error ---"):
            assert defect not in platform.output(), said
        ballast.unlink()
        again = platform.create("test-card")
        until(lambda: len(not_ended(platform)) == 2, "what could not be started is still there")
        agree(platform)
        for one in (session, again):
            assert platform.call("DELETE", f"/v1/sessions/{one['id']}").status == 202
            platform.wait_state(one["id"], "ended")
        agree(platform)
        platform.stop()
        platform.start()
        assert not_ended(platform) == {}
        for one in (session, again):
            assert platform.call("GET", f"/v1/sessions/{one['id']}").body["outcome"] == "stopped"


def handles(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


class Kept:
    """A connection that stays, with which nothing new must be opened to ask."""

    def __init__(self, platform: PlatformProcess) -> None:
        self._token = platform.facts["token"]
        self._http = http.client.HTTPConnection(urlsplit(platform.url).netloc, timeout=30)
        assert self.call("GET", "/healthcheck")[0] == 200

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        headers = {
            "authorization": f"Bearer {self._token}",
            "content-type": "application/json",
        }
        data = json.dumps(body) if body is not None else None
        self._http.request(method, path, body=data, headers=headers)
        answer = self._http.getresponse()
        text = answer.read()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text

    def close(self) -> None:
        self._http.close()


def test_S05_without_descriptors_a_start_fails_with_the_reason_and_then_goes(folder: Path) -> None:
    with PlatformProcess(folder / "d", "--capacity", "6") as platform, ExitStack() as crowd:
        session = platform.create("test-card")
        kept = crowd.enter_context(closing(Kept(platform)))
        status, _ = kept.call("GET", f"/v1/sessions/{session['id']}")
        assert status == 200
        before = resource.prlimit(platform.pid, resource.RLIMIT_NOFILE)
        most = handles(platform.pid) + SPARE
        resource.prlimit(platform.pid, resource.RLIMIT_NOFILE, (most, before[1]))
        parts = urlsplit(platform.url)
        for _ in range(SPARE + 20):
            one = socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=10)
            crowd.enter_context(one)
        until(lambda: handles(platform.pid) >= most - 1, "the limit was not reached")
        told = list[tuple[int, Any]]()
        for _ in range(3):
            status, body = kept.call("POST", "/v1/sessions", BODY)
            told.append((status, body))
            if status == 201:
                until(
                    lambda one=body["id"]: (
                        kept.call("GET", f"/v1/sessions/{one}")[1]["state"] == "ended"
                    ),
                    "a session that cannot be started does not end",
                )
                found = kept.call("GET", f"/v1/sessions/{body['id']}")[1]
                assert "open files" in f"{found['detail']}", found
            else:
                assert status in (502, 503), told
                assert "open files" in body["detail"], told
        status, body = kept.call("GET", f"/v1/sessions/{session['id']}")
        assert (status, body["state"]) == (200, "ready")
        crowd.close()  # they go, and all is as it was
        until(lambda: handles(platform.pid) < most - SPARE, "connections are not closed")
        again = platform.create("test-card")
        until(lambda: set(not_ended(platform)) == {session["id"], again["id"]}, "one is left")
        agree(platform)
        resource.prlimit(platform.pid, resource.RLIMIT_NOFILE, before)
