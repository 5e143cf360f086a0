"""How things are written for eyes, and read from words."""

from __future__ import annotations

import msgspec
import pytest
from rich.text import Text

from downstage.cli.content.live_watch import Room, value_of
from downstage.cli.content.rights import entry_of
from downstage.cli.content.shown import facts_of, of_url, plain, shortened, size_of
from downstage.cli.content.views import lines_of, tree_lines, tree_of
from downstage.cli.content.watching import event_facts, event_line
from downstage.client.places import Place
from downstage.client.providers.provider import Found
from downstage.client.types import AccessFlags, AclEntry, ItemFlags, ListEntry
from downstage.contracts.content import EventRow
from downstage.kernel.errors import InvalidInput
from downstage.live.messages import Ended, Held, Merged, Ordered, People, Person, Welcome
from downstage.live.ops import Create, Order, Remove, Sample, Set
from downstage.live.wire import encode

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_999, "100 kB"), (999_999, "1.0 MB"),
     (12_345_678, "12.3 MB"), (123_456_789_000, "123 GB"), (10**18, "1000 PB")],
)  # fmt: skip
def test_sizes(count: int, text: str) -> None:
    assert size_of(count) == text


def test_a_name_cannot_steer_the_terminal() -> None:
    assert plain("a\x1b[31mb\r\n\u202ec\udcff") == "a\\x1b[31mb\\x0d\\x0a\\u202ec\\udcff"
    assert of_url("omniverse://u:secret@h/a%1B%0A") == "omniverse://u:…@h/a%1B%0A"
    assert of_url("file:///tmp/%C3%A4") == "/tmp/ä"


def test_names_are_shortened_at_their_beginning() -> None:
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdefg", 6) == "…cdefg"


def entry(name: str, size: int = 0, *, folder: bool = False, **more: object) -> ListEntry:
    flags = ItemFlags.CAN_HAVE_CHILDREN if folder else ItemFlags.READABLE_FILE
    return ListEntry(relative_path=name, size=size, flags=flags, **more)  # type: ignore[arg-type]


def test_a_listing() -> None:
    lines = lines_of(
        [
            entry("folder", folder=True, modified_by="anna"),
            entry("a[b].usd", 1234, modified_by="bo", locked_by="anna"),
            entry("old", 5, deleted_time=1, deleted_by="bo"),
        ]
    )
    assert [line.plain[18:] for line in lines][:2] == [
        "     –  anna  folder/",
        "1.2 kB  bo    a[b].usd  locked by anna",
    ]
    assert "deleted 1970-01-01" in lines[2].plain
    assert lines_of([]) == []


def test_a_tree() -> None:
    place = Place.of("/x")
    items = [(("b",), True), (("b", "c"), False), (("b", "d"), True), (("e",), False)]
    found = [Found(place, entry(parts[-1], 7, folder=is_f), parts) for parts, is_f in items]
    assert [line.plain for line in tree_lines(tree_of(found))] == [
        "├── b/",
        "│   ├── c  7 B",
        "│   └── d/",
        "└── e  7 B",
    ]
    assert len(tree_lines(tree_of(found), depth=1)) == 2


def test_facts_leave_out_what_is_not_known() -> None:
    found = facts_of(entry("a", 3, modified_time=1_500_000_000_000_000_000))
    assert found == {
        "url": "", "name": "a", "kind": "file", "size": 3, "modified": "2017-07-14T02:40:00Z",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("group:artists=rw", AclEntry("group:artists", AccessFlags(3))),
        ("everyone=", AclEntry("everyone", AccessFlags(0))),
        ("user:bob=r-wa", AclEntry("user:bob", AccessFlags(1), AccessFlags(6))),
        ("user:a=b=a", AclEntry("user:a=b", AccessFlags(4))),
    ],
)
def test_rights_are_read(text: str, entry: AclEntry) -> None:
    assert entry_of(text) == entry


@pytest.mark.parametrize("text", ["artists=rw", "group:=r", "everyone", "everyone=x", "=r", ""])
def test_rights_out_of_form(text: str) -> None:
    with pytest.raises(InvalidInput):
        entry_of(text)


def test_an_event() -> None:
    event = EventRow(3, "renamed", "/b\n", "/a", by="anna", at=1_500_000_000_000_000_000)
    assert event_line(event).plain.endswith("renamed     /a → /b\\x0a  by anna")
    assert event_facts(event) == {
        "at": "2017-07-14T02:40:00Z", "event": "renamed", "path": "/b\n", "old_path": "/a",
        "by": "anna", "seq": 3,
    }  # fmt: skip


def packed(value: object) -> bytes:
    return msgspec.msgpack.encode(value)


def test_values_are_read_without_usd() -> None:
    assert value_of(packed(1.5)) == "1.5"
    assert value_of(packed("a\x1b")) == '"a\\u001b"'
    assert value_of(packed(["Vec3f", 1.0, 2.0, 0.25])) == "Vec3f(1, 2, 0.25)"
    assert value_of(packed(["Vec3fArray", b"0" * 1200])) == "Vec3fArray(1.2 kB)"
    assert value_of(packed(["dict", {"a": ["list", [1, 2]]}])) == "dict({a: list(1, 2)})"
    assert value_of(None) == "nothing"
    assert value_of(b"\xc1") == "1 B"
    assert len(value_of(packed("x" * 500))) == 80


def told(room: Room, *messages: object) -> list[str]:
    lines = [line for message in messages for line in room.hear(message)]  # type: ignore[arg-type]
    return [Text.assemble(line.text).plain[10:] for line in lines]


def test_a_room() -> None:
    room = Room("me")
    people = [Person("me", "watcher"), Person("c1", "anna")]
    ops = encode([Create("/World", "prim"), Set("/World", "specifier", packed("def"))])
    welcome = Welcome(1, "i", "", 4, 0, 0, 0, ops, [], people)
    assert told(room, welcome) == [
        "anna         joined",
        "             2 edits in the layer already",
    ]
    edits = encode(
        [
            Set("/World.size", "default", packed(2.0)),
            Sample("/World.size", 1.0, packed(3.0)),
            Set("/World.size", "default", None),
            Order("/World", ["b", "a"]),
            Remove("/World"),
        ]
    )
    assert told(room, Ordered(5, 0, "c1", 1, edits)) == [
        "anna         set /World.size default = 2",
        "anna         set /World.size at 1 = 3",
        "anna         cleared /World.size default",
        "anna         ordered /World b, a",
        "anna         removed /World",
    ]
    assert room.seq == 5
    assert told(room, Held("c1", 5), Merged(2, "e", 3, "c1", 0)) == [
        "anna         holds the layer to merge it",
        "anna         merged the layer into its file as checkpoint 3",
    ]
    assert (room.epoch, room.seq) == (2, 0)
    assert told(room, People([])) == ["anna         left"]
    assert told(room, Ended("full", "Too many.")) == ["             the server ended it: Too many."]


def test_a_room_after_a_reconnect_tells_what_was_missed() -> None:
    room = Room("me")
    told(room, Welcome(1, "i", "", 4, 0, 0, 0, None, [], []))
    missed = Ordered(5, 0, "c1", 1, encode([Remove("/A")]))
    again = Welcome(1, "i", "", 5, 0, 0, 0, None, [missed], [Person("c1", "anna")])
    assert told(room, again) == ["anna         joined", "anna         removed /A"]
