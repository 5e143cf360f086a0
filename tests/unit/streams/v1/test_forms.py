"""What our own API reads and writes, without a server: bodies, times, pages, types, schemas."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from downstage.contracts.streams import EntryView, StreamPatch, StreamSpecBody
from downstage.kernel.errors import BadId, InvalidField, InvalidInput, NotFound
from downstage.streams.callers import Guest
from downstage.streams.dialects.v1 import judge as judge_module
from downstage.streams.dialects.v1.encodings import as_bytes, as_json, as_parts
from downstage.streams.dialects.v1.entries import _asked  # pyright: ignore[reportPrivateUsage]
from downstage.streams.dialects.v1.judge import Judge, is_easy
from downstage.streams.dialects.v1.named import names_of, wanted_of
from downstage.streams.dialects.v1.pushed import content_type_of, entry_id, form_of, payloads
from downstage.streams.dialects.v1.reader import PAGE_BYTES, Range, Reader
from downstage.streams.dialects.v1.streams import _page  # pyright: ignore[reportPrivateUsage]
from downstage.streams.dialects.v1.validation import check_entries, check_schema
from downstage.streams.dialects.v1.views import (
    changes_of,
    first_id,
    last_id,
    moment,
    stream_view,
    time_of,
)
from downstage.streams.model import (
    Durability,
    Entry,
    EntryId,
    Retention,
    StreamInfo,
    StreamSpec,
)

pytestmark = [pytest.mark.unit, pytest.mark.anyio]
MOST = 2**64 - 1
LINES = "application/x-ndjson"


@pytest.mark.parametrize(
    ("body", "form", "found"),
    [
        (b"", "one", [b""]),
        (b"[1,\n2]", "one", [b"[1,\n2]"]),
        (b'{"a":1}\n\n [2] \r\n"x"\n', "lines", [b'{"a":1}', b" [2] ", b'"x"']),
        (b'[{"a" : 1}, [2,3] ,"x"]', "array", [b'{"a" : 1}', b"[2,3]", b'"x"']),
    ],
)
def test_a_body_is_one_entry_or_many(body: bytes, form: Any, found: list[bytes]) -> None:
    assert payloads(body, form) == found


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (b"{}\nnope\n", "lines"),
        (b"{}\nNaN\n", "lines"),
        (b"{}", "array"),
        (b"[1,", "array"),
        (b"[" * 100_000, "array"),
        (b"\xff", "array"),
        (b"[]", "array"),
        (b"\n\n", "lines"),
        (b"1\n" * 4097, "lines"),
        (b"[" + b"1," * 4096 + b"1]", "array"),
    ],
)
def test_C08_a_body_that_is_no_batch_is_refused_whole(body: bytes, form: Any) -> None:
    with pytest.raises(InvalidInput):
        payloads(body, form)


def test_the_type_says_how_to_read_a_body_unless_the_query_does() -> None:
    assert form_of(None, f"{LINES}; charset=utf-8") == "lines"
    assert form_of(None, "application/json") == form_of("one", LINES) == "one"
    assert form_of("array", "application/json") == "array"
    assert content_type_of("image/jpeg", "one") == "image/jpeg"
    assert content_type_of(LINES, "lines") == content_type_of("", "array") == "application/json"
    for untold in ("", "application/octet-stream", "application/x-www-form-urlencoded"):
        assert content_type_of(untold, "one") is None


def test_ids_that_a_push_may_give() -> None:
    assert [entry_id(text) for text in (None, "", "*")] == [b"*"] * 3
    for text in ("5", "5-1", "5-*"):
        assert entry_id(text) == text.encode()
    for text in ("x", "1.5", "-1", "5-", "*-*", "5-*-*", "1-1-1", "9" * 21):
        with pytest.raises(BadId):
            entry_id(text)


def test_times_are_told_in_three_ways() -> None:
    stamp = EntryId(1_777_636_800_000)
    dates = ("2026-05-01T12:00:00Z", "2026-05-01T14:00:00+02:00", "2026-05-01T12:00")
    for text in (*dates, "1777636800000"):
        assert moment(text, "from") == stamp
    assert moment("5-7", "from") == EntryId(5, 7)
    for text in ("yesterday", "", "9" * 30):
        with pytest.raises(InvalidField) as refused:
            moment(text, "from")
        assert refused.value.field == "from"
    assert time_of(EntryId(0)) == datetime(1970, 1, 1, tzinfo=UTC)
    assert time_of(EntryId(MOST)).year == 9999


def test_bounds_of_a_range() -> None:
    assert (first_id(None, None), last_id(None, None)) == (None, None)
    assert first_id("5", None) == first_id("5-0", None) == EntryId(5, 1)
    assert first_id("5-1", "7") == EntryId(7)
    assert first_id("9-1", "7") == EntryId(9, 2)
    assert first_id(f"{MOST}-{MOST}", None) == EntryId(MOST, MOST)
    assert last_id("5", None) == EntryId(5, MOST)
    assert last_id("5-1", "7") == EntryId(5, 1)
    assert last_id(None, "1970-01-01T00:00:01Z") == EntryId(1000, MOST)
    assert last_id(None, "7-2") == EntryId(7, 2)
    with pytest.raises(BadId):
        first_id("x", None)


def test_C10_streams_that_a_query_names() -> None:
    assert names_of("a, b,,a", 2) == ("a", "b")
    assert wanted_of("a,cam-*", 2) == (("a",), ("cam-*",))
    for text in ("", ",", "a,b,c", "*", "a+b", "../x", "a\nb", "a/b"):
        with pytest.raises(InvalidField):
            names_of(text, 2)
    for text in ("a b", "..*", "*/"):
        with pytest.raises(InvalidField):
            wanted_of(text, 2)


def test_pages_of_names() -> None:
    names = ["a", "b", "c", "d"]
    assert _page(names, names, None, 2) == (["a", "b"], "b")
    assert _page(names, names, "b", 2) == (["c", "d"], None)
    assert _page(names, names, "bb", 1) == (["c"], "c")
    assert _page(names, names, "z", 9) == ([], None)


@pytest.mark.parametrize(
    ("accept", "asked"),
    [
        ("*/*", "json"),
        ("", "json"),
        ("text/html", "json"),
        ("application/json", "json"),
        ("image/jpeg", "bytes"),
        ("image/*;q=0.9, */*", "bytes"),
        ("application/octet-stream", "bytes"),
        ("text/html, multipart/mixed", "parts"),
    ],
)
def test_accept_says_what_is_given(accept: str, asked: str) -> None:
    assert _asked(accept, "image/jpeg; x=1") == asked


async def test_json_and_text_are_told_as_they_are_and_bytes_as_base64() -> None:
    async def told(data: bytes, kind: str | None) -> EntryView:
        response = await as_json([Entry("s", EntryId(1000, 1), data)], kind, None)
        return EntryView.model_validate(json.loads(response.body)["items"][0])

    entry = await told(b'{"a": [1]}', "application/json")
    assert (entry.value, entry.data, entry.size, entry.id) == ({"a": [1]}, None, 10, "1000-1")
    assert entry.time == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert (await told(b"1", "application/geo+json; x=y")).value == 1
    assert (await told("grün".encode(), "text/plain")).value == "grün"
    for data, kind in ((b"{", "application/json"), (b"\xff", "text/plain"), (b"x", None)):
        broken = await told(data, kind)
        assert broken.value is None
        assert broken.data is not None
    large = await told(b'"' + b"x" * 100_000 + b'"', "application/json")
    assert large.value == "x" * 100_000


@pytest.mark.parametrize(
    "kind", ["text/html", "image/svg+xml", "application/pdf", "text/html; a=b"]
)
def test_nothing_of_an_entry_runs_on_the_origin_of_our_pages(kind: str) -> None:
    response = as_bytes(Entry("s", EntryId(1), b"<script>"), kind)
    assert response.headers["content-type"] == kind
    assert response.headers["content-disposition"].startswith("attachment;")
    assert "sandbox" in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"
    shown = as_bytes(Entry("s", EntryId(1), b"x"), "image/png")
    assert "content-disposition" not in shown.headers
    assert (shown.headers["x-entry-id"], shown.headers["content-type"]) == ("1-0", "image/png")
    assert as_bytes(Entry("s", EntryId(1), b"x"), None).headers["content-type"] == (
        "application/octet-stream"
    )


async def test_many_entries_are_parts_with_heads() -> None:
    async def chunks() -> AsyncIterator[Sequence[Entry]]:
        yield [Entry("s", EntryId(1), b"one")]
        yield [Entry("s", EntryId(2), b"\r\n--entry-\r\n")]

    response: Any = as_parts(chunks(), "image/jpeg")
    body = b"".join([part async for part in response.body_iterator])
    mark = response.headers["content-type"].partition("boundary=")[2].encode()
    assert len(mark) > 32
    head = b"--%s\r\ncontent-type: image/jpeg\r\nx-entry-id: %d-0\r\ncontent-length: %d\r\n\r\n"
    assert body == (
        head % (mark, 1, 3)
        + b"one\r\n"
        + head % (mark, 2, 12)
        + b"\r\n--entry-\r\n"
        + b"\r\n--%s--\r\n" % mark
    )


SCHEMA = {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]}


@pytest.fixture(params=[True, False], ids=["here", "elsewhere"])
def judge(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Judge:
    """Both ways of it."""
    if not request.param:
        monkeypatch.setattr(judge_module, "SMALL", 0)
    return Judge()


async def test_entries_are_held_against_their_schema(judge: Judge) -> None:
    spec = StreamSpec(content_type="application/json", schema=SCHEMA)
    await check_entries(judge, spec, [b'{"a": 1}', memoryview(b'{"a": 1.5, "b": 2}')])
    for number, broken in ((0, b'{"a": "x"}'), (1, b"{}"), (2, b"nope"), (1, b"[" * 100_000)):
        given = [b'{"a": 1}'] * 3
        given[number] = broken
        with pytest.raises(InvalidField) as refused:
            await check_entries(judge, spec, given)
        assert refused.value.field == f"entries.{number}"
    with pytest.raises(InvalidField):
        await check_entries(judge, StreamSpec(content_type="application/json"), [b"nope"])
    await check_entries(judge, StreamSpec(content_type="image/jpeg", schema={"free": 1}), [b"\xff"])


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nope"},
        {"$ref": "http://169.254.169.254/latest"},
        {"$ref": "file:///etc/passwd"},
        {"pattern": "("},
        {"description": "x" * 300_000},
    ],
)
async def test_what_is_no_schema_is_refused_and_nothing_is_fetched(
    judge: Judge, schema: dict[str, Any]
) -> None:
    with pytest.raises(InvalidField) as refused:
        await check_schema(judge, schema)
    assert refused.value.field == "schema"
    assert len(refused.value.detail) < 400
    await check_schema(judge, None)


async def test_a_pattern_takes_linear_time(judge: Judge) -> None:
    spec = StreamSpec(content_type="application/json", schema={"pattern": "^(a+)+$"})
    with pytest.raises(InvalidField):
        await check_entries(judge, spec, [json.dumps("a" * 10_000 + "!").encode()])


async def test_C08_a_schema_that_takes_for_ever_is_given_up() -> None:
    """Each step refers to the next one twice: a billion billion looks at one number."""
    steps = {
        f"s{n}": {"allOf": [{"$ref": f"#/$defs/s{n + 1}"}, {"$ref": f"#/$defs/s{n + 1}"}]}
        for n in range(60)
    }
    hard = {"$ref": "#/$defs/s0", "$defs": {**steps, "s60": {"type": "integer"}}}
    spec = StreamSpec(content_type="application/json", schema=hard)
    judge = Judge(longest_s=0.5)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await anyio.sleep(0.01)
            turns += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        with pytest.raises(InvalidField, match="too long"):
            await check_entries(judge, spec, [b"1"])
        tasks.cancel_scope.cancel()
    assert turns > 5  # the loop went on meanwhile
    easy = StreamSpec("application/json", schema={**SCHEMA, "uniqueItems": True})
    with pytest.raises(InvalidField, match="schema says"):  # and the next is judged
        await check_entries(judge, easy, [b"{}"])


@pytest.mark.parametrize(
    ("schema", "easy"),
    [
        (SCHEMA, True),
        ({"properties": {"a": {"pattern": "^(a+)+$"}}}, True),
        ({"properties": {"a": {"pattern": "(a{99}){99}"}}}, False),
        ({"patternProperties": {"a{9}": {}}}, False),
        ({"allOf": [{"items": [{"uniqueItems": True}]}]}, False),
        ({"not": {"$ref": "#"}}, False),
        ({"unevaluatedProperties": False}, False),
        ({"description": "x" * 20_000}, False),
    ],
)
def test_what_may_take_long_is_known(schema: dict[str, Any], easy: bool) -> None:
    assert is_easy(json.dumps(schema).encode(), [bytes(1000)]) is easy


def test_what_changes_is_what_was_named() -> None:
    body = StreamPatch.model_validate({"schema": SCHEMA, "retention": {"age": 5}})
    assert changes_of(body) == {"schema": SCHEMA, "retention": {"age": 5}}
    full = StreamSpecBody.model_validate({"content_type": "image/jpeg", "durability": "always"})
    assert changes_of(full) == {"content_type": "image/jpeg", "durability": Durability.ALWAYS}
    for wrong in ("nope", "a/b\n", "a/b\r\nx: y", "a/" + "b" * 200):
        with pytest.raises(ValueError, match="content_type"):
            StreamPatch.model_validate({"content_type": wrong})


def test_a_stream_is_told_whole() -> None:
    spec = StreamSpec(retention=Retention(age=timedelta(minutes=1)), schema=SCHEMA, meta={"m": 1})
    info = StreamInfo("s", spec, 2, EntryId(1), EntryId(2, 3), 5, 100, 1.23456)
    view = json.loads(stream_view(info).model_dump_json(by_alias=True))
    assert view["schema"] == SCHEMA
    assert (view["retention"]["age"], view["last_id"], view["rate"]) == (60, "2-3", 1.235)


class Shelf:
    """As `Streams`, of one stream that holds entries in order."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.entries = [Entry("s", EntryId(i + 1), bytes(size)) for i, size in enumerate(sizes)]
        self.asked: list[int] = []

    async def info(self, *_: object) -> StreamInfo:
        total = sum(len(entry.data) for entry in self.entries)
        return StreamInfo("s", StreamSpec(), len(self.entries), None, None, 0, total, 0)

    async def range(
        self, _c: object, _s: str, start: Any, stop: Any, *, count: int, reverse: bool, **more: Any
    ) -> list[Entry]:
        self.asked.append(count)
        found = [
            entry
            for entry in self.entries
            if (start is None or start <= entry.id) and (stop is None or entry.id <= stop)
        ]
        return (found[::-1] if reverse else found)[:: more["every"]][:count]


def reader(shelf: Shelf) -> Reader:
    guest: Any = Guest.__new__(Guest)
    object.__setattr__(guest, "caller", None)
    return Reader(shelf, guest, "s")  # type: ignore[arg-type]


@pytest.mark.parametrize("reverse", [False, True])
async def test_a_range_is_read_in_pieces_that_fit(reverse: bool) -> None:
    shelf = Shelf([1 << 20] * 10)
    found = reader(shelf)
    await found.spec()
    pieces = [piece async for piece in found.pieces(Range(None, None, 9, reverse))]
    assert [len(piece) for piece in pieces] == [4, 4, 1]
    ids = [entry.id.ms for piece in pieces for entry in piece]
    assert ids == ([10, 9, 8, 7, 6, 5, 4, 3, 2] if reverse else [1, 2, 3, 4, 5, 6, 7, 8, 9])


async def test_a_page_ends_where_it_would_be_too_large_and_says_where_to_go_on() -> None:
    found = reader(Shelf([PAGE_BYTES // 2] * 4))
    entries, after = await found.page(Range(None, None, 100))
    assert (len(entries), after) == (2, "2-0")
    entries, after = await found.page(Range(first_id(after, None), None, 100))
    assert (len(entries), after) == (2, None)
    entries, after = await reader(Shelf([2 * PAGE_BYTES] * 2)).page(Range(None, None, 100))
    assert (len(entries), after) == (1, "1-0")  # one entry is always given, whatever its size


async def test_a_page_that_is_full_has_a_next_one_only_where_there_is_more() -> None:
    found = reader(Shelf([1] * 4))
    assert (await found.page(Range(None, None, 4)))[1] is None
    assert (await found.page(Range(None, None, 3)))[1] == "3-0"
    assert (await found.page(Range(None, None, 3, reverse=True)))[1] == f"1-{MOST}"
    entries, _ = await found.page(Range(None, None, 100, every=2))
    assert [entry.id.ms for entry in entries] == [1, 3]


async def test_one_entry_by_its_id_or_place() -> None:
    class Placed(Shelf):
        async def range(self, *args: Any, **more: Any) -> list[Entry]:
            return await super().range(*args, **({"every": 1} | more))

    found = reader(Placed([1, 2, 3]))
    assert [(await found.one(name)).id.ms for name in ("oldest", "2", "newest")] == [1, 2, 3]
    with pytest.raises(NotFound):
        await found.one("9-9")
    with pytest.raises(BadId):
        await found.one("latest")
