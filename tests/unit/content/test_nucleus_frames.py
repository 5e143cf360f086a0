"""The framings of ``omniverse://``: what is written is read again, what is bent is refused."""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.content.dialects.nucleus.frames import (
    MAX_HEAD,
    BadFrame,
    read_message,
    read_request,
    write_data,
    write_done,
    write_error,
    write_message,
)

pytestmark = pytest.mark.unit

IDS = st.integers(0, 2**32 - 1)
VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=4)


def request(request_id: int, method: str, parameters: bytes, length: int | None = None) -> bytes:
    size = len(parameters) if length is None else length
    return struct.pack("<BI", 1, request_id) + method.encode() + b"\0" + struct.pack(
        "<I", size
    ) + parameters  # fmt: skip


@given(IDS, OBJECTS, st.binary(max_size=8))
def test_a_call_is_read_whatever_follows_it(
    request_id: int, parameters: dict[str, Any], tail: bytes
) -> None:
    message = request(request_id, "DiscoverySearch.find", json.dumps(parameters).encode()) + tail
    found = read_request(message)
    assert found is not None
    assert (found.id, found.method) == (request_id, "DiscoverySearch.find")
    assert found.parameters == parameters


def test_a_call_without_parameters_has_none() -> None:
    found = read_request(request(7, "A.b", b""))
    assert found is not None
    assert found.parameters == {}


@pytest.mark.parametrize("kind", [0, 2, 3, 4, 5, 255])
def test_other_kinds_of_requests_mean_nothing(kind: int) -> None:
    assert read_request(struct.pack("<BI", kind, 1)) is None


@pytest.mark.parametrize(
    ("message", "request_id"),
    [
        (b"", None),
        (b"\1\1\0\0", None),
        (struct.pack("<BI", 1, 9), 9),
        (struct.pack("<BI", 1, 9) + b"A.b", 9),
        (struct.pack("<BI", 1, 9) + b"A" * 500 + b"\0\0\0\0\0", 9),
        (struct.pack("<BI", 1, 9) + b"A.b\0\1\0", 9),
        (request(9, "A.b", b"{}", length=3), 9),
        (request(9, "A.b", b"{}", length=2**32 - 1), 9),
        (request(9, "A.b", b"[]"), 9),
        (request(9, "A.b", b"{"), 9),
        (request(9, "A.b", b"\xff"), 9),
        (request(9, "A.b", b"[" * 60_000), 9),
        (struct.pack("<BI", 1, 9) + b"\xff\0\2\0\0\0{}", 9),
    ],
)
def test_a_bent_call_says_which_it_was(message: bytes, request_id: int | None) -> None:
    with pytest.raises(BadFrame) as caught:
        read_request(message)
    assert caught.value.request_id == request_id


@given(IDS, OBJECTS)
def test_answers_have_the_layout_of_the_wire(request_id: int, value: dict[str, Any]) -> None:
    data = write_data(request_id, value)
    kind, found, last, length = struct.unpack_from("<BIBI", data)
    assert (kind, found, last, length) == (1, request_id, 1, len(data) - 10)
    assert json.loads(data[10:]) == value
    assert write_done(request_id) == struct.pack("<BI", 5, request_id)
    assert write_error(request_id, "no")[:5] == struct.pack("<BI", 0, request_id)


@given(st.integers(0, 2**64 - 1), OBJECTS, st.none() | st.binary(max_size=64))
def test_commands_come_with_and_without_a_blob(
    request_id: int, arguments: dict[str, Any], blob: bytes | None
) -> None:
    fields = {**arguments, "id": request_id, "command": "stat2"}
    found = read_message(write_message(fields, blob))
    assert (found.id, found.command, found.blob) == (request_id, "stat2", blob)
    assert found.arguments == {k: v for k, v in arguments.items() if k not in ("id", "command")}


@pytest.mark.parametrize(
    "head",
    [
        {},
        {"id": 1},
        {"command": "ping"},
        {"id": "1", "command": "ping"},
        {"id": True, "command": "ping"},
        {"id": -1, "command": "ping"},
        {"id": 2**64, "command": "ping"},
        {"id": 1.5, "command": "ping"},
        {"id": 1, "command": 3},
        {"id": 1, "command": "p" * 200},
    ],
)
def test_a_command_needs_an_id_and_a_name(head: dict[str, Any]) -> None:
    with pytest.raises(BadFrame):
        read_message(json.dumps(head).encode())


@pytest.mark.parametrize("message", [b"", b"\0", b"null", b"[]", b"x\0y", b'"\xff"'])
def test_a_command_is_an_object(message: bytes) -> None:
    with pytest.raises(BadFrame) as caught:
        read_message(message)
    assert caught.value.request_id is None


def test_the_json_of_a_command_is_bounded_and_its_blob_is_not() -> None:
    head = b'{"id":1,"command":"ping"}'
    assert read_message(head + b"\0" + bytes(2 * MAX_HEAD)).blob == bytes(2 * MAX_HEAD)
    with pytest.raises(BadFrame):
        read_message(head + b" " * MAX_HEAD)


@given(st.binary(max_size=200))
def test_T04_noise_is_read_or_refused_and_nothing_else(noise: bytes) -> None:
    for read in (read_request, read_message):
        with suppress(BadFrame):
            read(noise)


@given(st.binary(max_size=60))
def test_T04_noise_behind_a_good_beginning(noise: bytes) -> None:
    for start, read in ((b"\1\1\0\0\0A.b\0", read_request), (b'{"id":1,', read_message)):
        with suppress(BadFrame):
            read(start + noise)
