"""Files of this machine: what a disk has that a server has not."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from downstage import client
from downstage.client import ListEvent, Result
from downstage.client.client import default_client
from downstage.client.providers import disk
from downstage.kernel import errors

pytestmark = pytest.mark.unit

WAIT_S = 20.0


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    client.initialize()
    yield
    client.shutdown()
    client.initialize()


async def _nothing(_: Any) -> None:
    """Through the client's loop and back."""


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff")).write_bytes(b"1")
    result, entries = client.list(str(tmp_path))
    assert result is Result.OK
    assert entries[0].url.endswith("/a%FF")
    assert bytes(client.read_file(entries[0].url)[2]) == b"1"


@pytest.mark.parametrize("url", ["C:\\a", "\\\\srv\\a", "file://elsewhere/a", "file:///a%00b", ""])
def test_addresses_that_name_nothing_here(url: str) -> None:
    assert client.stat(url)[0] is Result.ERROR_BAD_REQUEST


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert client.write_file("a#b", b"1") is Result.OK
    assert (tmp_path / "a#b").exists()


def test_pipes_and_devices_are_not_read(tmp_path: Path) -> None:
    """C02: a pipe in a folder must not hold a reader for ever."""
    os.mkfifo(tmp_path / "pipe")
    assert client.read_file(str(tmp_path / "pipe"))[0] is Result.ERROR_WRONG_TYPE
    assert client.read_file("/dev/zero")[0] is Result.ERROR_WRONG_TYPE
    assert client.copy(str(tmp_path / "pipe"), str(tmp_path / "x")) is Result.ERROR_WRONG_TYPE
    result, entries = client.list(str(tmp_path))
    assert (result, entries[0].flags) == (Result.OK, client.ItemFlags(0))


def test_links(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"1")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "nowhere").symlink_to("none")
    (tmp_path / "circle").symlink_to("circle")
    assert client.write_file(str(tmp_path / "link"), b"22") is Result.OK
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"22"
    assert (
        client.copy(str(tmp_path / "link"), str(tmp_path / "real")) is Result.ERROR_SOURCE_IS_DEST
    )
    assert len(client.list(str(tmp_path))[1]) == 4
    assert client.stat(str(tmp_path / "circle"))[0] is Result.ERROR_NOT_FOUND
    assert client.delete(str(tmp_path / "nowhere")) is Result.OK
    (tmp_path / "d").mkdir()
    (tmp_path / "d/out").symlink_to(tmp_path)
    assert client.copy(str(tmp_path / "d"), str(tmp_path / "e")) is Result.OK
    assert (tmp_path / "e/out").is_symlink()
    assert client.delete(str(tmp_path / "d")) is Result.OK
    assert (tmp_path / "real").exists()


def test_a_write_is_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    path.chmod(0o640)

    async def broken() -> Any:
        yield b"half"
        raise ConnectionError("cut")

    async def work(the_client: Any) -> None:
        from downstage.client.providers.provider import Outgoing, no_progress

        place = the_client.place(str(path))
        provider = await the_client.provider(place)
        await provider.write(place, Outgoing(pieces=broken()), "", no_progress)

    with pytest.raises(ConnectionError):
        default_client().run(work)
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["x"]
    assert client.write_file(str(path), b"new") is Result.OK
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_target_that_comes_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    """The race: it was not there when somebody looked, and is when the copy is put in place."""
    path = tmp_path / "x"

    def write() -> None:
        with disk.os_errors(), disk.replaced(str(path), overwrite=False) as handle:
            os.write(handle, b"ours")
            path.write_bytes(b"theirs")

    with pytest.raises(errors.AlreadyExists):
        write()
    assert path.read_bytes() == b"theirs"
    assert [found.name for found in tmp_path.iterdir()] == ["x"]


def test_the_root_stays() -> None:
    assert client.delete("/") is Result.ERROR_ACCESS_DENIED


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert client.read_file(str(tmp_path))[0] is Result.ERROR_WRONG_TYPE
    assert client.write_file(str(tmp_path), b"x") is Result.ERROR_WRONG_TYPE


def test_two_folders_become_one(tmp_path: Path) -> None:
    for path in ("a/x", "b/x", "b/y"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(path)
    overwrite = client.CopyBehavior.OVERWRITE
    moved = client.move(str(tmp_path / "a"), str(tmp_path / "b"), overwrite)
    assert moved == (Result.OK, True)
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "b/x").read_text() == "a/x"
    assert (tmp_path / "b/y").read_text() == "b/y"


class Heard:
    """Collects events, and waits for some."""

    def __init__(self) -> None:
        self.first: list[Any] = []
        self.events: list[tuple[Result, ListEvent, str]] = []
        self._changed = threading.Condition()

    def begin(self, *values: Any) -> None:
        with self._changed:
            self.first.append(values)
            self._changed.notify_all()

    def event(self, result: Result, event: ListEvent, entry: client.ListEntry) -> None:
        with self._changed:
            self.events.append((result, event, entry.relative_path))
            self._changed.notify_all()

    def wait(self, what: Any) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: what(self), WAIT_S), (self.first, self.events)


def test_watching_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    heard = Heard()
    with client.list_subscribe_with_callback(str(tmp_path), heard.begin, heard.event) as request:
        heard.wait(lambda h: h.first)
        assert [entry.relative_path for entry in heard.first[0][1]] == ["a"]
        (tmp_path / "b").write_bytes(b"2")
        heard.wait(lambda h: (Result.OK, ListEvent.CREATED, "b") in h.events)
        assert client.write_file(str(tmp_path / "a"), b"333") is Result.OK
        heard.wait(lambda h: (Result.OK, ListEvent.UPDATED, "a") in h.events)
        (tmp_path / "b").unlink()
        heard.wait(lambda h: (Result.OK, ListEvent.DELETED, "b") in h.events)
        assert not request.is_finished()
    count = len(heard.events)
    (tmp_path / "c").write_bytes(b"2")
    default_client().run(_nothing)
    assert len(heard.events) == count


def test_watching_what_is_not_there_yet(tmp_path: Path) -> None:
    heard = Heard()
    url = str(tmp_path / "later")
    with client.stat_subscribe_with_callback(url, heard.begin, heard.event):
        heard.wait(lambda h: h.first)
        assert heard.first[0][0] is Result.OK_NOT_YET_FOUND
        (tmp_path / "later").write_bytes(b"1")
        heard.wait(lambda h: (Result.OK, ListEvent.CREATED, "later") in h.events)


def test_watching_a_folder_that_goes(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    heard = Heard()
    with client.list_subscribe_with_callback(str(tmp_path / "d"), heard.begin, heard.event):
        heard.wait(lambda h: h.first)
        (tmp_path / "d").rmdir()
        heard.wait(lambda h: h.events)
        assert heard.events[-1][0] is Result.ERROR_ACCESS_LOST


def test_watching_nothing(tmp_path: Path) -> None:
    heard = Heard()
    client.list_subscribe_with_callback(str(tmp_path / "none"), heard.begin, heard.event)
    heard.wait(lambda h: h.first)
    assert heard.first == [(Result.ERROR_NOT_FOUND, ())]
    client.list_subscribe_with_callback("data:,x", heard.begin, heard.event)
    heard.wait(lambda h: h.events)
    assert heard.events[0][0] is Result.ERROR_NOT_SUPPORTED


def test_resolving_and_watching(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    first, events = list[Any](), list[Any]()
    ended = threading.Event()

    def event(*values: Any) -> None:
        events.append(values)
        ended.set()

    def begin(*values: Any) -> None:
        first.append(values)

    base = f"file://{tmp_path}/"
    with client.resolve_subscribe_with_callback("x", [base], begin, event):
        heard = Heard()
        with client.stat_subscribe_with_callback(f"{base}x", heard.begin, heard.event):
            heard.wait(lambda h: h.first)
            assert client.write_file(f"{base}x", b"more") is Result.OK
            assert ended.wait(WAIT_S)
    assert first[0][0] is Result.OK
    assert first[0][2] == f"{base}x"
    assert events[0][3] == f"{base}x"


@pytest.mark.parametrize("name", ["日" * 85, "x" * 255, "ü" * 127])
def test_the_longest_names(tmp_path: Path, name: str) -> None:
    """A hidden part bears more than the name, and must not be too long for it."""
    url = str(tmp_path / name)
    assert client.write_file(url, b"1") is Result.OK
    assert client.copy(url, url, client.CopyBehavior.OVERWRITE) is Result.ERROR_SOURCE_IS_DEST
    assert [found.name for found in tmp_path.iterdir()] == [name]


def test_C02_no_file_replaces_a_pipe_or_a_device(tmp_path: Path) -> None:
    """As root, writing to /dev/null must not make a file of it."""
    pipe, file = tmp_path / "pipe", tmp_path / "x"
    os.mkfifo(pipe)
    file.write_bytes(b"1")
    (tmp_path / "link").symlink_to("pipe")
    overwrite = client.CopyBehavior.OVERWRITE
    for target in (str(pipe), str(tmp_path / "link")):
        assert client.write_file(target, b"x") is Result.ERROR_WRONG_TYPE
        assert client.copy(str(file), target, overwrite) is Result.ERROR_WRONG_TYPE
        assert client.move(str(file), target, overwrite)[0] is Result.ERROR_WRONG_TYPE
    assert pipe.is_fifo()
    assert file.exists()


def test_a_replaced_file_stays_as_open_to_others(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"1")
    path.chmod(0o666)
    before = os.umask(0o077)
    try:
        assert client.write_file(str(path), b"2") is Result.OK
        assert client.write_file(str(tmp_path / "new"), b"2") is Result.OK
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o7777 == 0o666
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600


def test_moving_one_of_two_names_of_a_file(tmp_path: Path) -> None:
    """The system's rename does nothing then, and says that it did."""
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    moved = client.move(str(tmp_path / "a"), str(tmp_path / "b"), client.CopyBehavior.OVERWRITE)
    assert moved == (Result.OK, False)
    assert [found.name for found in tmp_path.iterdir()] == ["b"]


def test_a_write_that_is_given_up_writes_to_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A descriptor that is closed under a thread would be another file's by the time it writes."""
    from downstage.client.providers import file as provided

    writing, go, handles = threading.Event(), threading.Event(), list[int]()
    still_open = list[bool]()
    ended = threading.Event()

    def slowly(handle: int, piece: Any) -> None:
        del piece
        handles.append(handle)
        writing.set()
        assert go.wait(WAIT_S)
        still_open.append(Path(f"/proc/self/fd/{handle}").exists())
        ended.set()

    monkeypatch.setattr(provided, "_write_all", slowly)

    async def pieces() -> Any:
        yield b"1"

    async def work(_: Any) -> None:
        from downstage.client.providers.provider import Outgoing, no_progress

        the_client = default_client()
        place = the_client.place(str(tmp_path / "x"))
        provider = await the_client.provider(place)
        await provider.write(place, Outgoing(pieces=pieces()), "", no_progress)

    request = default_client().start(work, lambda _: None)
    assert writing.wait(WAIT_S)
    request.stop()
    default_client().run(_nothing)  # the cancellation has come through
    go.set()
    assert ended.wait(WAIT_S)
    client.shutdown()
    assert still_open == [True]
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_replaced_while_it_is_copied_is_not_torn(tmp_path: Path) -> None:
    path, data = tmp_path / "x", b"a" * 3_000_000
    path.write_bytes(data)
    found = bytearray()

    async def work(the_client: Any) -> None:
        place = the_client.place(str(path))
        provider = await the_client.provider(place)
        async with provider.incoming(place) as incoming:
            async for piece in incoming.pieces:
                if not found:
                    (tmp_path / "y").write_bytes(b"b" * 3_000_000)
                    (tmp_path / "y").replace(path)
                found.extend(piece)

    default_client().run(work)
    assert found == data
