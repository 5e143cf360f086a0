"""``/data`` over HTTP: places, counts, forms, and bodies that are not to be had."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = [pytest.mark.real, pytest.mark.anyio]


async def fill(demo: Any, *items: tuple[str, bytes, bytes]) -> list[str]:
    receipt = await demo.streams.append(await demo.caller("admin"), items)
    return [id_.decode() for id_ in receipt.ids]


async def ids(demo: Any, stream: str, count: int) -> list[str]:
    return await fill(demo, *[(stream, b"%d" % (n + 1), b"p%d" % n) for n in range(count)])


async def test_places(demo: Any, stock: Any) -> None:
    await ids(demo, "places", 5)

    async def got(**params: Any) -> list[str]:
        return [id_ for _, id_, _ in await stock.data("places", **params)]

    assert await got() == ["5-0"]
    assert await got(count=3) == ["3-0", "4-0", "5-0"]
    assert await got(last_entry_id="-", count=2) == ["4-0", "5-0"]
    assert await got(last_entry_id="*", count=100) == [f"{n}-0" for n in range(1, 6)]
    assert await got(last_entry_id="0") == ["1-0"]
    assert await got(last_entry_id="2", count=2) == ["3-0", "4-0"]
    assert await got(last_entry_id="2-0", count=10**9) == ["3-0", "4-0", "5-0"]
    assert await got(last_entry_id="$") == []
    assert await got(last_entry_id="5-0") == []


async def test_the_answer_says_where_each_entry_begins(demo: Any, stock: Any) -> None:
    await fill(demo, ("off-a", b"1", b"abc"), ("off-a", b"2", b""), ("off-b", b"1", b"de"))
    answer = await stock.call("GET", "data", "off-b+off-a", params={"count": 5})
    assert answer.headers["content-type"] == "application/octet-stream"
    offsets = json.loads(answer.headers["entry-offset"])
    assert offsets == [["off-b", "1-0", 0], ["off-a", "1-0", 2], ["off-a", "2-0", 5]]
    assert answer.headers["x-offsets"] == answer.headers["entry-offset"]
    assert answer.content == b"deabc"
    assert answer.headers["x-last-entry-id"] == "1-0+2-0"
    again = await stock.call(
        "GET", "data", "off-b+off-a", params={"last_entry_id": answer.headers["x-last-entry-id"]}
    )
    assert (again.content, again.headers["entry-offset"]) == (b"", "[]")
    assert again.headers["x-last-entry-id"] == "1-0+2-0"


async def test_a_place_for_each_stream_and_a_plus_as_a_blank(demo: Any, stock: Any) -> None:
    await ids(demo, "each-a", 3)
    await ids(demo, "each-b", 3)
    for path in ("each-a+each-b", "each-a%2Beach-b", "each-a%20each-b"):
        for place in ("last_entry_id=1-0+2-0", "last_entry_id=1-0%2B2-0"):
            answer = await stock.call("GET", f"data/{path}/?{place}")
            rows = json.loads(answer.headers["entry-offset"])
            assert [row[:2] for row in rows] == [["each-a", "2-0"], ["each-b", "3-0"]]


async def test_an_unknown_stream_has_no_entries(stock: Any) -> None:
    answer = await stock.call("GET", "data", "never-was")
    assert (answer.status_code, answer.headers["entry-offset"], answer.content) == (200, "[]", b"")


@pytest.mark.parametrize(
    "query",
    ["count=0", "count=-1", "count=abc", "count=1.5", f"count={'9' * 5000}"]
    + [f"last_entry_id={place}" for place in ("x", "1.5", "-1", "1-x", "%00", "", "%2B", "9" * 30)],
)
async def test_what_was_500_is_422(stock: Any, query: str) -> None:
    answer = await stock.call("GET", f"data/cam?{query}")
    assert answer.status_code == 422, answer.text
    (said, *_) = answer.json()["detail"]
    assert {"loc", "msg", "type"} <= set(said)
    assert said["loc"] == ["query", query.partition("=")[0]]


async def test_C09_much_at_once_is_bounded(demo: Any, stock: Any) -> None:
    """Header and body stay small, and going on from the last id misses nothing."""
    name = "bounded-" + "x" * 100
    await ids(demo, name, 600)
    seen: list[str] = []
    last = "0"
    while True:
        answer = await stock.call(
            "GET", "data", name, params={"count": 10**9, "last_entry_id": last}
        )
        assert len(answer.headers["entry-offset"]) < 60_000
        rows = json.loads(answer.headers["entry-offset"])
        if not rows:
            break
        seen += [row[1] for row in rows]
        last = answer.headers["x-last-entry-id"]
    assert seen == [f"{n}-0" for n in range(1, 601)]
    many = "+".join(f"s{n:0120}" for n in range(500))
    assert (await stock.call("GET", "data", many)).status_code in (414, 422)
    twice = await stock.call("GET", "data", "+".join(["sss"] * 9000))
    assert twice.status_code in (200, 400, 414, 422, 431)


def jpeg(side: int = 8) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (side, side), (200, 10, 10)).save(made, "JPEG")
    return made.getvalue()


async def test_entries_are_converted(demo: Any, stock: Any) -> None:
    await fill(demo, ("conv", b"1", jpeg()), ("conv", b"2", jpeg(16)))
    found = await stock.data("conv", count=2, output="png")
    sizes = [Image.open(io.BytesIO(data)).size for _, _, data in found]
    assert sizes == [(8, 8), (16, 16)]
    (_, _, array), *_ = await stock.data("conv", last_entry_id=0, output="ndarray", input="jpg")
    assert np.frombuffer(array, "<f4").reshape(8, 8, 3)[0, 0, 0] == pytest.approx(200, abs=6)
    (_, _, text), *_ = await stock.data("conv", output="json")
    assert np.array(json.loads(text)).shape == (16, 16, 3)
    await fill(demo, ("plain", b"1", b"\x00\x01"))
    for query in ("output=jpg", "output=jpg&input=mp4", "output=exe", "input=exe", "output=json"):
        answer = await stock.call("GET", f"data/plain?{query}")
        assert answer.status_code == 415, (query, answer.text)
        assert isinstance(answer.json()["detail"], str)
    (_, _, same), *_ = await stock.data("plain", output="raw")
    assert same == b"\x00\x01"


async def test_entries_come_by_form(demo: Any, stock: Any) -> None:
    files = [("entries", ("a.jpg", b"one")), ("entries", ("b.jpg", b"two"))]
    answer = await stock.call("POST", "data", "form-s", files=files)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()) == 2
    found = await stock.data("form-s", last_entry_id="0", count=9)
    assert [(id_, data) for _, id_, data in found] == list(
        zip(answer.json(), [b"one", b"two"], strict=True)
    )
    files = [("entries", ("form-x", b"1")), ("entries", ("form-y/1.bin", b"2"))]
    assert len((await stock.call("POST", "data", "*", files=files)).json()) == 2
    assert [data for _, _, data in await stock.data("form-x+form-y")] == [b"1", b"2"]
    files = [("entries", ("", b"%d" % n)) for n in range(3)]
    assert len((await stock.call("POST", "data/form-p+form-q/", files=files)).json()) == 3
    found = await stock.data("form-p+form-q", last_entry_id="0", count=9)
    assert [(sid, data) for sid, _, data in found] == [
        ("form-p", b"0"), ("form-p", b"2"), ("form-q", b"1"),
    ]  # fmt: skip


async def test_the_stock_client_names_its_fields_after_streams(stock: Any) -> None:
    assert len(await stock.upload("up-one", [b"x"])) == 1
    assert len(await stock.upload(["up-a", "up-b"], [b"1", b"2"])) == 2
    assert [data for _, _, data in await stock.data("up-one+up-a+up-b")] == [b"x", b"1", b"2"]


async def test_ids_come_from_frames_where_that_is_asked(stock: Any) -> None:
    frame = struct.pack("<BBQ", 2, 7, 1_700_000_000_123)
    files = [("entries", ("x", frame))]
    answer = await stock.call("POST", "data/meta-t?parse_meta=True", files=files)
    assert answer.json() == ["1700000000123-0"]
    again = await stock.call("POST", "data/meta-t?parse_meta=1", files=files)
    assert again.status_code == 422
    assert len(await stock.data("meta-t", last_entry_id="0", count=9)) == 1


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        pytest.param(b"", None, 422, id="nothing"),
        pytest.param(b"{}", "application/json", 422, id="json"),
        pytest.param(b"x", "multipart/form-data", 400, id="no boundary"),
        pytest.param(b"x", "multipart/form-data; boundary=B", 400, id="no form"),
        pytest.param(b"--B--\r\n", "multipart/form-data; boundary=B", 422, id="no part"),
        pytest.param(
            b'--B\r\nContent-Disposition: form-data; name="entries"\r\n\r\nhalf',
            "multipart/form-data; boundary=B",
            400,
            id="no final boundary",
        ),
        pytest.param(
            b'--B\r\nContent-Disposition: form-data; name="no such"\r\n\r\nx\r\n--B--\r\n',
            "multipart/form-data; boundary=B",
            422,
            id="of no stream",
        ),
    ],
)
async def test_T02_a_form_out_of_form_stores_nothing(
    stock: Any, body: bytes, kind: str | None, status: int
) -> None:
    headers = {} if kind is None else {"content-type": kind}
    answer = await stock.call("POST", "data", "bad-form", data=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert "detail" in answer.json()
    assert await stock.data("bad-form", last_entry_id="0", count=9) == []


async def test_all_of_a_form_or_nothing(demo: Any, stock: Any) -> None:
    await fill(demo, ("whole-b", b"9999999999999999", b"newest"))
    frame = struct.pack("<BBQ", 2, 7, 5)
    files = [("whole-a", ("x", b"fine")), ("whole-b", ("x", frame))]
    answer = await stock.call("POST", "data/whole-a+whole-b?parse_meta=true", files=files)
    assert answer.status_code == 422
    assert await stock.data("whole-a", last_entry_id="0", count=9) == []


async def test_who_may_not_write_stores_nothing(demo: Any, stock: Any) -> None:
    token = await demo.program_token("alice", "streams:read", "streams:write",
                                     streams={"open-*": ["read", "write"]})  # fmt: skip
    headers = {"Authorization": f"Bearer {token}"}
    for place in ("shut", "open-1+shut", "*"):
        files = [("entries", ("open-1", b"x")), ("entries", ("shut", b"y"))]
        answer = await stock.call("POST", "data", place, files=files, headers=headers)
        assert answer.status_code == 403, answer.text
    assert await stock.data("open-1+shut", last_entry_id="0", count=9) == []


async def test_entries_may_be_as_large_as_a_message(demo: Any, stock: Any) -> None:
    big = bytes(16 << 20)
    answer = await stock.call("POST", "data", "large", files=[("entries", ("x", big))])
    assert answer.status_code == 200, answer.text
    found = await stock.data("large")
    assert len(found[0][2]) == 16 << 20
    more = [("entries", ("x", big)), ("entries", ("y", b"1"))]
    answer = await stock.call("POST", "data", "large", files=more)
    assert answer.status_code == 413
