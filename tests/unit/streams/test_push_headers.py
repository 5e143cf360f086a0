"""Headers of our own sockets are bounded as a whole, before anything of them is read."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from downstage.streams.dialects.push import OwnAnswers, PushSocket, Wishes
from downstage.streams.framing import MAX_HEADER

pytestmark = pytest.mark.unit


class Told:
    """A producer and a socket of which a test needs little."""

    def __init__(self) -> None:
        self.texts = list[Any]()

    def put(self, *_: object) -> None:
        raise AssertionError

    def send_text(self, text: bytes) -> None:
        self.texts.append(msgspec.json.decode(text))


@pytest.mark.parametrize(
    "text",
    [
        '{"entries":[],"key":"%s"}' % ("k" * MAX_HEADER),
        '{"entries":[%s1]}' % ("1," * MAX_HEADER),
    ],
)
def test_C08_a_header_too_long_is_refused_unread(text: str) -> None:
    told: Any = Told()
    socket = PushSocket(told, Wishes(("a",), True, True, None, False), OwnAnswers())
    socket.on_open(told)
    socket.on_text(text)
    assert told.texts[0]["error"]["code"] == "bad-frame"
    assert "at most" in told.texts[0]["error"]["detail"]
