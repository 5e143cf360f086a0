"""The leak check sees threads, descriptors and child processes, and lets go what ends in time."""

from __future__ import annotations

import os
import subprocess
import threading

import pytest

from downstage.testing.leaks import Snapshot, leaks_since

pytestmark = pytest.mark.unit


def test_a_thread_is_a_leak_until_it_ends() -> None:
    before, release = Snapshot.take(), threading.Event()
    thread = threading.Thread(target=release.wait, name="lingerer")
    thread.start()
    try:
        assert leaks_since(before, patience_s=0) == ["thread lingerer"]
    finally:
        release.set()
        thread.join()
    assert leaks_since(before, patience_s=0) == []


def test_a_descriptor_is_a_leak_until_it_is_closed() -> None:
    before = Snapshot.take()
    ends = os.pipe()
    try:
        assert leaks_since(before, patience_s=0) == ["2 descriptor(s) of pipe"]
    finally:
        for end in ends:
            os.close(end)
    assert leaks_since(before, patience_s=0) == []


def test_a_process_and_its_own_child_are_leaks_until_they_end() -> None:
    before = Snapshot.take()
    with subprocess.Popen(["sh", "-c", "echo; sleep 60 & wait"], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = [line for line in leaks_since(before, patience_s=0) if line.startswith("process")]
        assert any(str(child.pid) in line for line in found)
        subprocess.run(["pkill", "-P", str(child.pid)], check=False)
        child.kill()
    assert leaks_since(before, patience_s=20) == []
