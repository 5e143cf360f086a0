"""The engine: three flavours of one operation, stopping, shutting down, threads, forks."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from downstage import client
from downstage.client import Result, files
from downstage.client.client import Client, default_client
from downstage.kernel import errors

pytestmark = pytest.mark.unit

WAIT_S = 10.0
ENGINE_THREADS = {"downstage-client", "downstage-callbacks"}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    client.initialize()
    yield
    client.shutdown()
    default_client()._warned.clear()
    client.initialize()


class Gate:
    """An operation that waits until it is let go, and says how it ended."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.left = threading.Event()
        self.cancelled = False
        self._go: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, _: Any) -> str:
        self._go, self._loop = asyncio.Event(), asyncio.get_running_loop()
        self.entered.set()
        try:
            await self._go.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        finally:
            self.left.set()
        return "gone through"

    def open(self) -> None:
        assert self._loop is not None
        assert self._go is not None
        self._loop.call_soon_threadsafe(self._go.set)

    __name__ = "gate"


async def _nothing(_: Client) -> None:
    pass


def _through_the_loop() -> None:
    """Come back when the engine has done what it was asked for before."""
    default_client().run(_nothing)


def test_callbacks_run_on_one_thread_of_the_library(tmp_path: Path) -> None:
    seen, ended = set[threading.Thread](), threading.Semaphore(0)

    def callback(*_: Any) -> None:
        seen.add(threading.current_thread())
        ended.release()

    for number in range(20):
        client.stat_with_callback(str(tmp_path / str(number)), callback)
    for _ in range(20):
        assert ended.acquire(timeout=WAIT_S)
    assert [thread.name for thread in seen] == ["downstage-callbacks"]
    assert threading.current_thread() not in seen


def test_a_stopped_request_calls_back_no_more() -> None:
    gate, called = Gate(), list[Any]()
    request = default_client().start(gate, called.append)
    assert gate.entered.wait(WAIT_S)
    assert not request.is_finished()
    request.stop()
    request.stop()
    assert request.is_finished()
    assert gate.left.wait(WAIT_S)
    assert gate.cancelled
    _through_the_loop()  # whatever was queued before has run
    assert called == []


def test_stopped_between_the_answer_and_its_callback() -> None:
    """The race: the work is done, its callback waits behind another."""
    busy, called = threading.Event(), list[Any]()
    engine = default_client().engine
    _through_the_loop()
    engine.call_back(lambda: busy.wait(WAIT_S) or None)
    request = client.stat_with_callback("/", lambda *values: called.append(values))
    _through_the_loop()
    request.stop()
    busy.set()
    done = threading.Event()
    engine.call_back(done.set)
    assert done.wait(WAIT_S)
    assert called == []


def test_a_request_is_a_context_and_can_be_waited_for() -> None:
    gate = Gate()
    with default_client().start(gate, lambda _: None) as request:
        assert gate.entered.wait(WAIT_S)
        assert not request.wait(0.001)
        gate.open()
        assert request.wait(WAIT_S)
    assert "finished" in repr(request)


@pytest.mark.anyio
async def test_cancelling_the_task_stops_the_request() -> None:
    gate = Gate()
    task = asyncio.create_task(default_client().run_async(gate))
    await asyncio.to_thread(gate.entered.wait, WAIT_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(gate.left.wait, WAIT_S)
    assert gate.cancelled


def test_after_shutdown_nothing_is_called() -> None:
    called = list[Any]()
    gate = Gate()
    waiting = default_client().start(gate, called.append)
    assert gate.entered.wait(WAIT_S)
    client.shutdown()
    assert waiting.is_finished()
    late = client.stat_with_callback("/", lambda *values: called.append(values))
    assert late.id == 0
    assert late.is_finished()
    assert client.stat("/") == (Result.ERROR_CONNECTION, client.ListEntry())
    assert asyncio.run(client.stat_async("/"))[0] is Result.ERROR_CONNECTION
    client.shutdown()
    assert not [t for t in threading.enumerate() if t.name in ENGINE_THREADS]
    assert client.initialize()
    assert client.stat("/")[0] is Result.OK
    assert called == []


def test_whoever_waits_at_shutdown_is_let_go() -> None:
    gate, outcome = Gate(), list[Any]()

    def wait() -> None:
        try:
            default_client().run(gate)
        except errors.Unavailable as error:
            outcome.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert gate.entered.wait(WAIT_S)
    client.shutdown()
    thread.join(WAIT_S)
    assert not thread.is_alive()
    assert len(outcome) == 1


@pytest.mark.anyio
async def test_files_of_this_machine_need_no_other_loop(tmp_path: Path) -> None:
    """Neither threads nor a way there and back: it would cost ten times what the file does."""
    url = str(tmp_path / "x")
    assert await client.write_file_async(url, b"1") is Result.OK
    result, _, content = await client.read_file_async(url)
    assert (result, bytes(content)) == (Result.OK, b"1")
    assert (await asyncio.to_thread(client.list, str(tmp_path)))[1][0].url == f"file://{url}"
    assert await asyncio.to_thread(client.stat, f"{url}2") == (
        Result.ERROR_NOT_FOUND,
        client.ListEntry(),
    )
    assert (await client.read_file_async("/"))[0] is Result.ERROR_WRONG_TYPE
    assert not [t for t in threading.enumerate() if t.name in ENGINE_THREADS]
    heard = list[Any]()
    with client.register_file_status_callback(lambda *values: heard.append(values)):
        assert (await client.read_file_async(url))[0] is Result.OK
    assert [t for t in threading.enumerate() if t.name in ENGINE_THREADS]


@pytest.mark.anyio
async def test_a_blocking_call_inside_a_loop_warns_once_and_works() -> None:
    with pytest.warns(RuntimeWarning, match=r"stat\(\) blocks .* await stat_async\(\)") as caught:
        assert client.stat("/")[0] is Result.OK
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert client.stat("/")[0] is Result.OK
    with pytest.warns(RuntimeWarning, match=r"await list_async\(\)"):
        files.list("/")


def test_the_own_loop_is_never_waited_for() -> None:
    async def wrong(_: Client) -> None:
        client.stat("/")

    with pytest.raises(RuntimeError, match="own loop"):
        default_client().run(wrong)


def test_a_callback_may_call_and_block() -> None:
    ended, got = threading.Event(), list[Any]()

    def callback(*_: Any) -> None:
        got.append(client.stat("/")[0])
        ended.set()

    client.stat_with_callback("/", callback)
    assert ended.wait(WAIT_S)
    assert got == [Result.OK]


def test_a_callback_that_fails_harms_nobody() -> None:
    said, ended = list[str](), threading.Event()
    client.set_log_callback(lambda _thread, _part, _level, message: said.append(message))

    def wrong(*_: Any) -> None:
        raise ValueError("wrong")

    client.stat_with_callback("/", wrong)
    client.stat_with_callback("/", lambda *_: ended.set())
    assert ended.wait(WAIT_S)
    client.set_log_callback(None)
    assert said == ["client.callback_failed error=ValueError: wrong"]


def test_a_log_callback_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It runs in the midst of a connection's reader: whoever waits there would wait for ever."""

    def wrong(*_: Any) -> None:
        raise ValueError("wrong")

    client.set_log_callback(wrong)
    try:
        assert client.stat("data:,x")[0] is Result.ERROR_NOT_SUPPORTED
        assert client.write_file("/dev/full/x", b"1").is_ok is False
        from downstage.client.logs import log_error

        log_error("client.tried", ValueError("1"))
    finally:
        client.set_log_callback(None)
    assert "the log callback failed: ValueError" in caplog.text


def test_a_callback_comes_for_a_mistake_of_the_program_too() -> None:
    """There is nobody to raise it to, and somebody who waits."""
    got, ended = list[Any](), threading.Event()
    said = list[str]()

    def callback(*values: Any) -> None:
        got.append(values)
        ended.set()

    client.set_log_callback(lambda _thread, _part, _level, message: said.append(message))
    wrong: Any = "text"
    client.write_file_ex_with_callback("/tmp/x", wrong, callback)
    assert ended.wait(WAIT_S)
    client.set_log_callback(None)
    assert got == [(Result.ERROR, client.WriteFileExInfo())]
    assert "TypeError" in said[0]


def test_what_the_end_says_is_not_heard_by_the_next_start() -> None:
    heard = list[Any]()
    engine = default_client().engine
    _through_the_loop()

    async def closer() -> None:
        engine.call_back(lambda: heard.append("late"))

    engine.on_close(closer)
    busy, begun = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        busy.wait(WAIT_S)

    engine.call_back(hold)
    assert begun.wait(WAIT_S)
    engine.call_back(lambda: heard.append("waited"))
    threading.Timer(0.05, busy.set).start()
    client.shutdown()
    client.initialize()
    done = threading.Event()
    _through_the_loop()
    engine.call_back(done.set)
    assert done.wait(WAIT_S)
    assert heard == []


def test_mistakes_of_programs_are_raised() -> None:
    with pytest.raises(TypeError):
        client.write_file("/tmp/x", "text")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError):
        client.register_file_status_callback(3)  # pyright: ignore[reportArgumentType]


def test_many_threads_at_once(tmp_path: Path) -> None:
    """connect-samples #4: several threads crashed the library."""
    wrong = list[Any]()

    def work(number: int) -> None:
        for turn in range(20):
            url = str(tmp_path / f"{number}-{turn}")
            if client.write_file(url, f"{number}".encode()) is not Result.OK:
                wrong.append(url)
            result, _, content = client.read_file(url)
            if result is not Result.OK or bytes(content) != f"{number}".encode():
                wrong.append(url)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert wrong == []
    assert len(client.list(str(tmp_path))[1]) == 160


@pytest.mark.anyio
async def test_many_tasks_share_hops_to_threads(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    found = await asyncio.gather(*(client.stat_async(str(tmp_path / "a")) for _ in range(200)))
    assert {result for result, _ in found} == {Result.OK}


@pytest.mark.anyio
async def test_bases_belong_to_a_task(tmp_path: Path) -> None:
    """The trap: a stack for each thread is shared by all tasks of a loop."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(name)

    async def read(name: str) -> bytes:
        client.push_base_url(f"{tmp_path}/{name}/")
        await asyncio.sleep(0.001)
        assert client.get_base_url() == f"{tmp_path}/{name}/"
        _, _, content = await client.read_file_async("f")
        assert client.combine_with_base_url("x") == f"{tmp_path}/{name}/x"
        assert client.pop_base_url(f"{tmp_path}/{name}/")
        assert not client.pop_base_url("x")
        return bytes(content)

    assert await asyncio.gather(read("one"), read("two")) == [b"one", b"two"]
    assert client.get_base_url() == ""
    assert client.combine_with_base_url("x") == "x"


def test_aliases_stand_for_places(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    client.set_alias("assets://main", str(tmp_path))
    try:
        assert client.stat("assets://main/x")[0] is Result.OK
        assert client.stat("assets://main2/x")[0] is Result.ERROR_NOT_SUPPORTED
    finally:
        client.set_alias("assets://main", "")
    assert client.stat("assets://main/x")[0] is Result.ERROR_NOT_SUPPORTED


def test_a_child_process_begins_anew() -> None:
    """Neither threads nor locks of the parent are there after a fork."""
    code = """
import os, threading
from downstage import client
def heard(*_): pass
assert client.stat("/")[0] is client.Result.OK
kept = client.register_file_status_callback(heard)
async def nothing(_): pass
client.client.default_client().run(nothing)
pid = os.fork()
if pid == 0:
    ok = client.stat("/")[0] is client.Result.OK and client.list("/")[0] is client.Result.OK
    client.shutdown()
    os._exit(0 if ok else 1)
assert os.waitpid(pid, 0)[1] == 0
assert client.stat("/")[0] is client.Result.OK
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        timeout=30,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("waits_for", ["a server", "a person", "a name"])
def test_a_program_ends_though_something_goes_on(waits_for: str) -> None:
    """Threads of the loop's pool are waited for at the end of a program: none may hang there."""
    code = f"""
import socket, threading, time
from downstage import client
waits_for = {waits_for!r}
listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
reached = threading.Event()
def slow(*_, **__):
    reached.set()
    time.sleep(50)
if waits_for == "a person":
    kept = client.register_authorize_callback(slow)
elif waits_for == "a name":
    socket.getaddrinfo = slow
else:
    reached.set()
host = "name.invalid" if waits_for == "a name" else "127.0.0.1"
client.stat_with_callback(f"omniverse://{{host}}:{{port}}/x", print)
client.read_file_with_callback(f"http://{{host}}:{{port}}/x", print)
assert reached.wait(10)
"""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - began < 15


def test_it_works_for_a_user_without_a_home(tmp_path: Path) -> None:
    """As in a container with a user id that nobody named."""
    code = """
import pathlib
def home(): raise RuntimeError("Could not determine home directory.")
pathlib.Path.home = home
from downstage import client
assert client.stat("/")[0] is client.Result.OK
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    from downstage.client.cache import Cache

    (tmp_path / "file").write_bytes(b"")
    assert Cache(tmp_path / "file/cache", 1000).put("ab" * 32, b"1") is None


def test_it_is_imported_fast_and_alone() -> None:
    """What a program pays that only wants addresses: neither HTTP nor pydantic nor USD."""
    heavy = ["aiohttp", "pydantic", "obstore", "fsspec", "fastapi", "pxr", "structlog", "rich"]
    heavy += ["downstage.services", "watchfiles", "botocore"]
    code = f"import sys, downstage.client; print([n for n in {heavy!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "[]"


def test_progress_is_by_bytes(tmp_path: Path) -> None:
    data, heard = os.urandom(20_000_000), list[tuple[client.FileStatus, int]]()
    with client.register_file_status_callback(
        lambda _, what, percent: heard.append((what, percent))
    ):
        assert client.write_file(str(tmp_path / "x"), data) is Result.OK
        assert client.read_file(str(tmp_path / "x"))[2] == data
        deadline = time.monotonic() + WAIT_S
        while (client.FileStatus.READING, 100) not in heard and time.monotonic() < deadline:
            client.stat(str(tmp_path))
    for what in (client.FileStatus.WRITING, client.FileStatus.READING):
        percents = [percent for kind, percent in heard if kind is what]
        assert percents == sorted(percents)
        assert len(percents) > 4
    assert client.delete(str(tmp_path / "x")) is Result.OK


def test_exceptions_for_those_who_want_them(tmp_path: Path) -> None:
    url = str(tmp_path / "x")
    with pytest.raises(errors.NotFound):
        files.stat(url)
    files.write_file(url, b"12")
    assert files.stat(url).size == 2
    assert asyncio.run(files.read_file_async(url))[1] == b"12"
    assert "client" not in str(files.stat.__doc__)
    with files.progress():
        files.download(url, tmp_path / "y")
        files.upload(tmp_path / "y", str(tmp_path / "z"))
    assert (tmp_path / "z").read_bytes() == b"12"
