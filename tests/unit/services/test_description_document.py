"""What is taken as a description, what is kept of it on disk, and for whom."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.services.description import Description
from downstage.services.description.cache import MAX_FILES, Kept, Shelf, default_folder, key_of
from downstage.services.description.document import (
    MAX_BYTES,
    MAX_NESTING,
    MAX_PATHS,
    NOWHERE,
    BadDocument,
    fetch,
    fetch_document,
    parse,
)
from downstage.services.description.lazy import LazyObject
from downstage.services.errors import ServiceUnavailableError
from downstage.services.transports import Answer, Call
from downstage.testing.watchdog import Watchdog, watch_loop

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

JSON = {"content-type": "application/json"}
SMALL: dict[str, Any] = {"openapi": "3.1.0", "paths": {"/a": {"get": {"summary": "A"}}}}
BODY = json.dumps(SMALL).encode()
BASE = "http://host/base"


class Server:
    """Answers as it is told, and keeps what it was asked."""

    def __init__(self, answer: Answer | Callable[[Call], Answer]) -> None:
        self.answer = answer
        self.calls = list[Call]()

    async def request(self, call: Call) -> Answer:
        self.calls.append(call)
        return self.answer if isinstance(self.answer, Answer) else self.answer(call)


def tagged(body: bytes = BODY, etag: str = '"1"') -> Callable[[Call], Answer]:
    def answer(call: Call) -> Answer:
        if call.headers.get("if-none-match") == etag:
            return Answer(304, {"etag": etag}, b"")
        return Answer(200, {**JSON, "etag": etag}, body)

    return answer


async def fetched(server: Any, **more: Any) -> Description | None:
    return await fetch(server, base=BASE, **{"cache": NOWHERE, **more})


async def test_the_document_lies_below_the_address() -> None:
    server = Server(Answer(200, {"content-type": "application/vnd.oai.openapi+json"}, BODY))
    description = await fetched(server, headers={"authorization": "Bearer x"})
    assert description is not None
    assert [operation.path for operation in description.operations] == ["/a"]
    (call,) = server.calls
    assert (call.method, call.path, call.headers["authorization"]) == (
        "GET",
        "/openapi.json",
        "Bearer x",
    )


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404, JSON, BODY),
        Answer(304, JSON, b""),
        Answer(200, {"content-type": "text/html"}, BODY),
        Answer(200, {}, BODY),
        Answer(302, {**JSON, "location": "http://evil.example/openapi.json"}, BODY),
        Answer(200, JSON, b"[]"),
        Answer(200, JSON, b"{"),
        Answer(200, JSON, b"\xff"),
        Answer(200, JSON, b""),
        Answer(200, JSON, b'{"paths": {"/a": {"get": \xff}}}'),
        Answer(200, JSON, b'{"paths": {"/a": {"get": {]}}}'),
    ],
)
async def test_A17_what_is_no_description_is_none(answer: Answer) -> None:
    server = Server(answer)
    assert await fetched(server) is None
    assert len(server.calls) == 1  # nowhere else is asked
    with pytest.raises(BadDocument):
        await fetch_document(server)


async def test_a_service_that_fails_or_is_silent_says_nothing() -> None:
    def fails(call: Call) -> Answer:
        raise ServiceUnavailableError("no")

    assert await fetched(Server(fails)) is None

    class Silent:
        async def request(self, call: Call) -> Answer:
            await anyio.sleep_forever()
            raise AssertionError

    with anyio.fail_after(5):
        assert await fetched(Silent(), timeout_s=0.02) is None


def nested(depth: int) -> bytes:
    return b'{"x":' * depth + b"1" + b"}" * depth


def test_A17_documents_are_bounded() -> None:
    with pytest.raises(BadDocument, match="larger"):
        parse(b" " * (MAX_BYTES + 1))
    many = {"paths": {f"/{i}": {} for i in range(MAX_PATHS + 1)}}
    with pytest.raises(BadDocument, match="more than 5000 paths"):
        parse(json.dumps(many).encode())
    parse(json.dumps({"paths": dict(list(many["paths"].items())[1:])}).encode())
    parse(nested(MAX_NESTING))
    for deep in (nested(MAX_NESTING + 1), b"[" * 100_000, b'{"a":' * 100_000, nested(900)):
        with pytest.raises(BadDocument, match=r"nested|no JSON"):
            parse(deep)
    for members in ("paths", "components", "definitions"):
        outer = b'{"%s":{"a":%s}}' % (members.encode(), nested(MAX_NESTING - 1))
        with pytest.raises(BadDocument, match="nested"):
            parse(outer)
    with pytest.raises(BadDocument, match="one part"):
        parse(json.dumps({"paths": {"/a": {"get": {"summary": "x" * (1 << 20)}}}}).encode())


@given(st.binary(max_size=40) | st.text('{}[]":,1a\\', max_size=30).map(str.encode))
def test_bytes_are_a_document_or_bad(body: bytes) -> None:
    try:
        document = parse(body)
    except BadDocument:
        return
    assert document.plain() == json.loads(body)


def test_lazy_objects_are_what_they_hold() -> None:
    plain = {"a": {"b": [1, {"c": None}]}, "d": "x" * 20_000, "e": 1.5}
    lazy = LazyObject(json.dumps(plain).encode())
    assert lazy.plain() == plain
    assert lazy == plain
    assert (list(lazy), len(lazy), lazy["e"], "z" in lazy) == (["a", "d", "e"], 3, 1.5, False)
    assert lazy["a"]["b"] == [1, {"c": None}]
    assert dict(lazy.items())["a"] == {"b": [1, {"c": None}]}


async def test_a_large_document_does_not_hold_the_loop() -> None:
    parameters = [{"name": f"p{i}", "in": "query"} for i in range(60)]
    paths = {f"/r{i}/{{id}}": {"get": {"parameters": parameters}} for i in range(600)}
    body = msgspec.json.encode({"paths": paths})
    assert len(body) > 1_000_000
    before = time.thread_time()
    parse(body)
    alone_s = time.thread_time() - before
    # Processor time of the loop's own thread: how busy the machine is does not show in it.
    found = list[Description | None]()

    async def look() -> None:
        found.append(await fetched(Server(Answer(200, JSON, body))))

    with watch_loop(Watchdog(computed_s=alone_s / 4, blocked_s=math.inf)) as watchdog:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look)
    assert found != [None]
    assert watchdog.report() == ""


async def test_an_etag_spares_the_document(tmp_path: Path) -> None:
    server = Server(tagged())
    for _ in range(2):
        assert await fetched(server, cache=tmp_path) is not None
    assert [call.headers.get("if-none-match") for call in server.calls] == [None, '"1"']
    (entry,) = tmp_path.iterdir()
    assert entry.stat().st_mode & 0o777 == 0o600
    assert entry.name == f"{key_of(BASE, {})}.json"


async def test_a_new_document_takes_the_place_of_the_old(tmp_path: Path) -> None:
    await fetched(Server(tagged()), cache=tmp_path)
    changed = json.dumps({"paths": {"/b": {"get": {}}}}).encode()
    for _ in range(2):
        description = await fetched(Server(tagged(changed, '"2"')), cache=tmp_path)
        assert description is not None
        assert [operation.path for operation in description.operations] == ["/b"]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "headers", [JSON, {**JSON, "etag": '"1"', "cache-control": "private, no-store"}]
)
async def test_what_must_not_be_kept_is_not(tmp_path: Path, headers: dict[str, str]) -> None:
    await fetched(Server(Answer(200, headers, BODY)), cache=tmp_path)
    await fetch(Server(tagged()), base="local://", cache=tmp_path)
    await fetched(Server(Answer(200, {**JSON, "etag": '"1"'}, b"[]")), cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_A17_nobody_gets_what_was_kept_for_another(tmp_path: Path) -> None:
    """Each caller, by whatever header tells them apart, has an entry of their own."""
    servers = list[Server]()
    for headers in (
        {},
        {"authorization": "Bearer a"},
        {"Authorization": "Bearer b"},
        {"X-API-KEY": "a"},
        {"cookie": "a"},
    ):
        servers.append(Server(tagged()))
        await fetched(servers[-1], cache=tmp_path, headers=headers)
    assert all("if-none-match" not in server.calls[0].headers for server in servers)
    names = {path.name for path in tmp_path.iterdir()}
    assert len(names) == 5
    assert not any("Bearer" in path.read_text() for path in tmp_path.iterdir())


def test_the_key_is_of_the_service_and_the_caller_alone() -> None:
    assert key_of(BASE, {"X-Request-ID": "1", "traceparent": "2"}) == key_of(BASE + "/", {})
    assert key_of(BASE, {"Cookie": "1"}) == key_of(BASE, {"cookie": "1"})
    assert key_of(BASE, {}) != key_of("http://host", {})


@pytest.mark.parametrize("damage", ["empty", "cut", "changed", "no json", "link", "open", "folder"])
async def test_a_damaged_entry_is_as_none(tmp_path: Path, damage: str) -> None:
    await fetched(Server(tagged()), cache=tmp_path)
    entry = tmp_path / f"{key_of(BASE, {})}.json"
    whole = entry.read_bytes()
    match damage:
        case "empty":
            entry.write_bytes(b"")
        case "cut":
            entry.write_bytes(whole[:-5])
        case "changed":
            entry.write_bytes(whole.replace(b"/a", b"/b"))
        case "no json":
            entry.write_bytes(b"\x00" * 50)
        case "link":
            entry.rename(tmp_path / "elsewhere")
            entry.symlink_to(tmp_path / "elsewhere")
        case "open":
            entry.chmod(0o666)
        case _:
            entry.unlink()
            entry.mkdir()
    server = Server(tagged())
    description = await fetched(server, cache=tmp_path)
    assert description is not None
    assert [operation.path for operation in description.operations] == ["/a"]
    assert "if-none-match" not in server.calls[0].headers


async def test_an_entry_that_is_no_description_is_asked_for_anew(tmp_path: Path) -> None:
    Shelf(tmp_path, key_of(BASE, {})).write(Kept('"1"', b"[]"))
    server = Server(tagged())
    assert await fetched(server, cache=tmp_path) is not None
    assert [call.headers.get("if-none-match") for call in server.calls] == ['"1"', None]


async def test_a_folder_that_cannot_be_written_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert await fetched(Server(tagged()), cache=tmp_path / "file" / "openapi") is not None


def test_the_oldest_entries_go(tmp_path: Path) -> None:
    for number in range(MAX_FILES):
        path = tmp_path / f"{number}.json"
        path.write_bytes(b"x")
        os.utime(path, (number, number))
    Shelf(tmp_path, "new").write(Kept('"1"', BODY))
    left = {path.name for path in tmp_path.iterdir()}
    assert len(left) == MAX_FILES
    assert {"new.json", "1.json"} <= left
    assert "0.json" not in left


async def test_a_user_without_a_home_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> Any:
        raise KeyError(uid)

    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    server = Server(tagged())
    for _ in range(2):
        assert await fetched(server, cache=None) is not None
    assert "if-none-match" not in server.calls[1].headers


def test_the_folder_is_the_user_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "downstage" / "openapi"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_folder() == Path.home() / ".cache" / "downstage" / "openapi"
