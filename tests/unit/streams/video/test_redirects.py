"""Redirects of RTSP are seen as FFmpeg would see them, whatever a hostile source writes."""

from __future__ import annotations

import pytest

from downstage.kernel.errors import Forbidden, InvalidField
from downstage.streams.video.forwarding import Answers
from downstage.streams.video.pulling import check_url

pytestmark = pytest.mark.unit

REDIRECTS = [
    b"RTSP/1.0 302 Moved",
    b"RTSP/1.0  302 Moved",
    b"RTSP/1.0\t302",
    b"RT\rSP/1.0 \r\r\r3\r02",
    b"RTSP/9 0302",
    b"RTSP/ +302",
    b"RTSP/1.0\v200 302",
    b"RTSP/1.0 4294967598 x",
    b"RTSP/1.0" + b" " * 4000 + b"301",
    b"$\0\0\4abcdRTSP/1.0   300",
]
HONEST = [
    b"RTSP/1.0 200 OK\r\nCSeq: 302\r\n\r\n",
    b"RTSP/1.0 401 No\r\nServer: eye RTSP/1.0\r\nContent-Length: 302\r\n\r\n",
    b"OPTIONS rtsp://eye/ RTSP/1.0\r\nCSeq: 302\r\n\r\n",
    bytes(range(256)) * 64,
]


def feed(answers: Answers, answer: bytes, step: int) -> None:
    for at in range(0, len(answer), step):
        answers.check(answer[at : at + step])


@pytest.mark.parametrize("step", [1, 2, 7, 100_000])
@pytest.mark.parametrize("answer", REDIRECTS)
def test_C05_any_form_of_a_redirect_is_seen(answer: bytes, step: int) -> None:
    with pytest.raises(Forbidden):
        feed(Answers(), answer, step)


@pytest.mark.parametrize("step", [1, 5, 100_000])
@pytest.mark.parametrize("answer", HONEST)
def test_what_redirects_nobody_passes(answer: bytes, step: int) -> None:
    answers = Answers()
    for _ in range(2):
        feed(answers, answer, step)


@pytest.mark.parametrize("query", ["udp", "multicast", "channel=1&udp", "udp&x=1"])
def test_C05_an_address_does_not_choose_another_way(query: str) -> None:
    """FFmpeg would send datagrams wherever the source says, past the guard."""
    with pytest.raises(InvalidField):
        check_url(f"rtsp://eye.example/film?{query}")
    check_url("rtsp://eye.example/film?channel=1&subtype=udp")
