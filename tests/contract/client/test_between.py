"""From one place to another: aliases, folders in parallel, progress, moves that merge, groups."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from downstage import client
from downstage.client import CopyBehavior, FileStatus, Result
from downstage.client.client import default_client
from downstage.client.operations import carrying
from downstage.kernel.errors import BadUrl

from .conftest import Served
from .kinds import CAN, Kind, place_of

pytestmark = pytest.mark.contract

OVERWRITE = CopyBehavior.OVERWRITE


@pytest.fixture
def signed_in(served: Served, fresh: None) -> Iterator[None]:
    del fresh
    token = served.server.token("alice")
    with client.register_authorize_callback(
        lambda prefix: token if prefix.endswith(f":{served.authority.rpartition(':')[2]}") else None
    ):
        yield


@pytest.fixture
def place(signed_in: None, served: Served, tmp_path: Path) -> Iterator[Kind]:
    del signed_in
    with place_of("omniverse", served, tmp_path) as found:
        yield found


@pytest.fixture(params=sorted(name for name in CAN if "write" in CAN[name]))
def kind(
    request: pytest.FixtureRequest, served: Served, tmp_path: Path, fresh: None
) -> Iterator[Kind]:
    del fresh
    answer = served.key if request.param == "webdav" else served.server.token("alice")
    with (
        client.register_authorize_callback(
            lambda prefix: answer if prefix.endswith(served.authority) else None
        ),
        place_of(request.param, served, tmp_path) as found,
    ):
        yield found


@pytest.mark.parametrize("what", ["file", "folder"])
@pytest.mark.parametrize("way", ["localhost", "omni", "http"])
def test_C01_moving_a_thing_onto_itself_by_another_name_keeps_it(
    place: Kind, served: Served, what: str, way: str
) -> None:
    """Nobody can see that two addresses are one; the thing must not be deleted for it."""
    port = served.authority.rpartition(":")[2]
    path = place.folder.partition(served.authority)[2]
    folder = {
        "localhost": f"omniverse://localhost:{port}{path}",
        "omni": f"omni://{served.authority}{path}",
        "http": f"http://{served.authority}/v1/files{path}",
    }[way]
    name = "a" if what == "file" else "d"
    inner = "a" if what == "file" else "d/in/a"
    assert client.write_file(place.at(inner), b"precious") is Result.OK
    assert client.move(place.at(name), f"{folder}/{name}", OVERWRITE)[0] is not Result.OK
    assert bytes(client.read_file(place.at(inner))[2]) == b"precious"


def test_C01_a_file_of_this_machine_has_one_address(tmp_path: Path, fresh: None) -> None:
    del fresh
    path = tmp_path / "a"
    path.write_bytes(b"precious")
    for alias in (f"file://localhost{path}", f"file:{path}", f"FILE://LocalHost{path}"):
        moved = client.move(alias, str(path), OVERWRITE)
        assert moved == (Result.ERROR_SOURCE_IS_DEST, False), alias
        assert client.stat(alias)[1].url == client.make_file_url(str(path))
    assert path.read_bytes() == b"precious"


def test_what_changes_while_it_is_moved_is_not_deleted(
    place: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        assert client.write_file(place.at(f"d/{name}"), b"1") is Result.OK
    carry_file = carrying.carry_file

    async def late(here: Any, source: Any, *rest: Any) -> None:
        await carry_file(here, source, *rest)
        if source.name == "a":
            from downstage.client.providers.provider import Outgoing

            folder = default_client().place(place.at("d"))
            await here.write(folder.child("late"), Outgoing(data=b"2"), "", rest[-1])

    monkeypatch.setattr(carrying, "carry_file", late)
    result, copied = client.move(place.at("d"), str(tmp_path / "d"))
    assert (result, copied) == (Result.ERROR_BAD_VERSION, False)
    names = [entry.relative_path for entry in client.list(place.at("d"))[1]]
    assert names == ["a", "b", "late"]


def test_the_files_of_a_folder_travel_together(
    place: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some at once, never more than a few; percents rise over the whole folder; all arrives."""
    tree = tmp_path / "tree"
    for number in range(40):
        file = tree / f"{number % 5}" / f"{number}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(1000 * number))
    (tree / "empty/inner").mkdir(parents=True)
    running, most = 0, 0
    carry_file = carrying.carry_file

    async def counted(*args: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await asyncio.sleep(0.01)
            await carry_file(*args)
        finally:
            running -= 1

    monkeypatch.setattr(carrying, "carry_file", counted)
    percents = list[int]()
    told = threading.Event()

    def hear(_: str, what: FileStatus, percent: int) -> None:
        if what is FileStatus.COPYING:
            percents.append(percent)
            if percent == 100:
                told.set()

    with client.register_file_status_callback(hear):
        assert client.copy(str(tree), place.at("up")) is Result.OK
        assert told.wait(20)
    assert 1 < most <= carrying.AT_ONCE
    assert percents == sorted(percents)
    assert (len(percents) > 10, percents.count(100)) == (True, 1)
    assert client.copy(place.at("up"), str(tmp_path / "down")) is Result.OK
    found = {
        path.relative_to(tree): path.is_file() and path.read_bytes() for path in tree.rglob("*")
    }
    down = tmp_path / "down"
    assert found == {
        path.relative_to(down): path.is_file() and path.read_bytes() for path in down.rglob("*")
    }


def test_C02_links_are_not_followed_into_folders(place: Kind, tmp_path: Path) -> None:
    """One that leads up would be copied without end; what is left out is said."""
    tree = tmp_path / "tree"
    (tree / "in").mkdir(parents=True)
    (tree / "in/up").symlink_to(tree)
    (tree / "in/file").write_bytes(b"1")
    (tree / "in/link").symlink_to("file")
    os.mkfifo(tree / "in/pipe")
    said = list[str]()
    client.set_log_callback(lambda _thread, _part, _level, text: said.append(text))
    try:
        assert client.copy(str(tree), place.at("up")) is Result.OK
        assert client.move(str(tree), place.at("moved"))[0] is Result.ERROR_WRONG_TYPE
    finally:
        client.set_log_callback(None)
    entries = client.list(place.at("up/in"))[1]
    assert [entry.relative_path for entry in entries] == ["file", "link"]
    assert any("not_copied path=in/up" in text for text in said)
    assert (tree / "in/pipe").exists()


def test_C01_a_listing_that_holds_other_than_names_is_not_fetched(
    place: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.write_file(place.at("d/x"), b"1") is Result.OK
    provider: Any = default_client().run(lambda c: c.provider(c.place(place.folder)))
    from downstage.client.providers.provider import Found

    async def below(folder: Any) -> Any:
        entry = await provider.stat(folder.child("x"))
        yield Found(folder, entry, ("..", "x"), refused="no name")

    monkeypatch.setattr(provider, "below", below)
    with pytest.raises(BadUrl, match="no name"):
        client.files.download(place.at("d"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_moving_a_folder_onto_one_merges_everywhere(kind: Kind) -> None:
    """The same words on every kind of place: nothing of the target is lost."""
    for path in ("a/x", "a/sub/y", "b/x", "b/only", "b/sub/z"):
        assert client.write_file(kind.at(path), path.encode()) is Result.OK
    assert client.move(kind.at("a"), kind.at("b"))[0] is Result.ERROR_ALREADY_EXISTS
    assert client.move(kind.at("a"), kind.at("b"), OVERWRITE)[0] is Result.OK
    assert client.stat(kind.at("a"))[0] is Result.ERROR_NOT_FOUND
    expected = {"b/x": b"a/x", "b/only": b"b/only", "b/sub/y": b"a/sub/y", "b/sub/z": b"b/sub/z"}
    found = {path: bytes(client.read_file(kind.at(path))[2]) for path in expected}
    assert found == expected
    assert client.write_file(kind.at("f"), b"f") is Result.OK
    assert client.move(kind.at("f"), kind.at("b"), OVERWRITE)[0] is Result.ERROR_ALREADY_EXISTS
    assert client.move(kind.at("f"), kind.at("b/x"), OVERWRITE)[0] is Result.OK
    assert bytes(client.read_file(kind.at("b/x"))[2]) == b"f"


def test_groups_are_changed_by_administrators(served: Served, fresh: None) -> None:
    del fresh
    url = f"omniverse://{served.authority}"
    name = "admin"
    with client.register_authorize_callback(lambda _: served.server.token(name)):
        assert client.create_group(url, "new") is Result.ERROR_NOT_SUPPORTED
        assert client.add_user_to_group(url, "nobody", "new") is Result.ERROR_NOT_FOUND
        for user in ("alice", "carol"):
            assert client.add_user_to_group(url, user, "new") is Result.OK
        _until(lambda: client.get_group_users(url, "new"), (Result.OK, ("alice", "carol")))
        assert client.get_user_groups(url, "alice") == (Result.OK, ("artists", "new"))
        assert client.rename_group(url, "new", "artists") is Result.ERROR_ALREADY_EXISTS
        assert client.rename_group(url, "none", "other") is Result.ERROR_NOT_FOUND
        assert client.rename_group(url, "new", "newer") is Result.OK
        groups = ("admins", "artists", "newer", "reviewers")
        _until(lambda: client.get_groups(url), (Result.OK, groups))
        assert client.remove_user_from_group(url, "carol", "newer") is Result.OK
        _until(lambda: client.get_group_users(url, "newer"), (Result.OK, ("alice",)))
        assert client.remove_group(url, "newer") is Result.OK
        assert client.remove_group(url, "newer") is Result.ERROR_NOT_FOUND
        _until(lambda: client.get_user_groups(url, "alice"), (Result.OK, ("artists",)))
        name = "bob"
        client.sign_out(url)
        assert client.add_user_to_group(url, "bob", "admins") is Result.ERROR_ACCESS_DENIED
        assert client.get_user_groups(url, "bob")[1] == ("artists", "reviewers")


def _until(ask: Callable[[], Any], expected: Any) -> None:
    """The content service hears of people a moment after they change."""
    deadline = time.monotonic() + 30
    while (found := ask()) != expected:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
