"""The conformance data on operations, each step as it is written, against files and our server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from downstage import client
from downstage.client import CopyBehavior, ListEvent, Result
from downstage.client.client import Client, default_client
from downstage.client.operations import versions, writing

from .conftest import Served
from .kinds import Kind, place_of, plain_server

pytestmark = pytest.mark.contract

STEPS: dict[int, dict[str, Any]] = {
    step["step"]: step
    for step in json.loads(
        (Path(__file__).parents[2] / "data/client/client_ops.json").read_text(encoding="utf-8")
    )
}
OVERWRITE = CopyBehavior.OVERWRITE
WAIT_S = 20.0
ELSEWHERE = {
    36: "live layers are opened through downstage.client.usd; its tests read this step",
    40: "tests/unit/client/test_urls.py",
}
"""Steps that are proved by other modules."""


class World:
    """The folder T of the data, and a folder ``omniverse://h`` of a server."""

    def __init__(self, folder: Path, server: Kind, other: Client, web: str) -> None:
        self.folder, self.server, self.other, self.web = folder, server, other, web

    def t(self, path: str) -> str:
        return client.make_file_url(str(self.folder / path))

    def make(self, *paths: str) -> None:
        for path in paths:
            target = self.folder / path
            if path.endswith("/"):
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(b"12345")


@pytest.fixture
def world(served: Served, tmp_path: Path, fresh: None) -> Iterator[World]:
    del fresh
    (tmp_path / "T").mkdir()
    (tmp_path / "www").mkdir()
    token, bob = served.server.token("alice"), served.server.token("bob")
    other = Client()
    with (
        client.register_authorize_callback(lambda _: token),
        other.callbacks.authorize.add(lambda _: bob),
        place_of("omniverse", served, tmp_path) as server,
        plain_server(tmp_path / "www") as web,
    ):
        yield World(tmp_path / "T", server, other, web)
        other.close()


def listing(w: World) -> Any:
    w.make("a.txt", "b.txt", "d/")
    result, entries = client.list(w.t(""))
    assert [entry.relative_path for entry in entries] == ["a.txt", "b.txt", "d"]
    return result


def stat_file(w: World) -> Any:
    w.make("a.txt")
    result, entry = client.stat(w.t("a.txt"))
    assert entry.size == 5
    return result


def read_file(w: World) -> Any:
    w.make("a.txt")
    result, version, content = client.read_file(w.t("a.txt"))
    assert isinstance(version, str)
    assert memoryview(content).tobytes() == b"12345"
    return result


def read_missing(w: World) -> Any:
    result, version, content = client.read_file(w.t("missing"))
    assert (version, bytes(content)) == ("", b"")
    return result


def write_over(w: World) -> Any:
    w.make("a.txt")
    result = client.write_file(w.t("a.txt"), b"y")
    assert (w.folder / "a.txt").read_bytes() == b"y"
    return result


def folder_twice(w: World) -> Any:
    w.make("d/")
    return client.create_folder(w.t("d"))


def copied(*made: str, source: str, target: str, name: str = "copy", **kw: Any) -> Any:
    def run(w: World) -> Any:
        w.make(*made)
        return getattr(client, name)(w.t(source), w.t(target), **kw)

    return run


def merged(w: World) -> Any:
    w.make("d/x", "e/only")
    result = client.copy_folder(w.t("d"), w.t("e"), OVERWRITE)
    assert {path.name for path in (w.folder / "e").iterdir()} == {"x", "only"}
    return result


def moved(w: World) -> Any:
    w.make("a.txt")
    result, copied_it = client.move(w.t("a.txt"), w.t("m.txt"))
    assert copied_it is False
    return result


def moved_to_read_only(w: World) -> Any:
    w.make("m.txt")
    result, copied_it = client.move(w.t("m.txt"), f"{w.web}/x")
    assert copied_it is False
    assert (w.folder / "m.txt").exists()
    return result


def on(name: str, path: str, *made: str, **kw: Any) -> Any:
    def run(w: World) -> Any:
        w.make(*made)
        return getattr(client, name)(w.t(path), **kw)

    return run


def checkpoint_of_a_file(w: World) -> Any:
    w.make("a.txt")
    result, query = client.create_checkpoint(w.t("a.txt"), "c")
    assert query == ""
    return result


def unchanged_checkpoint(w: World) -> Any:
    url = w.server.at("a.txt")
    client.files.write_file(url, b"1", "c")
    assert client.create_checkpoint(url, "c", False) == (Result.OK, "&1")
    return client.create_checkpoint(url, "c", True)[0]


def blank_checkpoint(w: World) -> Any:
    client.files.write_file(w.server.at("a.txt"), b"1")
    result, query = client.create_checkpoint(w.server.at("a.txt"), "")
    assert not result.is_ok
    assert query == ""
    return result


def two_checkpoints(w: World) -> Any:
    for number in ("1", "2"):
        client.files.write_file(w.server.at("a.txt"), number.encode(), number)
    result, found = client.list_checkpoints(w.server.at("a.txt"))
    assert [(entry.relative_path, entry.comment) for entry in found] == [("&2", "2"), ("&1", "1")]
    return result


def restored(w: World) -> Any:
    two_checkpoints(w)
    result = client.restore_checkpoint(w.server.at("a.txt?&1"))
    assert len(client.list_checkpoints(w.server.at("a.txt"))[1]) == 3
    return result


def locked(w: World) -> Any:
    client.files.write_file(w.server.at("a.txt"), b"1")
    return client.lock(w.server.at("a.txt"))


def locked_by_another(w: World) -> Any:
    url = w.server.at("a.txt")
    w.other.run(writing.write_file, url, b"1")
    w.other.run(versions.lock, url)
    return client.write_file(url, b"")


def watched(
    start: Callable[..., client.Request], url: str, then: Callable[[], Any], until: Any
) -> Any:
    first, events, changed = list[Any](), list[Any](), threading.Condition()

    def begin(*values: Any) -> None:
        with changed:
            first.append(values)
            changed.notify_all()

    def event(*values: Any) -> None:
        with changed:
            events.append(values)
            changed.notify_all()

    with start(url, begin, event), changed:
        assert changed.wait_for(lambda: first, WAIT_S)
        then()
        assert changed.wait_for(lambda: any(until(values) for values in events), WAIT_S), events
    return first[0], events[-1]


def subscribed(w: World) -> Any:
    url = w.server.at("later")
    first, _ = watched(
        client.stat_subscribe_with_callback,
        url,
        lambda: w.other.run(writing.write_file, url, b"1"),
        lambda values: values[1] is ListEvent.CREATED,
    )
    return first[0]


def access_lost(w: World) -> Any:
    url = w.server.at("d")
    client.files.create_folder(url)
    _, last = watched(
        client.list_subscribe_with_callback,
        url,
        lambda: w.other.run(writing.delete, url),
        lambda values: values[0] is not Result.OK,
    )
    return last[0]


def signed_out(w: World) -> Any:
    ended, got, begun = threading.Event(), list[Any](), threading.Event()

    async def wait(the_client: Client) -> None:
        provider: Any = await the_client.provider(the_client.place(w.server.folder))
        connection = await provider.connection()
        async with connection.opened("subscribe", "/", "node") as stream:
            begun.set()
            await anext(stream)

    from downstage.client.outcome import result_of

    def callback(value: Any) -> None:
        got.append(result_of(value))
        ended.set()

    default_client().start(lambda _: wait(default_client()), callback)
    assert begun.wait(WAIT_S)
    client.sign_out(w.server.folder)
    assert ended.wait(WAIT_S)
    return got[0]


def after_shutdown(w: World) -> Any:
    called = list[Any]()
    client.shutdown()
    request = client.stat_with_callback(w.t("a"), lambda *values: called.append(values))
    assert called == []
    client.initialize()
    return request.id


def read_only(w: World) -> Any:
    url = f"{w.web}/x"
    results = {client.write_file(url, b""), client.delete(url), client.copy(url, f"{w.web}/y")}
    (result,) = results
    return result


SCENES: dict[int, Callable[[World], Any]] = {
    1: listing,
    2: stat_file,
    3: lambda w: client.stat(w.t("missing"))[0],
    4: read_file,
    5: read_missing,
    6: lambda w: client.write_file(w.t("n/e/w.txt"), b"x"),
    7: write_over,
    8: on("create_folder", "d"),
    9: folder_twice,
    10: copied("a.txt", source="a.txt", target="x/y/b.txt"),
    11: copied("a.txt", "b.txt", source="a.txt", target="b.txt"),
    12: copied("a.txt", "b.txt", source="a.txt", target="b.txt", behavior=OVERWRITE),
    13: copied(source="missing", target="z"),
    14: copied("a.txt", source="a.txt", target="a.txt"),
    15: copied("d/x", source="d", target="d/sub"),
    16: copied("d/", source="d", target="e", name="copy_file"),
    17: copied("a.txt", source="a.txt", target="e", name="copy_folder"),
    18: copied("a.txt", "d/", source="a.txt", target="d", name="copy_file", behavior=OVERWRITE),
    19: merged,
    20: moved,
    21: moved_to_read_only,
    22: on("delete", "d", "d/x"),
    23: on("delete_single", "d", "d/x"),
    24: on("delete", "missing"),
    25: on("undelete", "x"),
    26: on("obliterate", "d", "d/x", obliterate_checkpoints=False),
    27: checkpoint_of_a_file,
    28: unchanged_checkpoint,
    29: blank_checkpoint,
    30: two_checkpoints,
    31: restored,
    32: locked,
    33: locked_by_another,
    34: subscribed,
    35: access_lost,
    37: signed_out,
    38: after_shutdown,
    39: read_only,
}


def test_every_step_is_proved() -> None:
    assert len(STEPS) == 40
    assert set(SCENES) | set(ELSEWHERE) == set(STEPS)


@pytest.mark.parametrize("number", sorted(SCENES))
def test_step(number: int, world: World) -> None:
    expected = STEPS[number]["expect"][0]
    found = SCENES[number](world)
    if number == 29:
        assert expected == "error"
    elif number == 37:
        assert "Result.ERROR_CONNECTION" in expected
        assert found is Result.ERROR_CONNECTION
    elif number == 38:
        assert expected == f"request id {found} (kInvalidRequestId)"
    else:
        assert str(found) in expected.split(" or ")
