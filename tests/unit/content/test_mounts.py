"""Mounted folders: what shows, what never does, and who may do what in them."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from downstage.content.limits import Limits
from downstage.content.model import ANY, Access, AclEntry, Caller, Condition, Flags, Reach
from downstage.content.mounts import table
from downstage.content.mounts.links import Rules, open_place
from downstage.content.mounts.local import LocalFolder
from downstage.content.mounts.protocol import Found
from downstage.content.mounts.web import WebServer
from downstage.content.service import Content, open_content
from downstage.kernel.clock import ManualClock
from downstage.kernel.errors import (
    AlreadyExists,
    BadUrl,
    DeadlineExceeded,
    FolderNotEmpty,
    Forbidden,
    Locked,
    NotFound,
    NotSupported,
    OutOfSpace,
    PlatformError,
    SetupError,
    Upstream,
    VersionMismatch,
    WrongType,
)

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


@pytest.fixture
def shown(data: Path) -> Path:
    folder = data / "shown"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.usd").write_bytes(b"aaaa")
    (folder / "sub" / "b.usd").write_bytes(b"bb")
    (data / "secret").write_bytes(b"secret")
    return folder


@pytest.fixture
async def content(data: Path, shown: Path) -> AsyncIterator[Content]:
    limits = Limits(mounts=Rules(folders=[shown]))
    opened = await open_content(data / "content", clock=ManualClock(), limits=limits)
    yield opened
    await opened.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def text(content: Content, caller: Caller, path: str, *part: int) -> bytes:
    async with await content.read(caller, path) as reading:
        return b"".join([piece async for piece in reading.pieces(*part)])


async def test_a_folder_shows_in_the_tree(
    content: Content, shown: Path, admin: Caller, uta: Caller
) -> None:
    entry = await content.mounts.mount(admin, "/Assets/local", shown.as_uri())
    assert (entry.kind, bool(entry.flags & Flags.IS_MOUNT)) == ("mount", True)
    page = await content.list(uta, "/Assets/local")
    assert [(one.path, one.kind, one.size) for one in page.entries] == [
        ("/Assets/local/a.usd", "file", 4),
        ("/Assets/local/sub", "folder", 0),
    ]
    file = await content.stat(uta, "/Assets/local/sub/b.usd")
    assert file.flags == (
        Flags.IS_INSIDE_MOUNT | Flags.READABLE_FILE | Flags.DOES_NOT_HAVE_CHILDREN
    )
    assert file.access == Access.READ
    assert await text(content, uta, file.path) == b"bb"
    assert await text(content, uta, "/Assets/local/a.usd", 1, 3) == b"aa"
    first = await content.list(uta, "/Assets/local", limit=1)
    assert (len(first.entries), first.next) == (1, "a.usd")
    rest = await content.list(uta, "/Assets/local", after=first.next)
    assert [one.name for one in rest.entries] == ["sub"]
    (shown / "a.usd").write_bytes(b"other")
    assert (await content.stat(uta, "/Assets/local/a.usd")).etag != page.entries[0].etag


async def test_what_is_mounted_to_read_is_not_changed(
    content: Content, shown: Path, admin: Caller
) -> None:
    await content.mounts.mount(admin, "/m", shown.as_uri())
    for attempt in (
        lambda: content.write(admin, "/m/a.usd", b"x"),
        lambda: content.create_folder(admin, "/m/new"),
        lambda: content.delete(admin, "/m/a.usd"),
    ):
        with pytest.raises(Forbidden):
            await attempt()
    await content.delete(admin, "/m")
    with pytest.raises(NotFound):
        await content.stat(admin, "/m/a.usd")
    await content.undelete(admin, "/m")
    await content.obliterate(admin, "/m")
    assert (shown / "a.usd").read_bytes() == b"aaaa"
    assert (shown / "sub" / "b.usd").read_bytes() == b"bb"


async def test_a_writable_mount(content: Content, shown: Path, admin: Caller, uta: Caller) -> None:
    await content.mounts.mount(admin, "/m", shown.as_uri(), writable=True)
    entry = await content.write(uta, "/m/sub/new.usd", b"new")
    assert (entry.size, (shown / "sub" / "new.usd").read_bytes()) == (3, b"new")

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    match = Condition(if_match=(entry.etag,))
    await content.write(uta, "/m/sub/new.usd", pieces(), condition=match)
    with pytest.raises(VersionMismatch):
        await content.write(uta, "/m/sub/new.usd", b"late", condition=match)
    with pytest.raises(VersionMismatch):
        await content.write(
            uta, "/m/sub/new.usd", b"x", condition=Condition(if_none_match_any=True)
        )
    assert await text(content, uta, "/m/sub/new.usd") == b"onetwo"
    staged = await content.stage(uta, b"s" * 100_000)
    await content.write(uta, "/m/staged", staged)
    assert (shown / "staged").read_bytes() == b"s" * 100_000
    await content.create_folder(uta, "/m/f")
    with pytest.raises(AlreadyExists):
        await content.create_folder(uta, "/m/f")
    with pytest.raises(WrongType):
        await content.write(uta, "/m/f", b"x")
    with pytest.raises(NotFound):
        await content.write(uta, "/m/none/x", b"x")
    with pytest.raises(FolderNotEmpty):
        await content.delete(uta, "/m/sub", recursive=False)
    await content.delete(uta, "/m/sub")
    await content.delete(uta, "/m/staged")
    await content.delete(uta, "/m/f", recursive=False)
    assert listed(shown) == ["a.usd"]


async def test_a_write_that_breaks_off_leaves_the_old(
    content: Content, shown: Path, admin: Caller
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    await content.mounts.mount(admin, "/m", shown.as_uri(), writable=True)
    with pytest.raises(ConnectionResetError):
        await content.write(admin, "/m/a.usd", broken())
    assert (shown / "a.usd").read_bytes() == b"aaaa"
    assert listed(shown) == ["a.usd", "sub"]


async def test_rights_are_those_of_the_mount(
    content: Content, shown: Path, admin: Caller, uta: Caller, ben: Caller
) -> None:
    await content.mounts.mount(admin, "/m", shown.as_uri(), writable=True)
    everything = Access.READ | Access.WRITE | Access.ADMIN
    await content.set_acl(
        admin,
        "/m",
        [
            AclEntry("user:u-2", Access.NONE, everything),
            AclEntry("user:u-1", Access.READ, Access.WRITE),
        ],
    )
    for attempt in (
        lambda: content.stat(ben, "/m/a.usd"),
        lambda: content.list(ben, "/m/sub"),
        lambda: content.read(ben, "/m/a.usd"),
        lambda: content.write(ben, "/m/a.usd", b"x"),
        lambda: content.checkpoint(ben, "/m/a.usd", "x"),
    ):
        with pytest.raises(NotFound):
            await attempt()
    with pytest.raises(Forbidden):
        await content.write(uta, "/m/a.usd", b"x")
    bound = Caller("u-3", "app", reach=(Reach("/m/sub", Access.READ),))
    assert (await content.stat(bound, "/m/sub/b.usd")).size == 2
    with pytest.raises(NotFound):
        await content.stat(bound, "/m/a.usd")


async def test_what_mounts_do_not_know_is_said(
    content: Content, shown: Path, admin: Caller
) -> None:
    await content.mounts.mount(admin, "/m", shown.as_uri())
    await content.write(admin, "/b", b"b")
    for attempt in (
        lambda: content.checkpoint(admin, "/m/a.usd", "x"),
        lambda: content.lock(admin, "/m/a.usd"),
        lambda: content.move(admin, "/m/a.usd", "/b"),
        lambda: content.move(admin, "/b", "/m/b"),
        lambda: content.set_acl(admin, "/m/a.usd", []),
    ):
        with pytest.raises(NotSupported):
            await attempt()
    answers = content.stat_many(admin, [("/m", 0), ("/m/a.usd", 0)])
    assert isinstance(answers[1], NotSupported)
    assert not isinstance(answers[0], PlatformError)


async def test_files_are_copied_over_the_edge(
    content: Content, shown: Path, admin: Caller, uta: Caller
) -> None:
    await content.mounts.mount(admin, "/m", shown.as_uri(), writable=True)
    entry = await content.copy(uta, "/m/a.usd", "/out.usd", message="from elsewhere")
    assert (entry.size, entry.checkpoint or entry.version) == (4, 1)
    await content.write(uta, "/in.usd", b"x" * 100_000)
    await content.copy(uta, "/in.usd", "/m/in.usd")
    await content.copy(uta, "/m/in.usd", "/m/sub/again.usd")
    assert (shown / "sub" / "again.usd").read_bytes() == b"x" * 100_000
    for target in ("/out.usd", "/m/in.usd"):
        with pytest.raises(AlreadyExists):
            await content.copy(uta, "/m/a.usd", target)
    await content.copy(uta, "/m/a.usd", "/m/in.usd", overwrite=True)
    assert (shown / "in.usd").read_bytes() == b"aaaa"
    with pytest.raises(VersionMismatch):
        await content.copy(uta, "/m/a.usd", "/new", source_condition=Condition(if_match=("stale",)))
    with pytest.raises(NotSupported):
        await content.copy(uta, "/m/sub", "/sub")
    with pytest.raises(NotFound):
        await content.copy(uta, "/m/none", "/new")


async def test_only_administrators_mount_only_what_the_operator_names(
    content: Content, shown: Path, data: Path, admin: Caller, uta: Caller
) -> None:
    with pytest.raises(Forbidden):
        await content.mounts.mount(uta, "/m", shown.as_uri())
    (shown / "out").symlink_to(data)
    for link in (
        data.as_uri(),
        "file:///",
        f"file://{shown}/../",
        f"file://{shown}/%2e%2e/",
        f"file://{shown}/out",
        "https://example.invalid/x",
        "s3://bucket/x",
    ):
        with pytest.raises(Forbidden):
            await content.mounts.mount(admin, "/m", link)
    for link in ("ftp://h/x", "s3://Bad_Bucket/x", "http://", "", "file://host/x", "http://u:p@h/x",
                 "http://h/x?q", "https://[::1", "x" * 3000, "file:///a%00b"):  # fmt: skip
        with pytest.raises(BadUrl):
            await content.mounts.mount(admin, "/m", link)
    with pytest.raises(SetupError):
        await content.mounts.mount(admin, "/m", f"{shown.as_uri()}/none")
    with pytest.raises(NotFound):
        await content.stat(admin, "/m")


def test_web_servers_are_mounted_to_read_alone(pool: ThreadPoolExecutor) -> None:
    rules = Rules(hosts=["https://assets.invalid:8443"])
    assert isinstance(open_place("https://assets.invalid:8443/x", rules, pool), WebServer)
    with pytest.raises(BadUrl):
        open_place("https://assets.invalid:8443/x#writable", rules, pool)
    with pytest.raises(Forbidden):
        open_place("https://assets.invalid/x", rules, pool)


@pytest.fixture(params=[True, False], ids=["openat2", "walk"])
async def place(
    request: pytest.FixtureRequest, shown: Path, pool: ThreadPoolExecutor
) -> AsyncIterator[LocalFolder]:
    place = LocalFolder(shown, pool, writable=True, one_call=request.param)
    yield place
    await place.close()


async def test_C02_links_lead_nowhere(place: LocalFolder, shown: Path, data: Path) -> None:
    (shown / "link").symlink_to(data / "secret")
    (shown / "inner").symlink_to("a.usd")
    (shown / "dirlink").symlink_to(data)
    (shown / "sub" / "up").symlink_to("..")
    (shown / "magic").symlink_to("/proc/self/root")
    for rest in (("link",), ("inner",), ("dirlink", "secret"), ("sub", "up", "a.usd"),
                 ("magic", "etc", "passwd"), ("dirlink",)):  # fmt: skip
        for attempt in (place.stat, place.open):
            with pytest.raises(NotFound):
                await attempt(rest)
    assert {one.name for one in await place.list(())} == {"a.usd", "sub"}
    with pytest.raises(NotFound):
        await place.write(("dirlink", "new"), b"x")
    with pytest.raises(NotFound):
        await place.delete(("dirlink", "secret"), recursive=True)
    await place.write(("link",), b"replaces the link, not what it leads to")
    assert (data / "secret").read_bytes() == b"secret"
    await place.delete(("sub",), recursive=True)
    assert (shown / "a.usd").exists()


async def test_C02_paths_do_not_climb(place: LocalFolder) -> None:
    for rest in (("..", "secret"), ("sub", "..", "..", "secret"), ("", "secret")):
        with pytest.raises(NotFound):
            await place.open(rest)


async def test_C02_devices_pipes_and_sockets_are_not_there(place: LocalFolder, shown: Path) -> None:
    os.mkfifo(shown / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(shown / "socket"))
    special = ["pipe", "socket"]
    if os.geteuid() == 0:
        os.mknod(shown / "tty", 0o020666, os.makedev(5, 0))
        special.append("tty")
    with anyio.fail_after(5):
        for name in special:
            with pytest.raises(NotFound):
                await place.stat((name,))
            with pytest.raises(NotFound):
                await place.open((name,))
    assert {one.name for one in await place.list(())} == {"a.usd", "sub"}
    listener.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
async def test_C02_a_second_name_of_somebody_elses_file_is_not_there(
    place: LocalFolder, shown: Path, data: Path
) -> None:
    os.chown(data / "secret", 4711, 4711)
    os.link(data / "secret", shown / "hard")
    with pytest.raises(NotFound):
        await place.open(("hard",))
    assert "hard" not in {one.name for one in await place.list(())}
    os.link(shown / "a.usd", shown / "mine")
    assert (await place.stat(("mine",))).size == 4


async def test_C02_a_race_between_file_and_link_never_shows_the_secret(
    place: LocalFolder, shown: Path, data: Path
) -> None:
    """Somebody swaps a file for a link, again and again, while it is read."""
    (shown / "other").symlink_to(data / "secret")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            (shown / "a.usd").rename(shown / "aside")
            (shown / "other").rename(shown / "a.usd")
            (shown / "a.usd").rename(shown / "other")
            (shown / "aside").rename(shown / "a.usd")

    seen = set[bytes]()

    async def look() -> None:
        try:
            for _ in range(150):
                try:
                    _, reading = await place.open(("a.usd",))
                except NotFound:
                    continue
                async with reading:
                    seen.add(b"".join([piece async for piece in reading.pieces()]))
        finally:
            stop.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, swap)
        tasks.start_soon(look)
    assert seen <= {b"aaaa"}


async def test_a_folder_that_moves_away_shows_nothing_else(
    place: LocalFolder, shown: Path, data: Path
) -> None:
    shown.rename(data / "moved")
    (data / "shown").symlink_to("/etc")
    assert {one.name for one in await place.list(())} == {"a.usd", "sub"}


async def test_names_that_no_path_can_say_do_not_show(place: LocalFolder, shown: Path) -> None:
    for name in (b"bad\xff", b"nfd-e\xcc\x81", b"trailing.", b"new\nline"):
        (shown / os.fsdecode(name)).write_bytes(b"x")
    assert {one.name for one in await place.list(())} == {"a.usd", "sub"}


async def test_a_full_disk(
    place: LocalFolder, monkeypatch: pytest.MonkeyPatch, shown: Path
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("downstage.content.mounts.local.write_all", full)
    with pytest.raises(OutOfSpace):
        await place.write(("a.usd",), b"x")
    assert listed(shown) == ["a.usd", "sub"]


async def test_a_file_that_shrinks_breaks_off(place: LocalFolder, shown: Path) -> None:
    (shown / "big").write_bytes(bytes(3_000_000))
    _, reading = await place.open(("big",))
    os.truncate(shown / "big", 1_500_000)

    async def receive() -> None:
        async for _ in reading.pieces():
            pass

    with pytest.raises(Upstream):
        await receive()
    reading.close()


async def test_conditions_any(content: Content, shown: Path, admin: Caller) -> None:
    await content.mounts.mount(admin, "/m", shown.as_uri(), writable=True)
    await content.write(admin, "/m/x", b"1", condition=ANY)
    await content.delete(admin, "/m/x", condition=Condition(if_match_any=True))
    with pytest.raises(VersionMismatch):
        await content.delete(admin, "/m/x", condition=Condition(if_match_any=True))


async def test_A16_what_is_mounted_is_told_to_administrators_alone(
    content: Content, shown: Path, admin: Caller, uta: Caller
) -> None:
    """It is a path of the server's own disk, or a server of the operator's network."""
    async with (
        content.subscribe(uta, "/", "tree") as events,
        content.subscribe(admin, "/", "tree") as told,
    ):
        made = await content.mounts.mount(admin, "/Assets/local", shown.as_uri())
        for caller, watching, link in ((uta, events, ""), (admin, told, shown.as_uri())):
            await anext(watching)
            event = await anext(watching)
            assert event.entry is not None
            assert event.entry.link == link
            assert (await content.stat(caller, "/Assets/local")).link == link
            await content.set_acl(admin, "/Assets/local", [AclEntry("user:u-9", Access.READ)])
            for recursive in (False, True):
                page = await content.list(caller, "/Assets", recursive=recursive)
                assert [entry.link for entry in page.entries] == [link]
            await content.set_acl(admin, "/Assets/local", [])
    assert made.link == shown.as_uri()


async def test_a_place_that_does_not_answer_is_not_mounted(
    content: Content, shown: Path, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(self: LocalFolder, rest: tuple[str, ...]) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(LocalFolder, "stat", silent)
    monkeypatch.setattr(table, "DEADLINE_S", 0.01)
    with pytest.raises(DeadlineExceeded):
        await content.mounts.mount(admin, "/m", shown.as_uri())


async def test_C07_a_lock_covers_what_is_mounted_below_it(
    content: Content, shown: Path, admin: Caller, uta: Caller, ben: Caller
) -> None:
    await content.mounts.mount(admin, "/a/m", shown.as_uri(), writable=True)
    await content.lock(uta, "/a")
    for attempt in (
        lambda: content.write(ben, "/a/m/a.usd", b"x"),
        lambda: content.create_folder(ben, "/a/m/new"),
        lambda: content.delete(ben, "/a/m/a.usd"),
    ):
        with pytest.raises(Locked):
            await attempt()
    await content.write(uta, "/a/m/a.usd", b"mine")


def test_etags_of_other_servers_are_told_bare() -> None:
    assert Found("a", "file", 1, 2, 'W/"abc"').tag == "abc"
    assert Found("a", "file", 1, 2, '"abc"').tag == "abc"
    assert Found("a", "file", 1, 2).tag == "2-1"
