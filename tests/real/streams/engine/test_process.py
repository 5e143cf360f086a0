"""Our own engine as a process: closed, kept up, never left over, never shared."""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from downstage.kernel.errors import OutOfSpace, SetupError, StoreFull
from downstage.streams.engine import log_sync
from downstage.streams.engine.configuration import EngineOptions
from downstage.streams.engine.folder import EngineFolder
from downstage.streams.engine.process import EngineProcess
from downstage.streams.engine.replies import Refused
from downstage.streams.engine.resp import Lane, open_lane

pytestmark = [pytest.mark.real, pytest.mark.anyio]


@asynccontextmanager
async def running(
    folder: Path, options: EngineOptions | None = None
) -> AsyncGenerator[EngineProcess]:
    process = EngineProcess(folder, options)
    async with anyio.create_task_group() as tasks:
        await tasks.start(process.run)
        yield process
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def connected(process: EngineProcess) -> AsyncGenerator[Lane]:
    lane = await open_lane(process.address)
    try:
        yield lane
    finally:
        await lane.close()


async def until_started(process: EngineProcess, times: int) -> None:
    with anyio.fail_after(20):
        while process.starts < times or process.pid is None or not await process._listens():
            await anyio.sleep(0.01)


async def until_loaded(process: EngineProcess) -> Lane:
    with anyio.fail_after(20):
        while True:
            lane = await open_lane(process.address)
            if b"loading:0" in await lane.call("INFO", "persistence"):
                return lane
            await lane.close()
            await anyio.sleep(0.01)


def tcp_ports_of(pid: int) -> list[str]:
    """Local addresses of the listening TCP sockets that process *pid* has open."""
    inodes = set[str]()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        target = str(entry.readlink())
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found: list[str] = []
    for table in ("tcp", "tcp6"):
        rows = Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]
        fields = (row.split() for row in rows)
        found += [f[1] for f in fields if f[3] == "0A" and f[9] in inodes]
    return found


async def test_S09_our_engine_listens_on_no_port_and_lets_nobody_in(data: Path) -> None:
    async with running(data / "e") as process:
        assert process.pid is not None
        assert tcp_ports_of(process.pid) == []
        socket = Path(process.address.path)
        assert socket.stat().st_mode & 0o777 == 0o600
        assert (data / "e").stat().st_mode & 0o777 == 0o700
        reader, writer = await asyncio.open_unix_connection(process.address.path)
        writer.write(b"PING\r\n")
        assert (await reader.readline()).startswith(b"-NOAUTH")
        writer.close()
        await writer.wait_closed()


async def test_A16_the_password_is_in_one_private_file_alone(
    data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with running(data / "e") as process:
        secret = process.address.password
        assert len(secret) > 30
        for name in ("cmdline", "environ"):
            assert secret.encode() not in Path(f"/proc/{process.pid}/{name}").read_bytes()
        files = [path for path in (data / "e").rglob("*") if path.is_file()]
        assert [p.name for p in files if secret.encode() in p.read_bytes()] == ["access.json"]
        for name in ("access.json", "engine.conf", "engine.lock", "owner.lock"):
            assert (data / "e" / name).stat().st_mode & 0o777 == 0o600
        assert EngineFolder(data / "e").read_access() == process.address
        assert secret not in repr(process.address)
    out, err = capfd.readouterr()
    assert "engine.started" in out + err
    assert secret not in out + err


async def test_we_ourselves_may_do_nothing_dangerous(data: Path) -> None:
    async with running(data / "e") as process, connected(process) as lane:
        for command in (
            ("EVAL", "return 1", 0),
            ("FUNCTION", "LIST"),
            ("FLUSHALL",),
            ("KEYS", "*"),
            ("CONFIG", "SET", "dir", "/"),
            ("SHUTDOWN",),
            ("DEBUG", "SLEEP", 1),
            ("MODULE", "LOAD", "/x"),
            ("REPLICAOF", "h", 1),
            ("MONITOR",),
            ("ACL", "LIST"),
            ("PUBLISH", "c", "m"),
        ):
            with pytest.raises(Refused, match=r"NOPERM|not allowed"):
                await lane.call(*command)


async def test_what_the_store_needs_is_allowed(data: Path) -> None:
    async with running(data / "e") as process, connected(process) as lane:
        await lane.call("XADD", "k", "1-1", "d", b"\x00\r\n")
        assert await lane.call("XRANGE", "k", "-", "+") == [[b"1-1", [b"d", b"\x00\r\n"]]]
        for command in (
            ("CONFIG", "GET", "appendfsync"),
            ("CLIENT", "ID"),
            ("CLIENT", "UNBLOCK", 99),
            ("WAIT", 0, 1),
            ("XINFO", "STREAM", "k"),
            ("MEMORY", "USAGE", "k"),
            ("XTRIM", "k", "MAXLEN", 0),
            ("SCAN", 0),
            ("HSET", "h", "a", 1),
            ("DEL", "k"),
        ):
            await lane.call(*command)


async def test_a_killed_engine_is_started_again_with_what_it_answered(data: Path) -> None:
    async with running(data / "e") as process:
        async with connected(process) as lane:
            ids = [await lane.call("XADD", "k", "*", "d", "x") for _ in range(50)]
        assert process.pid is not None
        address = process.address
        os.kill(process.pid, signal.SIGKILL)
        await until_started(process, 2)
        assert process.address == address  # who is connected elsewhere comes back by himself
        lane = await until_loaded(process)
        assert [entry[0] for entry in await lane.call("XRANGE", "k", "-", "+")] == ids
        await lane.close()


async def test_a_log_that_ends_within_a_command_is_read(data: Path) -> None:
    async with running(data / "e") as process, connected(process) as lane:
        await lane.call("XADD", "k", "1-1", "d", "whole")
        await lane.call("XADD", "k", "2-1", "d", "whole")
    (log,) = (data / "e" / "log").glob("*.incr.aof")
    whole = log.read_bytes()
    log.write_bytes(whole[:-9])
    async with running(data / "e") as process:
        lane = await until_loaded(process)
        assert await lane.call("XLEN", "k") == 1
        await lane.close()


async def test_two_platforms_never_share_a_folder(data: Path) -> None:
    async with running(data / "e"):
        with pytest.raises(SetupError, match="Another platform"):
            await EngineProcess(data / "e").run()
    async with running(data / "e") as process:
        assert process.pid


PLATFORM = """
import anyio, sys
from pathlib import Path
from downstage.streams.engine.process import EngineProcess
from downstage.streams.engine.resp import open_lane
async def main():
    process = EngineProcess(Path(sys.argv[1]))
    async with anyio.create_task_group() as tasks:
        await tasks.start(process.run)
        lane = await open_lane(process.address)
        await lane.call("XADD", "k", "1-1", "d", "x")
        print(process.pid, flush=True)
        await anyio.sleep_forever()
anyio.run(main, backend_options={"use_uvloop": True})
"""


def start_platform(folder: Path) -> tuple[subprocess.Popen[str], int]:
    platform = subprocess.Popen(
        [sys.executable, "-c", PLATFORM, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert platform.stdout is not None
    for line in platform.stdout:
        if line.strip().isdigit():
            return platform, int(line)
    raise AssertionError("the platform said nothing")


def end(platform: subprocess.Popen[str]) -> None:
    platform.kill()
    platform.wait(10)
    assert platform.stdout is not None
    platform.stdout.close()


async def until_gone(pid: int) -> None:
    with anyio.fail_after(10):
        while Path(f"/proc/{pid}").exists():
            await anyio.sleep(0.01)


async def test_the_engine_ends_with_a_killed_platform(data: Path) -> None:
    platform, pid = await anyio.to_thread.run_sync(start_platform, data / "e")
    end(platform)
    await until_gone(pid)


async def test_an_engine_that_was_left_over_is_ended_and_its_log_read(data: Path) -> None:
    """It stands still, so it cannot follow its platform; the next one finds it by its lock."""
    platform, pid = await anyio.to_thread.run_sync(start_platform, data / "e")
    os.kill(pid, signal.SIGSTOP)
    end(platform)
    assert Path(f"/proc/{pid}").exists()
    async with running(data / "e") as process:
        assert not Path(f"/proc/{pid}").exists() or process.pid != pid
        lane = await until_loaded(process)
        assert await lane.call("XLEN", "k") == 1
        await lane.close()
    await until_gone(pid)


async def test_an_engine_that_does_not_hear_is_made_to_end(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("downstage.streams.engine.process.STOP_S", 0.1)
    async with running(data / "e") as process:
        pid = process.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
    await until_gone(pid)


async def test_whoever_holds_the_lock_of_an_engine_is_ended(data: Path) -> None:
    """As the process that rewrites the log of a killed engine does for a while."""
    (data / "e").mkdir()
    lock = os.open(data / "e" / "engine.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    holder = subprocess.Popen(["sleep", "1000"], pass_fds=(lock,))
    os.close(lock)
    try:
        async with running(data / "e") as process:
            assert process.pid
        assert await anyio.to_thread.run_sync(holder.wait, 10) == -signal.SIGTERM
    finally:
        holder.kill()
        holder.wait(10)


async def test_a_folder_with_a_long_name_uses_a_port_of_the_loopback(data: Path) -> None:
    folder = data / ("long" * 25)
    async with running(folder) as process, connected(process) as lane:
        assert process.address.path == ""
        assert process.address.is_local
        assert await lane.call("PING") == b"PONG"
        assert process.pid is not None
        assert [port[:8] for port in tcp_ports_of(process.pid)] == ["0100007F"]


async def test_a_folder_that_cannot_be_made_is_a_clear_error(data: Path) -> None:
    (data / "file").write_text("", "utf-8")
    with pytest.raises(SetupError, match="folder of streams"):
        await EngineProcess(data / "file" / "e").run()


async def test_an_engine_that_does_not_start_says_why(data: Path) -> None:
    with pytest.raises(SetupError, match=r"did not start: .*maxmemory"):
        await EngineProcess(data / "e", EngineOptions(memory_limit=-1)).run()


async def fill(lane: Lane) -> None:
    with anyio.fail_after(20):
        while True:  # an answer may be out before the next write of the log fails
            await lane.call("XADD", "k", "*", "d", bytes(1 << 20))


async def test_a_full_memory_refuses_writes_and_serves_reads(data: Path) -> None:
    options = EngineOptions(memory_limit=16 << 20)
    async with running(data / "e", options) as process, connected(process) as lane:
        with pytest.raises(StoreFull):
            await fill(lane)
        assert await lane.call("XLEN", "k") > 5
        await lane.call("XTRIM", "k", "MAXLEN", 1)
        await lane.call("XADD", "k", "*", "d", b"fits again")


async def test_a_full_disk_refuses_writes_and_serves_reads(data: Path) -> None:
    async with running(data / "e") as process, connected(process) as lane:
        await lane.call("XADD", "k", "*", "d", b"kept")
        assert process.pid is not None
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1 << 20, hard))
        with pytest.raises(OutOfSpace):
            await fill(lane)
        assert await lane.call("XLEN", "k") >= 1
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        with anyio.fail_after(20):
            while not await takes(lane):  # it tries again about once a second
                await anyio.sleep(0.05)


async def takes(lane: Lane) -> bool:
    try:
        await lane.call("XADD", "k", "*", "d", b"works again")
    except OutOfSpace:
        return False
    return True


async def test_a_durable_engine_with_a_full_disk_ends_rather_than_lies(data: Path) -> None:
    async with running(data / "e", EngineOptions("always")) as process:
        async with connected(process) as lane:
            assert process.pid is not None
            _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1024, hard))
            with pytest.raises(Exception, match="broke"):
                await lane.call("XADD", "k", "*", "d", bytes(1 << 20))
        with anyio.fail_after(10):
            while process.pid is not None:
                await anyio.sleep(0.001)
        assert process.is_disk_failing
        await until_started(process, 2)  # with limits of its own again
        assert not process.is_disk_failing


async def test_its_log_is_synced_by_us(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine writes before it answers and never syncs: no sync ever holds a write back."""
    monkeypatch.setattr(log_sync, "EVERY_S", 0.01)
    synced: list[str] = []
    real = os.fdatasync

    def sync(file: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{file}").readlink()))
        real(file)

    monkeypatch.setattr(os, "fdatasync", sync)
    async with running(data / "e") as process, connected(process) as lane:
        assert await lane.call("CONFIG", "GET", "appendfsync") == [b"appendfsync", b"no"]
        await lane.call("SET", "a", "b")
        log = data / "e" / "log" / "entries.1.incr.aof"
        assert b"SET" in log.read_bytes()
        with anyio.fail_after(10):
            while str(log) not in synced:
                await anyio.sleep(0.01)
