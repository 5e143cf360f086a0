"""One suite for every kind of place and every flavour: the same words mean the same everywhere."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from downstage import client
from downstage.client import CopyBehavior, ItemFlags, ListEntry, Result

from .conftest import Served
from .kinds import CALLS, CAN, FLAVOURS, Kind, place_of

pytestmark = pytest.mark.contract

Call = Callable[..., Any]
OVERWRITE = CopyBehavior.OVERWRITE
UNSUPPORTED = Result.ERROR_NOT_SUPPORTED


PAIRS = [
    (kind, flavour)
    for kind in sorted(CAN)
    # The flavours are made by a tool and know no kinds: all of them where they take different ways.
    for flavour in (FLAVOURS if kind in {"file", "omniverse"} else FLAVOURS[:1])
]


@pytest.fixture(params=PAIRS, ids="-".join)
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param


@pytest.fixture
def call(pair: tuple[str, str]) -> Call:
    return CALLS[pair[1]]


@pytest.fixture
def kind(pair: tuple[str, str], served: Served, tmp_path: Path, fresh: None) -> Iterator[Kind]:
    del fresh
    name = pair[0]
    answer = served.key if name == "webdav" else served.server.token("alice")
    with (
        client.register_authorize_callback(
            lambda prefix: answer if prefix.endswith(served.authority) else None
        ),
        place_of(name, served, tmp_path) as found,
    ):
        yield found


def test_writing_and_reading(kind: Kind, call: Call) -> None:
    url = kind.at("a b/ü/日.bin")
    if not kind.can("write"):
        assert call("write_file", url, b"x") is UNSUPPORTED
        return
    data = os.urandom(70_000)
    assert call("write_file", url, data) is Result.OK
    result, version, content = call("read_file", url)
    assert (result, bytes(content)) == (Result.OK, data)
    assert memoryview(content).tobytes() == data
    assert version
    assert call("write_file", url, b"") is Result.OK
    result, later, content = call("read_file", url)
    assert (result, bytes(content)) == (Result.OK, b"")
    assert later != version
    result, info = call("write_file_ex", url, b"more")
    assert result is Result.OK
    assert info.version


def test_what_is_missing(kind: Kind, call: Call) -> None:
    url = kind.at("missing/x")
    result, entry = call("stat", url)
    assert result is Result.ERROR_NOT_FOUND
    assert isinstance(entry, ListEntry)
    result, version, content = call("read_file", url)
    assert (result, version, bytes(content)) == (Result.ERROR_NOT_FOUND, "", b"")
    gone = Result.ERROR_NOT_FOUND if kind.can("write") else UNSUPPORTED
    assert call("delete", url) is gone
    assert call("copy", url, kind.at("y")) is gone
    listed = Result.ERROR_NOT_FOUND if kind.can("list") else UNSUPPORTED
    assert call("list", url) == (listed, ())


def test_listing(kind: Kind, call: Call) -> None:
    if not kind.can("list"):
        assert call("list", kind.folder) == (UNSUPPORTED, ())
        return
    names = ["a", "b c", "d%41#x", "e;f=g"]
    for name in names:
        assert call("write_file", client.join(kind.folder, name), name.encode()) is Result.OK
    assert call("write_file", kind.at("folder/inner"), b"1") is Result.OK
    result, entries = call("list", kind.folder)
    assert result is Result.OK
    assert [entry.relative_path for entry in entries] == [*names, "folder"]
    for entry in entries[:-1]:
        assert entry.size == len(entry.relative_path)
        assert entry.modified_time > 1_600_000_000 * 10**9
        assert entry.modified_datetime is not None
        assert entry.flags & ItemFlags.READABLE_FILE
        result, _, content = call("read_file", entry.url)
        assert (result, bytes(content)) == (Result.OK, entry.relative_path.encode())
    assert entries[-1].flags & ItemFlags.CAN_HAVE_CHILDREN
    assert call("list", kind.at("a")) == (Result.ERROR_WRONG_TYPE, ())
    result, entry = call("stat", kind.at("folder"))
    assert (result, entry.is_folder) == (Result.OK, True)


def test_folders(kind: Kind, call: Call) -> None:
    url = kind.at("made/here")
    if not kind.can("folders"):
        assert call("create_folder", url) is UNSUPPORTED
        return
    assert call("create_folder", url) is Result.OK
    assert call("create_folder", url) is Result.ERROR_ALREADY_EXISTS
    assert call("list", url) == (Result.OK, ())
    assert call("write_file", kind.at("made/here/x"), b"1") is Result.OK
    assert call("delete_single", url) is Result.ERROR_FOLDER_NOT_EMPTY
    assert call("delete", url) is Result.OK
    assert call("stat", url)[0] is Result.ERROR_NOT_FOUND


def test_copying(kind: Kind, call: Call) -> None:
    source = kind.at("a.txt")
    if not kind.can("write"):
        assert call("copy", source, kind.at("b.txt")) is UNSUPPORTED
        return
    assert call("write_file", source, b"one") is Result.OK
    assert call("copy", source, kind.at("x/y/b.txt")) is Result.OK
    assert call("copy", source, kind.at("x/y/b.txt")) is Result.ERROR_ALREADY_EXISTS
    assert call("write_file", source, b"two") is Result.OK
    assert call("copy", source, kind.at("x/y/b.txt"), behavior=OVERWRITE) is Result.OK
    assert bytes(call("read_file", kind.at("x/y/b.txt"))[2]) == b"two"
    assert call("copy", source, source) is Result.ERROR_SOURCE_IS_DEST
    assert call("copy", kind.at("x"), kind.at("x/y/z")) is Result.ERROR_SOURCE_IS_DEST
    assert call("copy_file", kind.at("x"), kind.at("e")) is Result.ERROR_WRONG_TYPE
    assert call("copy_folder", source, kind.at("e")) is Result.ERROR_WRONG_TYPE
    onto = call("copy_file", source, kind.at("x"), behavior=OVERWRITE)
    assert onto is Result.ERROR_ALREADY_EXISTS
    assert call("write_file", kind.at("e/y/only.txt"), b"kept") is Result.OK
    assert call("copy_folder", kind.at("x"), kind.at("e")) is Result.ERROR_ALREADY_EXISTS
    assert call("copy_folder", kind.at("x"), kind.at("e"), behavior=OVERWRITE) is Result.OK
    assert bytes(call("read_file", kind.at("e/y/only.txt"))[2]) == b"kept"
    assert bytes(call("read_file", kind.at("e/y/b.txt"))[2]) == b"two"


def test_moving(kind: Kind, call: Call) -> None:
    source, target = kind.at("a.txt"), kind.at("to/m.txt")
    if not kind.can("write"):
        assert call("move", source, target)[0] is UNSUPPORTED
        return
    assert call("write_file", source, b"one") is Result.OK
    result, copied = call("move", source, target)
    assert (result, copied) == (Result.OK, kind.name == "s3")
    assert call("stat", source)[0] is Result.ERROR_NOT_FOUND
    assert call("move_folder", target, kind.at("q"))[0] is Result.ERROR_WRONG_TYPE
    assert call("move_file", kind.at("to"), kind.at("q"))[0] is Result.ERROR_WRONG_TYPE
    assert call("move", kind.at("to"), kind.at("there"))[0] is Result.OK
    assert bytes(call("read_file", kind.at("there/m.txt"))[2]) == b"one"


def test_checkpoints(kind: Kind, call: Call) -> None:
    url = kind.at("a.usd")
    if not kind.can("checkpoints"):
        assert call("create_checkpoint", url, "c") == (UNSUPPORTED, "")
        assert call("list_checkpoints", url) == (UNSUPPORTED, ())
        assert call("restore_checkpoint", f"{url}?&1") is UNSUPPORTED
        return
    assert call("write_file", url, b"1", message="first") is Result.OK
    assert call("create_checkpoint", url, " ") == (Result.ERROR_BAD_REQUEST, "")
    assert call("create_checkpoint", url, "same") == (Result.OK, "&1")
    assert call("create_checkpoint", url, "same", force=True) == (Result.OK, "&2")
    assert call("write_file", url, b"2") is Result.OK
    result, found = call("list_checkpoints", url)
    assert result is Result.OK
    assert [(item.relative_path, item.comment) for item in found] == [
        ("&2", "same"),
        ("&1", "first"),
    ]
    assert bytes(call("read_file", found[1].url)[2]) == b"1"
    assert call("restore_checkpoint", f"{url}?&1") is Result.OK
    assert bytes(call("read_file", url)[2]) == b"1"
    assert len(call("list_checkpoints", url)[1]) == 3
    assert call("write_file", f"{url}?&1", b"no") is Result.ERROR_BAD_REQUEST


def test_deleting_and_back(kind: Kind, call: Call) -> None:
    url = kind.at("x")
    if not kind.can("undelete"):
        assert call("undelete", url) is UNSUPPORTED
        return
    assert call("write_file", url, b"back") is Result.OK
    assert call("delete", url) is Result.OK
    assert call("list", kind.folder) == (Result.OK, ())
    deleted = client.ListIncludeOption.ONLY_DELETED_FILES
    result, entries = call("list", kind.folder, include_deleted_option=deleted)
    assert result is Result.OK
    assert [entry.relative_path for entry in entries] == ["x"]
    assert entries[0].flags & ItemFlags.IS_DELETED
    assert entries[0].deleted_by == "alice"
    assert entries[0].deleted_datetime is not None
    assert call("undelete", url) is Result.OK
    assert bytes(call("read_file", url)[2]) == b"back"
    assert call("delete", url) is Result.OK
    assert call("obliterate", url, obliterate_checkpoints=True) is Result.OK
    assert call("undelete", url) is Result.ERROR_NOT_FOUND


def test_large_files(kind: Kind, call: Call) -> None:
    if not kind.can("write"):
        return
    url, data = kind.at("big.bin"), os.urandom(3_000_000)
    told, percents = queue.SimpleQueue[int](), list[int]()
    with client.register_file_status_callback(lambda _url, _what, percent: told.put(percent)):
        assert call("write_file", url, data) is Result.OK
        result, _, content = call("read_file", url)
        assert (result, content == data) == (Result.OK, True)
        # The thread that tells may be behind the answers.
        while percents.count(100) < 2:
            percents.append(told.get(timeout=20))
    assert percents[0] == 0
    assert max(percents) == 100


def test_servers(kind: Kind, call: Call) -> None:
    result, info = call("get_server_info", kind.folder)
    assert result is Result.OK
    assert info.checkpoints_enabled == kind.can("checkpoints")
    if kind.can("server"):
        assert info.username == "alice"
        assert info.auth_token not in repr(info)
        assert call("get_users", kind.folder) == (Result.OK, ("admin", "alice", "bob", "carol"))
        assert call("get_user_groups", kind.folder, "alice") == (Result.OK, ("artists",))
        assert call("get_group_users", kind.folder, "artists") == (Result.OK, ("alice", "bob"))
        assert call("get_group_users", kind.folder, "none")[0] is Result.ERROR_NOT_FOUND
    else:
        assert call("get_users", kind.folder) == (UNSUPPORTED, ())
        assert call("get_acls", kind.folder) == (UNSUPPORTED, ())


def test_resolving(kind: Kind, call: Call) -> None:
    if not kind.can("write"):
        return
    assert call("write_file", kind.at("lib/tex.png"), b"p") is Result.OK
    search = [kind.at("none/"), kind.at("lib/")]
    result, entry, url = call("resolve", "tex.png", search)
    assert (result, entry.size, url) == (Result.OK, 1, kind.at("lib/tex.png"))
    client.add_default_search_path(kind.at("lib/"))
    assert call("resolve", "./tex.png", [])[0] is Result.OK
    client.remove_default_search_path(kind.at("lib/"))
    assert client.get_default_search_paths() == ()
    assert call("resolve", "tex-that-is-not-there.png", search)[0] is Result.ERROR_NOT_FOUND


def test_copies_on_this_machine(kind: Kind, call: Call) -> None:
    if kind.name not in {"omniverse", "ours-by-http", "file"}:
        assert call("get_local_file", kind.at("x")) == (UNSUPPORTED, "")
        return
    assert call("write_file", kind.at("x"), b"here") is Result.OK
    result, path = call("get_local_file", kind.at("x"))
    assert result is Result.OK
    assert Path(path).read_bytes() == b"here"
    assert call("get_local_file", kind.at("x")) == (Result.OK, path)


def test_from_one_kind_to_another(kind: Kind, call: Call, tmp_path: Path) -> None:
    here = tmp_path / "here"
    (here / "in").mkdir(parents=True)
    (here / "a").write_bytes(b"1")
    (here / "in/b").write_bytes(b"2")
    if not kind.can("write"):
        assert call("copy", str(here / "a"), kind.at("a")) is UNSUPPORTED
        return
    assert call("copy", str(here), kind.at("up")) is Result.OK
    assert call("copy", str(here), kind.at("up")) is Result.ERROR_ALREADY_EXISTS
    assert bytes(call("read_file", kind.at("up/in/b"))[2]) == b"2"
    assert call("copy", kind.at("up"), str(tmp_path / "down")) is Result.OK
    assert (tmp_path / "down/in/b").read_bytes() == b"2"
    result, copied = call("move", kind.at("up/a"), str(tmp_path / "moved"))
    assert (result, copied) == (Result.OK, kind.name != "file")
    assert call("stat", kind.at("up/a"))[0] is Result.ERROR_NOT_FOUND
