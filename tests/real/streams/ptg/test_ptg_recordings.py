"""``/recordings`` of the data server: every row of its REST API, and its replay socket."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import anyio
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from downstage.testing.streams import StreamsServer

pytestmark = [pytest.mark.real, pytest.mark.anyio]

INFO = {
    "name", "streams", "size_mb", "duration", "duration_secs", "first-entry", "last-entry",
    "first-entry-time", "last-entry-time", "files",
}  # fmt: skip
OF_STREAM = INFO - {"name", "streams", "files"} | {"chunk_count"}
CLOCK = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}")


async def pushed(stock: Any, stream: str, *payloads: bytes) -> list[str]:
    return [id_ for data in payloads for id_ in await stock.upload(stream, [data])]


async def recorded(stock: Any, name: str, stream: str, *payloads: bytes) -> list[str]:
    assert await stock.put("recordings", "start", rec_id=name) == name
    ids = await pushed(stock, stream, *payloads)
    assert await stock.put("recordings", "stop", rec_id=name) == 1
    return ids


async def test_a_recording_from_start_to_deletion(stock: Any) -> None:
    assert await stock.put("recordings", "start", rec_id="trip-1") == "trip-1"
    assert await stock.get("recordings", "current") == "trip-1"
    ids = await pushed(stock, "rx.main", b"1", b"2", b"3")
    assert (await stock.get("recordings", "current", info=True))["name"] == "trip-1"
    assert await stock.put("recordings", "stop") == 1
    assert await stock.get("recordings", "current") != "trip-1"
    assert "trip-1" in await stock.get("recordings")

    info = await stock.get("recordings", "trip-1")
    assert set(info) == INFO
    held = info["streams"]["rx.main"]
    assert set(held) == OF_STREAM
    assert (held["first-entry"], held["last-entry"]) == (ids[0], ids[2])
    assert CLOCK.fullmatch(held["first-entry-time"])
    assert held["chunk_count"] >= 1
    assert isinstance(held["duration_secs"], float)
    infos = await stock.get("recordings", info=True, cache=False)
    assert any(one["name"] == "trip-1" for one in infos)

    assert await stock.put("recordings", "trip-1", "rename", "trip-2") == [True, True]
    assert (await stock.call("GET", "recordings", "trip-1")).status_code == 404
    assert await stock.put("recordings", "trip-2", "hide") == [True, True]
    assert "trip-2" not in await stock.get("recordings")
    assert await stock.put("recordings", "trip-2", "unhide") == [True, True]
    assert "trip-2" in await stock.get("recordings")
    assert isinstance(await stock.delete("recordings", "cache"), dict)
    assert await stock.delete("recordings", "trip-2") == [True, True]
    assert await stock.delete("recordings", "trip-2") == [False, False]


async def test_names_of_the_time_and_events(stock: Any) -> None:
    name = await stock.put("recordings", "start")
    assert re.fullmatch(r"\d{4}\.\d\d\.\d\d-\d\d\.\d\d\.\d\d(_\d+)?", name)
    assert (await stock.data("event:recording:id"))[0][2] == name.encode()
    assert await stock.put("recordings", "stop", rec_id=name) == 1
    assert (await stock.data("event:recording:id"))[0][2] == b""
    assert await stock.put("recordings", "stop", rec_id=name) == 0


async def test_a_taken_name_is_a_conflict_and_a_bad_one_is_refused(stock: Any) -> None:
    await recorded(stock, "one", "rn.main", b"1")
    await recorded(stock, "two", "rn.main", b"2")
    answer = await stock.call("PUT", "recordings", "one", "rename", "two")
    assert (answer.status_code, list(answer.json())) == (409, ["detail"])
    assert (
        await stock.call("PUT", "recordings/start", params={"rec_id": "one"})
    ).status_code == 409
    for bad in ("..", "a b", "x" * 129, "é"):
        answer = await stock.call("PUT", "recordings/start", params={"rec_id": bad})
        assert answer.status_code == 422, bad
    assert (await stock.call("PUT", "recordings", "none", "hide")).status_code == 404


async def test_files_are_uploaded_and_read_back_in_ranges(stock: Any) -> None:
    await recorded(stock, "up", "ru.main", b"\xff\xd8\xff")
    place = "recordings/upload/up"
    files = {"file": ("any", b"0123456789")}
    answer = await stock.call("POST", place, "notes.txt", files=files)
    assert answer.json() == {"filename": "notes.txt", "url": "/recordings/static/up/notes.txt"}
    assert (await stock.call("POST", place, "notes.txt", files=files)).status_code == 409
    again = {"file": ("any", b"abc" * 700_000), "more": b"x"}
    changed = await stock.call("POST", place, "notes.txt", files=again, params={"overwrite": True})
    assert changed.status_code == 200
    static = "recordings/static/up"
    part = await stock.call("GET", static, "notes.txt", headers={"range": "bytes=3-5"})
    assert (part.status_code, part.content) == (206, b"abc")
    assert part.headers["content-range"] == "bytes 3-5/2100000"
    assert "notes.txt" in (await stock.get("recordings", "up"))["files"]
    mcap = await stock.call("GET", static, "up.mcap")
    assert mcap.content[:5] == b"\x89MCAP"


async def test_C03_uploads_stay_beside_their_recording(stock: Any) -> None:
    await recorded(stock, "shut", "rs.main", b"1")
    files = {"file": ("../../../etc/cron.d/x", b"evil")}
    for name in ("..%2f..%2fevil", "%2e%2e", "a%2fb", "a%5cb", ".hidden", "x%00y", "up.mcap%00"):
        answer = await stock.call("POST", f"recordings/upload/shut/{name}", files=files)
        assert answer.status_code in (400, 404, 422), name
    for name in ("%2e%2e/one/one.mcap", "..%2fone.mcap", "%2fetc%2fpasswd"):
        answer = await stock.call("GET", f"recordings/static/shut/{name}")
        assert answer.status_code in (400, 404), name
    answer = await stock.call("POST", "recordings/upload/none/x.txt", files=files)
    assert answer.status_code == 404
    answer = await stock.call("POST", "recordings/upload/shut/shut.mcap", files=files)
    assert answer.status_code == 409
    no_form = await stock.call("POST", "recordings/upload/shut/x.txt", data=b"raw")
    assert no_form.status_code in (400, 415)
    other = await stock.call("POST", "recordings/upload/shut/x.txt", files={"other": b"1"})
    assert other.status_code == 422
    stock.session.cookies.clear()
    for method, path in (
        ("POST", "recordings/upload/shut/x.txt"),
        ("GET", "recordings/static/shut/shut.mcap"),
        ("GET", "recordings"),
        ("PUT", "recordings/start"),
    ):
        assert (await stock.call(method, path)).status_code == 401, path


async def test_T02_forms_that_never_end_are_cut(stock: Any) -> None:
    await recorded(stock, "form", "rt.main", b"1")
    place = "recordings/upload/form/x.bin"
    kind = {"content-type": "multipart/form-data; boundary=b"}
    many = b"".join(b'--b\r\nContent-Disposition: form-data; name="%d"\r\n\r\nx\r\n' % n
                    for n in range(1000))  # fmt: skip
    file = b'--b\r\nContent-Disposition: form-data; name="file"\r\n'
    for body, status in (
        (many + b"--b--\r\n", 413),
        (file + b"X: " + b"y" * 20_000 + b"\r\n\r\nx\r\n--b--\r\n", 413),
        (file + b"\r\nno end", 400),
        (b"--b\r\nnonsense", 400),
        (b"", 400),
    ):
        answer = await stock.call("POST", place, data=body, headers=kind)
        assert answer.status_code in {400, status}, (body[:40], answer.text)
    assert "x.bin" not in (await stock.get("recordings", "form"))["files"]


async def played(stock: Any, **params: Any) -> list[dict[str, Any]]:
    """Messages of a replay, and at last how the server closed."""
    said: list[dict[str, Any]] = []
    with anyio.fail_after(20):
        async with stock.socket("recordings", "replay", **params) as socket:
            with suppress(ConnectionClosed):
                while True:
                    said.append(json.loads(await socket.recv()))
            return [*said, {"code": socket.close_code, "reason": socket.close_reason}]


async def test_a_replay_tells_its_progress_as_the_stock_client_reads_it(stock: Any) -> None:
    ids = await recorded(stock, "show", "rp.main", b"1", b"2", b"3")
    *said, closed = await played(
        stock, rec_id="show", prefix="again:", sid="rp.main", fullspeed=True, interval=0.1
    )
    assert closed == {"code": 1000, "reason": ""}
    assert {key for one in said for key in one} == {"updates", "active", "durations", "current"}
    assert sum(one["updates"].get("rp.main", 0) for one in said) == 3
    assert said[-1]["active"] == []
    for one in said:
        for stream in one["updates"]:  # as its progress bars do
            assert int(one["current"][stream]) <= int(one["durations"][stream])
    again = await stock.data("again:rp.main", last_entry_id="0", count=10)
    assert [row[2] for row in again] == [b"1", b"2", b"3"]
    assert not {row[1] for row in again} & set(ids)


async def test_a_replay_may_keep_ids_and_fails_with_a_reason(stock: Any) -> None:
    ids = await recorded(stock, "keep", "rk.main", b"1", b"2")
    asked = {"rec_id": "keep", "prefix": "k:", "sid": "rk.main", "fullspeed": True}
    *_, closed = await played(stock, **asked, original=True)
    assert closed["code"] == 1000
    rows = await stock.data("k:rk.main", last_entry_id="0", count=10)
    assert [row[1] for row in rows] == ids
    *_, closed = await played(stock, **asked, original=True)
    assert (closed["code"], closed["reason"]) == (1008, "bad-id")
    for wrong, reason in (
        ({"rec_id": "none"}, "not-found"),
        ({"rec_id": "../x"}, "invalid-field"),
        ({"rec_id": "keep", "sid": "other"}, "not-found"),
        ({**asked, "interval": "x"}, "invalid-field"),
        ({**asked, "speed": "-1"}, "invalid-field"),
    ):
        *_, closed = await played(stock, **wrong)
        assert (closed["code"], closed["reason"]) == (1008, reason), wrong


async def test_closing_the_socket_ends_the_replay(stock: Any, demo: StreamsServer) -> None:
    caller = await demo.caller("alice")
    ids = [b"%d-0" % (1000 + 3_600_000 * n) for n in range(2)]
    await stock.put("recordings", "start", rec_id="long")
    await demo.streams.append(caller, [("rl.main", id_, b"x") for id_ in ids])
    await stock.put("recordings", "stop", rec_id="long")
    async with stock.socket(
        "recordings", "replay", rec_id="long", sid="rl.main", prefix="l:", interval=0.05
    ) as socket:
        with anyio.fail_after(10):
            while not json.loads(await socket.recv())["updates"]:
                pass
    headers = {"authorization": f"Bearer {stock.token}"}
    with anyio.fail_after(10):
        while True:
            running = await stock.call("GET", "v1/recordings/long/replays", headers=headers)
            if not running.json()["items"]:
                break
            await anyio.sleep(0.01)


async def test_a_replay_needs_a_token(stock: Any) -> None:
    stock.token = "nobody"
    with pytest.raises(InvalidStatus) as refused:
        async with stock.socket("recordings", "replay", rec_id="show"):
            pass
    assert refused.value.response.status_code == 401
