"""Several who serve one name: they share the work, and one may die."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from downstage.services.errors import (
    ServiceTimeoutError,
    ServiceUnavailableError,
)
from downstage.services.transports import create
from downstage.testing.nats import NatsServer

from .nats_probe import app, closed, get, nats_server, outside

__all__ = ["app", "closed", "nats_server", "outside"]  # fixtures

pytestmark = [pytest.mark.contract, pytest.mark.anyio]

REPLICA = Path(__file__).parent / "programs" / "nats_replica.py"


@contextmanager
def replica(uri: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, str(REPLICA), uri],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait(5)
        process.stdout.close()


def wait_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert any(line == "ready\n" for line in process.stdout), "it did not start"


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
async def test_replicas_share_the_work_and_one_may_die(
    nats_server: NatsServer, end: signal.Signals
) -> None:
    uri = f"{nats_server.url}/twins-{end.name}"
    transport = create(uri)
    with replica(uri) as first, replica(uri) as second:
        for process in (first, second):
            await anyio.to_thread.run_sync(wait_ready, process)
        pids = [int((await transport.request(get("/x"))).body) for _ in range(60)]
        assert {first.pid, second.pid} == set(pids)
        assert min(pids.count(first.pid), pids.count(second.pid)) >= 10
        outcomes = list[str]()

        async def one() -> None:
            try:
                await transport.request(get("/never", timeout_s=50))
            except ServiceTimeoutError:
                outcomes.append("late")
            except ServiceUnavailableError:
                outcomes.append("unavailable")

        async with anyio.create_task_group() as tasks:
            for _ in range(16):
                tasks.start_soon(one)
            shares = dict.fromkeys((first.pid, second.pid), 0)
            with anyio.fail_after(20):
                while sum(shares.values()) < 16:
                    said = (await transport.request(get("/taken"))).body.split()
                    shares[int(said[0])] = int(said[1])
            first.send_signal(end)
            with anyio.fail_after(20):
                while len(outcomes) < shares[first.pid]:
                    await anyio.sleep(0.05)
            await anyio.sleep(0.3)
            assert len(outcomes) == shares[first.pid], "the other's calls go on"
            assert set(outcomes) == {"unavailable"}
            if end is signal.SIGKILL:
                pids = [int((await transport.request(get("/x"))).body) for _ in range(10)]
                assert set(pids) == {second.pid}
            tasks.cancel_scope.cancel()
