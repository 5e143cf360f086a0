"""Pictures and sound into what segments hold; coded pictures passed on untouched."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from downstage.contracts.video import Unit, session_of
from downstage.kernel.errors import UnsupportedMedia
from downstage.media.hls.codecs import audio_codec, coded
from downstage.media.hls.coded import CodedSource
from downstage.media.hls.cutter import Cutter
from downstage.media.hls.images import ImageCoder, fitted, image_kind, raw_layout
from downstage.media.hls.sound import FRAME, RATE, SoundCoder
from downstage.media.hls.window import Window

pytestmark = [pytest.mark.unit]

START_US, WALL_MS = 9_000_000_000, 1_700_000_000_000


def jpeg(shade: int = 0, size: tuple[int, int] = (64, 48), form: str = "JPEG") -> bytes:
    held = io.BytesIO()
    Image.new("RGB", size, (shade, 0, 0)).save(held, form)
    return held.getvalue()


def annex_b(
    count: int, *, rate: int = 10, size: tuple[int, int] = (64, 48)
) -> list[tuple[bytes, bool]]:
    from fractions import Fraction

    from av.video.frame import VideoFrame

    from downstage.media.hls.codecs import video_codec

    encoder = video_codec("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = *size, "yuv420p"
    encoder.time_base, encoder.gop_size = Fraction(1, rate), 10
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency"}
    return [coded(encoder, VideoFrame(*size, "yuv420p"))[0] for _ in range(count)]


def test_a_key_frame_comes_where_a_segment_begins_and_time_goes_on_over_a_still() -> None:
    coder = ImageCoder()
    pictures = coder.push(jpeg(), START_US, WALL_MS)
    for index in range(1, 25):
        pictures += coder.repeat(START_US + index * 250_000, WALL_MS + index * 250)
    assert [p.at_us - START_US for p in pictures if p.key] == [0, 1_000_000, 3_000_000, 5_000_000]
    assert all(len(p.data) < 200 for p in pictures if not p.key)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_known_by_its_first_bytes(form: str) -> None:
    coder = ImageCoder()
    coder.push(jpeg(form=form, size=(99, 51)), START_US, WALL_MS)
    assert coder.format is not None
    assert (coder.format.width, coder.format.height) == (98, 50)


def test_raw_pixels_are_taken_as_the_content_type_says() -> None:
    layout = raw_layout({"width": "8", "height": "6", "format": "bgr"})
    assert layout == (8, 6, "bgr24")
    coder = ImageCoder(layout)
    assert coder.push(bytes(8 * 6 * 3), START_US, WALL_MS)[0].key
    with pytest.raises(UnsupportedMedia):
        coder.push(b"short", START_US + 1, WALL_MS)
    assert raw_layout({"width": "1000000", "height": "1000000"}) is None


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff\xe0broken", jpeg()[:80]])
def test_what_is_no_picture_is_refused_and_the_next_one_counts(data: bytes) -> None:
    coder = ImageCoder()
    with pytest.raises(UnsupportedMedia):
        coder.push(data, START_US, WALL_MS)
    assert coder.push(jpeg(), START_US + 1, WALL_MS)


def test_a_picture_that_would_unpack_to_gigabytes_is_refused() -> None:
    bomb = bytearray(jpeg())
    at = bomb.index(b"\xff\xc0")
    bomb[at + 5 : at + 9] = b"\xff\xff\xff\xff"  # 65535 pixels each way
    with pytest.raises(UnsupportedMedia):
        ImageCoder().push(bytes(bomb), START_US, WALL_MS)


def test_a_large_picture_is_made_smaller_either_way_round() -> None:
    assert fitted(3840, 2160) == (1920, 1080)
    assert fitted(2160, 3840) == (1080, 1920)
    assert fitted(641, 361) == (640, 360)
    assert image_kind(b"RIFF1234WAVE") is None


def test_a_hole_in_the_sound_is_filled_and_what_comes_after_is_in_its_place() -> None:
    from av.audio.frame import AudioFrame

    encoder = audio_codec("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = RATE, "stereo", "s16"
    sounds = list[int]()
    coder = SoundCoder("opus", START_US)
    for index in [*range(20), *range(120, 140)]:  # 20 ms each: two seconds of silence between
        frame = AudioFrame.from_ndarray(np.zeros((1, 1920), np.int16), "s16", "stereo")
        frame.sample_rate = RATE
        for data, _ in coded(encoder, frame):
            sounds += [s.at for s in coder.push(data, START_US + index * 20_000)]
    assert sounds == list(range(0, len(sounds) * FRAME, FRAME))
    assert abs(sounds[-1] / RATE - 140 * 0.02) < 0.1
    assert coder.push(b"\xff\xff\xff", START_US + 3_000_000) == []
    assert coder.refused == 1


def test_pictures_go_on_in_silence() -> None:
    coder = SoundCoder("opus", START_US)
    sounds = [s for i in range(100) for s in coder.reach(START_US + i * 100_000)]
    assert 9.4 < sounds[-1].at / RATE < 9.9


def test_a_coded_picture_is_passed_on_and_a_loss_waits_for_the_next_key_frame() -> None:
    window = Window(1)
    source = CodedSource(Cutter(window))
    for index, (data, key) in enumerate(annex_b(45)):
        if index not in (14, 15):
            unit = Unit(data, START_US + index * 100_000, index, key)
            again = Unit.unpack(unit.pack())
            assert again is not None
            assert again == unit
            source.video(again, WALL_MS + index * 100)
    shown = sum(part.duration_s for segment in window.segments for part in segment.parts)
    assert shown == pytest.approx(4.4, abs=0.5)
    assert [segment.discontinuity for segment in window.segments].count(True) == 0


def test_a_source_that_starts_again_is_a_discontinuity() -> None:
    window = Window(1)
    source = CodedSource(Cutter(window))
    for start, restart in ((START_US, False), (5_000, True)):
        for index, (data, key) in enumerate(annex_b(25)):
            first = restart and index == 0
            source.video(Unit(data, start + index * 100_000, index, key, first), WALL_MS)
    assert [segment.discontinuity for segment in window.segments].count(True) == 1


def test_an_encoder_that_changes_its_rate_breaks_nothing_and_another_size_does() -> None:
    window = Window(1)
    source = CodedSource(Cutter(window))
    films = [annex_b(25, rate=10), annex_b(25, rate=12), annex_b(25, size=(96, 64))]
    assert films[0][0] != films[1][0]
    for index, (data, key) in enumerate(unit for film in films for unit in film):
        source.video(Unit(data, START_US + index * 100_000, index, key), WALL_MS)
    found = [segment for segment in window.segments if segment.discontinuity]
    assert len(found) == 1
    assert (window.init(found[0].init), window.init(0)) != (None, None)
    assert window.init(found[0].init) != window.init(0)


def test_bytes_that_are_no_picture_are_counted_and_harm_nothing() -> None:
    source = CodedSource(Cutter(Window(1)))
    source.video(Unit(b"rubbish", START_US, 0), WALL_MS)
    assert source.refused == 1
    assert Unit.unpack(b"") is None
    assert Unit.unpack(b"\x07" * 40) is None


def test_a_stream_belongs_to_its_session_by_its_name() -> None:
    assert session_of("session.abc.video") == "abc"
    assert session_of("session.abc") == "abc"
    assert session_of("camera") is None
