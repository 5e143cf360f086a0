"""Parameter sets and units, of encoders that exist and of bytes that mean nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.kernel.errors import BadMessage
from downstage.media.hls.codecs import coded, video_codec
from downstage.media.hls.h264 import format_of, length_prefixed, split_units, units_of_config

pytestmark = [pytest.mark.unit]


@pytest.mark.parametrize("size", [(64, 48), (640, 360), (1920, 1080), (98, 130)])
@pytest.mark.parametrize("profile", ["baseline", "high"])
def test_the_size_is_read_from_what_x264_writes(size: tuple[int, int], profile: str) -> None:
    from fractions import Fraction

    from av.video.frame import VideoFrame

    encoder = video_codec("libx264", "w")
    encoder.width, encoder.height = size
    encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 30)
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "profile": profile}
    [(data, key)] = coded(encoder, VideoFrame(*size, "yuv420p"))
    found = format_of(split_units(data))
    assert key
    assert found is not None
    assert (found.width, found.height) == size


def test_units_are_prefixed_by_their_length_and_delimiters_go() -> None:
    data = b"\0\0\0\1\x09\xf0\0\0\1\x67ab\0\0\0\1\x65cd\0"
    assert split_units(data) == [b"\x09\xf0", b"\x67ab", b"\x65cd"]
    assert length_prefixed(split_units(data)) == b"\0\0\0\3\x67ab\0\0\0\3\x65cd"


def test_parameter_sets_are_read_from_an_mp4_configuration() -> None:
    config = b"\1\x42\xc0\x1e\xff\xe1\0\4\x67\x42\xc0\x1e\1\0\2\x68\xce"
    assert units_of_config(config) == [b"\x67\x42\xc0\x1e", b"\x68\xce"]


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (split_units, units_of_config):
        try:
            units = [unit for unit in read(data) if unit]
            format_of([b"\x67" + data, b"\x68", *units])
        except BadMessage:
            continue
