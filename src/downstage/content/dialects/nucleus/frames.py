"""The two framings of the wire, as bytes in and values out: nothing here does I/O.

SOWS carries discovery and sign-in, little endian::

    request   01  id u32  "Interface.method" 00  length u32  JSON  [tail]
    data      01  id u32  last u8  length u32  JSON
    done      05  id u32
    error     00  id u32  length u32  JSON

ConnLib carries everything else: one JSON object a message, and behind a zero byte a blob.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from downstage.kernel.errors import BadMessage

__all__ = [
    "MAX_HEAD",
    "BadFrame",
    "Request",
    "SowsRequest",
    "read_message",
    "read_request",
    "write_data",
    "write_done",
    "write_error",
    "write_message",
]

MAX_HEAD = 1024 * 1024
"""Bytes of a command's JSON; the longest honest one names a thousand paths."""
MAX_METHOD = 128
ERROR, DATA, DONE = 0, 1, 5
HEAD = struct.Struct("<BI")
LENGTH = struct.Struct("<I")
ANSWER = struct.Struct("<BIBI")
FAILURE = struct.Struct("<BII")
ID_LIMIT = 1 << 64


class BadFrame(BadMessage):
    """A message out of form.

    `request_id` says which request it was, where that much could be read: it alone fails then.
    Without an id the socket has to be closed.
    """

    def __init__(self, detail: str, request_id: int | None = None) -> None:
        super().__init__(detail)
        self.request_id = request_id


@dataclass(frozen=True, slots=True)
class SowsRequest:
    """One call of discovery or sign-in."""

    id: int
    method: str
    """``Interface.method``."""
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One command of ConnLib."""

    id: int
    command: str
    arguments: dict[str, Any]
    """All fields but `id` and `command`."""
    blob: bytes | None
    """What stood behind the zero byte; None: there was none."""


def read_request(message: bytes) -> SowsRequest | None:
    """The request in *message*; None for a kind of request that means nothing here.

    Raises:
        BadFrame: too short, no name, or not as long as it says.
    """
    if len(message) < HEAD.size:
        raise BadFrame("A frame has at least five bytes.")
    kind, request_id = HEAD.unpack_from(message)
    if kind != DATA:
        return None
    end = message.find(b"\0", HEAD.size, HEAD.size + MAX_METHOD + 1)
    if end < 0:
        raise BadFrame("The method's name has no end.", request_id)
    start = end + 1 + LENGTH.size
    if len(message) < start:
        raise BadFrame("The length of the parameters is missing.", request_id)
    (length,) = LENGTH.unpack_from(message, end + 1)
    if length > len(message) - start:
        raise BadFrame("The parameters are shorter than their length.", request_id)
    try:
        method = message[HEAD.size : end].decode()
    except UnicodeDecodeError as error:
        raise BadFrame("The method's name is no UTF-8.", request_id) from error
    parameters = _object(message[start : start + length] or b"{}", request_id)
    return SowsRequest(request_id, method, parameters)


def write_data(request_id: int, value: Mapping[str, Any], *, last: bool = True) -> bytes:
    """One value of an answer; `write_done` must follow the last."""
    body = msgspec.json.encode(value)
    return ANSWER.pack(DATA, request_id, int(last), len(body)) + body


def write_done(request_id: int) -> bytes:
    """The end of an answer."""
    return HEAD.pack(DONE, request_id)


def write_error(request_id: int, detail: str) -> bytes:
    """An answer that is no answer: why, for a person."""
    body = msgspec.json.encode({"error": detail})
    return FAILURE.pack(ERROR, request_id, len(body)) + body


def read_message(message: bytes) -> Request:
    """The command in *message*.

    Raises:
        BadFrame: no JSON object, no usable id, no command.
    """
    head, blob = message, None
    end = message.find(b"\0", 0, MAX_HEAD + 1)
    if end >= 0:
        head, blob = message[:end], message[end + 1 :]
    elif len(message) > MAX_HEAD:
        raise BadFrame(f"The JSON of a command has at most {MAX_HEAD} bytes.")
    fields = _object(head, None)
    request_id, command = fields.pop("id", None), fields.pop("command", None)
    if not isinstance(request_id, int) or isinstance(request_id, bool):
        raise BadFrame("A command has a number as its id.")
    if not 0 <= request_id < ID_LIMIT:
        raise BadFrame("An id has 64 bits.")
    if not isinstance(command, str) or len(command) > MAX_METHOD:
        raise BadFrame("The command has no name.", request_id)
    return Request(request_id, command, fields, blob)


def write_message(fields: Mapping[str, Any], blob: bytes | None = None) -> bytes:
    """One answer, with its blob where there is one."""
    head = msgspec.json.encode(fields)
    return head if blob is None else b"".join((head, b"\0", blob))


def _object(text: bytes, request_id: int | None) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadFrame("That is no JSON.", request_id) from error
    if not isinstance(found, dict):
        raise BadFrame("The JSON is no object.", request_id)
    return cast("dict[str, Any]", found)
