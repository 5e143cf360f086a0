"""Recordings over HTTP on a real engine: what is pushed while one runs is in it, and comes back."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcap.reader import make_reader

from downstage.streams.model import AUTO, EntryId
from downstage.testing.leaks import Snapshot, leaks_since
from downstage.testing.streams import StreamsServer, streams_server

pytestmark = [pytest.mark.real, pytest.mark.anyio]


@pytest.fixture(scope="module")
async def server(anyio_backend: str) -> AsyncIterator[StreamsServer]:
    """Each test works with names of its own."""
    data = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    async with streams_server(data / "d") as running:
        yield running
    shutil.rmtree(data, ignore_errors=True)


@pytest.fixture(scope="module")
async def alice(server: StreamsServer) -> AsyncIterator[httpx.AsyncClient]:
    """One connection, which is there before any test."""
    async with httpx.AsyncClient(
        base_url=server.url,
        headers=server.headers("alice"),
        timeout=30,
        limits=httpx.Limits(max_connections=1),
    ) as client:
        # All kinds of connections that the server keeps to its engine are there then.
        await recorded(server, client, "warm", ["warm"], warm=[b"1"])
        caller = await server.caller("alice")
        await server.streams.append(caller, [("warm", AUTO, b"2")], key="warm")
        await client.post("/v1/recordings", json={"name": "always", "streams": ["warm"]})
        yield client


@pytest.fixture(autouse=True)
async def settled(alice: httpx.AsyncClient) -> AsyncIterator[None]:
    """What a test's connections leave in the server goes while its loop runs."""
    before = Snapshot.take()
    yield
    with anyio.move_on_after(3):
        while leaks_since(before, patience_s=0):
            await anyio.sleep(0.01)


@pytest.fixture
async def nobody(server: StreamsServer) -> AsyncIterator[httpx.AsyncClient]:
    """Without a token; its connection ends with the answer."""
    async with httpx.AsyncClient(
        base_url=server.url, timeout=30, headers={"connection": "close"}
    ) as client:
        yield client


async def push(server: StreamsServer, stream: str, *payloads: bytes, ids: Any = None) -> list[str]:
    caller = await server.caller("alice")
    items = [(stream, ids[n] if ids else AUTO, data) for n, data in enumerate(payloads)]
    receipt = await server.streams.append(caller, items)
    return [id_.decode() for id_ in receipt.ids]


async def recorded(
    server: StreamsServer, alice: httpx.AsyncClient, name: str, streams: list[str], **data: Any
) -> dict[str, list[str]]:
    """Record *data* under *name*; ids by stream."""
    answer = await alice.post("/v1/recordings", json={"name": name, "streams": streams})
    assert answer.status_code == 201, answer.text
    ids = {stream: await push(server, stream, *payloads) for stream, payloads in data.items()}
    stopped = await alice.post(f"/v1/recordings/{name}/stop")
    assert stopped.status_code == 200, stopped.text
    assert stopped.json()["state"] == "stored"
    return ids


def framed(answer: httpx.Response) -> list[tuple[str, str, bytes]]:
    assert answer.status_code == 200, answer.text
    rows: list[tuple[str, str, int]] = json.loads(answer.headers["x-offsets"])
    ends = [row[2] for row in rows[1:]] + [len(answer.content)]
    return [(s, i, answer.content[at:end]) for (s, i, at), end in zip(rows, ends, strict=True)]


async def test_a_recording_holds_exactly_what_was_pushed_while_it_ran(
    server: StreamsServer, alice: httpx.AsyncClient
) -> None:
    await push(server, "a.old", b"before")
    ids = await recorded(server, alice, "exact", ["a.*"], **{
        "a.old": [b"%d" % n for n in range(300)],
        "a.new": [b"x" * 70_000 for _ in range(40)],
        "b.other": [b"not asked for"],
    })  # fmt: skip
    await push(server, "a.old", b"after")
    view = (await alice.get("/v1/recordings/exact")).json()
    held = {one["name"]: one for one in view["streams"]}
    assert set(held) == {"a.old", "a.new"}
    assert (held["a.old"]["entries"], held["a.new"]["bytes"]) == (300, 40 * 70_000)
    assert held["a.old"]["first_id"] == ids["a.old"][0]
    assert held["a.old"]["last_id"] == ids["a.old"][-1]
    file = await alice.get("/v1/recordings/exact/file")
    stock = make_reader(io.BytesIO(file.content), validate_crcs=True)
    found = [(c.topic, m.data) for _, c, m in stock.iter_messages(topics=["a.old"])]
    assert found == [("a.old", b"%d" % n) for n in range(300)]


async def test_entries_are_found_by_time_and_between_ids(
    server: StreamsServer, alice: httpx.AsyncClient
) -> None:
    await alice.post("/v1/recordings", json={"name": "times", "streams": ["t.a", "t.b"]})
    await push(server, "t.a", b"1", b"2", b"3", ids=[b"1000-0", b"2000-0", b"3000-0"])
    await push(server, "t.b", b"9", ids=[b"2900-5"])
    await alice.post("/v1/recordings/times/stop")
    at = "/v1/recordings/times/entries"
    both = {"streams": "t.a+t.b"}
    assert framed(await alice.get(at, params={**both, "at": "2600"})) == [
        ("t.a", "3000-0", b"3"), ("t.b", "2900-5", b"9")
    ]  # fmt: skip
    early = {**both, "at": "2600", "how": "previous"}
    assert framed(await alice.get(at, params=early)) == [("t.a", "2000-0", b"2")]
    near = {**both, "at": "2600", "tolerance_ms": "350"}
    assert [row[0] for row in framed(await alice.get(at, params=near))] == ["t.b"]
    assert [row[1] for row in framed(await alice.get(at, params={**both, "start": "2000"}))] == [
        "2000-0", "2900-5", "3000-0"
    ]  # fmt: skip
    back = {**both, "stop": "2900", "reverse": "true", "count": "2"}
    assert [row[1] for row in framed(await alice.get(at, params=back))] == ["2900-5", "2000-0"]
    ticks = (await alice.get("/v1/recordings/times/ticks", params={**both, "buckets": 2})).json()
    assert ticks["counts"] == {"t.a": [2, 1], "t.b": [0, 1]}
    for wrong in ({"streams": "t.c"}, {"streams": "t.a", "at": "x"}, {"streams": "../x"}):
        assert (await alice.get(at, params=wrong)).status_code in (404, 422)


async def test_names_are_one_recordings_alone(
    server: StreamsServer, alice: httpx.AsyncClient
) -> None:
    await recorded(server, alice, "first", ["n.a"], **{"n.a": [b"1"]})
    await recorded(server, alice, "second", ["n.a"], **{"n.a": [b"2"]})
    again = await alice.post("/v1/recordings", json={"name": "first", "streams": ["n.a"]})
    assert again.status_code == 409
    taken = await alice.patch("/v1/recordings/first", json={"name": "second"})
    assert taken.status_code == 409
    assert (await alice.get("/v1/recordings/first")).status_code == 200
    moved = await alice.patch("/v1/recordings/first", json={"name": "third", "hidden": True})
    assert (moved.status_code, moved.json()["name"]) == (200, "third")
    names = [one["name"] for one in (await alice.get("/v1/recordings")).json()["items"]]
    assert "third" not in names
    assert "second" in names
    assert (await alice.delete("/v1/recordings/third")).status_code == 204
    assert (await alice.get("/v1/recordings/third")).status_code == 404
    for bad in ("../x", "a/b", "", "x" * 129, "a\nb"):
        answer = await alice.post("/v1/recordings", json={"name": bad, "streams": ["n.a"]})
        assert answer.status_code == 422, bad


async def test_several_run_at_once(server: StreamsServer, alice: httpx.AsyncClient) -> None:
    for name in ("m1", "m2"):
        await alice.post("/v1/recordings", json={"name": name, "streams": ["many.*"]})
    await push(server, "many.a", b"1")
    await alice.post("/v1/recordings/m1/stop")
    await push(server, "many.a", b"2")
    await alice.post("/v1/recordings/m2/stop")
    counts = {
        name: (await alice.get(f"/v1/recordings/{name}")).json()["streams"][0]["entries"]
        for name in ("m1", "m2")
    }
    assert counts == {"m1": 1, "m2": 2}


async def test_who_may_not_read_a_stream_does_not_see_it_in_a_recording(
    server: StreamsServer, alice: httpx.AsyncClient, nobody: httpx.AsyncClient
) -> None:
    await recorded(server, alice, "secret", ["s.*"], **{"s.open": [b"1"], "s.shut": [b"2"]})
    token = await server.program_token(
        "bob", "streams:read", "streams:record", streams={"s.open": ["read", "record"]}
    )
    nobody.headers["authorization"] = f"Bearer {token}"
    bob = nobody
    view = (await bob.get("/v1/recordings/secret")).json()
    assert [one["name"] for one in view["streams"]] == ["s.open"]
    at = "/v1/recordings/secret/entries"
    assert (await bob.get(at, params={"streams": "s.open"})).status_code == 200
    assert (await bob.get(at, params={"streams": "s.shut"})).status_code == 404
    assert (await bob.get("/v1/recordings/secret/file")).status_code == 403
    assert (await bob.delete("/v1/recordings/secret")).status_code == 403
    assert (await bob.get("/v1/recordings/warm")).status_code == 404
    archive = await bob.get("/v1/recordings/secret/export")
    inside = zipfile.ZipFile(io.BytesIO(archive.content)).namelist()
    assert not [name for name in inside if "shut" in name]
    refused = await bob.post("/v1/recordings", json={"streams": ["s.shut"]})
    assert refused.status_code in (403, 404)
    del nobody.headers["authorization"]
    assert (await nobody.get("/v1/recordings")).status_code == 401


async def test_an_export_is_imported_as_the_same_recording(
    server: StreamsServer, alice: httpx.AsyncClient
) -> None:
    ids = await recorded(server, alice, "trip", ["x.a"], **{"x.a": [b"\xff\xd8\xff1", b"2"]})
    archive = (await alice.get("/v1/recordings/trip/export")).content
    assert (await alice.post("/v1/recordings-imports", content=archive)).status_code == 409
    made = await alice.post("/v1/recordings-imports", params={"name": "copy"}, content=archive)
    assert made.status_code == 201, made.text
    assert (made.json()["imported"], made.json()["state"]) == (True, "stored")
    found = framed(await alice.get("/v1/recordings/copy/entries", params={"streams": "x.a"}))
    assert [(row[1], row[2]) for row in found] == [
        (ids["x.a"][0], b"\xff\xd8\xff1"), (ids["x.a"][1], b"2")
    ]  # fmt: skip
    file = (await alice.get("/v1/recordings/trip/file")).content
    again = await alice.post("/v1/recordings-imports", params={"name": "copy2"}, content=file)
    assert again.status_code == 201
    bad = await alice.post("/v1/recordings-imports", params={"name": "bad"}, content=b"PK nothing")
    assert bad.status_code == 400
    assert (await alice.get("/v1/recordings/bad")).status_code == 404


async def test_T01_ten_thousand_ranges_cost_nothing(
    server: StreamsServer, alice: httpx.AsyncClient
) -> None:
    await recorded(server, alice, "ranges", ["r.a"], **{"r.a": [b"x" * 100_000]})
    for path in ("/v1/recordings/ranges/file", "/recordings/static/ranges/ranges.mcap"):
        whole = (await alice.get(path)).content
        part = await alice.get(path, headers={"range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, whole[10:20])
        assert part.headers["content-range"] == f"bytes 10-19/{len(whole)}"
        tail = await alice.get(path, headers={"range": "bytes=-5"})
        assert tail.content == whole[-5:]
        many = ",".join(f"{n}-{n + 5000}" for n in range(10_000))
        for wrong in (f"bytes={many[:60_000]}", f"bytes={len(whole)}-", "bytes=-0"):
            refused = await alice.get(path, headers={"range": wrong})
            assert refused.status_code in (416, 431), wrong[:40]
        huge = await alice.get(path, headers={"range": f"bytes=-{10**18}"})
        assert huge.content == whole


async def test_files_beside_a_recording(
    server: StreamsServer, alice: httpx.AsyncClient, nobody: httpx.AsyncClient
) -> None:
    ids = await recorded(
        server, alice, "files", ["f.*"],
        **{"f.json": [b'{"x":1}', b"[2]"], "f.cam": [b"\xff\xd8\xff no picture"]},
    )  # fmt: skip
    at = "/recordings/static/files"
    made = json.loads((await alice.get(f"{at}/f.json.json")).content)
    assert made == [{"timestamp": ids["f.json"][0], "x": 1},
                    {"timestamp": ids["f.json"][1], "value": [2]}]  # fmt: skip
    raw = f"{at}/raw/f.json/{ids['f.json'][0]}_{ids['f.json'][1]}.zip"
    inside = zipfile.ZipFile(io.BytesIO((await alice.get(raw)).content))
    assert inside.namelist() == ids["f.json"]
    assert (await alice.get(f"{at}/f.cam.mp4")).status_code == 415
    for none in ("nothing", "f.none.json", "../../../etc/passwd", "%2e%2e/%2e%2e/x", "raw/x"):
        assert (await alice.get(f"{at}/{none}")).status_code in (400, 404), none
    link = (await alice.post("/v1/recordings/files/links", json={"file": "f.json.json"})).json()
    assert (await nobody.get(link["url"])).status_code == 200
    assert (await nobody.get(link["url"] + "x")).status_code == 403
    # Whoever guesses names learns nothing: the same answer whether there is such a recording.
    guesses = ["/recordings/static/files/f.json.json", "/recordings/static/none/f.json.json"]
    told = [await nobody.get(path, params={"e": "1", "t": "main", "s": "x"}) for path in guesses]
    assert [(answer.status_code, answer.content) for answer in told] == [(403, told[0].content)] * 2
    other = link["url"].replace("f.json.json", "files.mcap")
    assert (await nobody.get(other)).status_code == 403
    assert (await nobody.get(link["url"].partition("?")[0])).status_code == 401


async def test_a_replay_brings_entries_into_other_streams(
    server: StreamsServer, alice: httpx.AsyncClient
) -> None:
    ids = await recorded(server, alice, "play", ["p.*"], **{
        "p.a": [b"%d" % n for n in range(500)], "p.b": [b"only"]
    })  # fmt: skip
    body = {"prefix": "again.", "speed": 0, "original_ids": True}
    made = await alice.post("/v1/recordings/play/replays", json=body)
    assert made.status_code == 201, made.text
    at = f"/v1/recordings/play/replays/{made.json()['id']}"
    async with alice.stream("GET", f"{at}/events", params={"interval": 0.05}) as events:
        told = [json.loads(line[6:]) async for line in events.aiter_lines() if line[:5] == "data:"]
    assert told[-1]["state"] == "ended", told[-1]
    assert told[-1]["counts"] == {"p.a": 500, "p.b": 1}
    assert told[-1]["active"] == []
    caller = await server.caller("alice")
    found = await server.streams.range(caller, "again.p.a", None, None, count=1000)
    assert [(str(e.id), e.data) for e in found] == [
        (id_, b"%d" % n) for n, id_ in enumerate(ids["p.a"])
    ]
    again = await alice.post("/v1/recordings/play/replays", json=body)
    at = f"/v1/recordings/play/replays/{again.json()['id']}"
    with anyio.fail_after(10):
        while (state := (await alice.get(at)).json())["state"] == "playing":
            await anyio.sleep(0.01)
    assert (state["state"], bool(state["reason"])) == ("failed", True)  # older ids than are there
    listed = (await alice.get("/v1/recordings/play/replays")).json()["items"]
    assert len(listed) == 2
    assert (await alice.delete(at)).status_code == 204
    assert (await alice.get(at)).status_code == 404


async def test_a_replay_is_steered(server: StreamsServer, alice: httpx.AsyncClient) -> None:
    await alice.post("/v1/recordings", json={"name": "steer", "streams": ["st.a"]})
    ids = [b"%d-0" % (1000 + 60_000 * n) for n in range(10)]
    await push(server, "st.a", *[b"%d" % n for n in range(10)], ids=ids)
    await alice.post("/v1/recordings/steer/stop")
    made = await alice.post("/v1/recordings/steer/replays", json={"prefix": "sx.", "paused": True})
    at = f"/v1/recordings/steer/replays/{made.json()['id']}"

    async def until(count: int) -> dict[str, Any]:
        with anyio.fail_after(10):
            while True:
                view = (await alice.get(at)).json()
                if view["counts"].get("st.a", 0) >= count or view["state"] == "failed":
                    return view
                await anyio.sleep(0.01)

    assert made.json()["state"] == "paused"
    assert (await alice.patch(at, json={"paused": False})).json()["state"] == "playing"
    view = await until(1)
    assert (view["counts"], view["duration_ms"]) == ({"st.a": 1}, 540_000)
    assert (await alice.patch(at, json={"position_ms": 539_000, "speed": 10})).status_code == 200
    view = await until(2)
    assert view["current"] == {"st.a": "541000-0"}
    caller = await server.caller("alice")
    found = await server.streams.range(caller, "sx.st.a", None, None)
    assert [e.data for e in found] == [b"0", b"9"]
    assert found[0].id > EntryId(1_600_000_000_000)


async def test_a_replay_loops_and_goes_live(
    server: StreamsServer, alice: httpx.AsyncClient
) -> None:
    await recorded(server, alice, "loop", ["l.a"], **{"l.a": [b"1", b"2"]})
    looping = await alice.post(
        "/v1/recordings/loop/replays", json={"prefix": "lx.", "speed": 0, "loop": True}
    )
    at = f"/v1/recordings/loop/replays/{looping.json()['id']}"
    with anyio.fail_after(10):
        while (await alice.get(at)).json()["rounds"] < 3:
            await anyio.sleep(0.01)
    await alice.delete(at)
    live = await alice.post(
        "/v1/recordings/loop/replays", json={"prefix": "ly.", "speed": 0, "live": True}
    )
    at = f"/v1/recordings/loop/replays/{live.json()['id']}"
    await push(server, "l.a", b"3")
    with anyio.fail_after(10):
        while (view := (await alice.get(at)).json())["counts"].get("l.a", 0) < 3:
            await anyio.sleep(0.01)
    assert view["state"] == "live"
    caller = await server.caller("alice")
    found = await server.streams.range(caller, "ly.l.a", None, None)
    assert [e.data for e in found] == [b"1", b"2", b"3"]
    await alice.delete(at)
