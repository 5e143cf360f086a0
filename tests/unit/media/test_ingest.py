"""Other people's codecs into ours: what FFmpeg reads becomes units, or JPEG pictures."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from downstage.contracts.video import AAC, H264, OPUS, Unit
from downstage.kernel.errors import PlatformError, UnsupportedMedia, Upstream
from downstage.media.hls.h264 import format_of, split_units
from downstage.media.ingest import Ingest, IngestEvents, Wanted

pytestmark = [pytest.mark.unit]


def film(path: Path, video: str, audio: str | None) -> Path:
    """A second of pictures, and of sound."""
    container: Any = av.open(str(path), "w")
    with container:
        pictures = container.add_stream(video, rate=10)
        form = "yuvj420p" if video == "mjpeg" else "yuv420p"
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, form
        sound = container.add_stream(audio, rate=48_000, layout="stereo") if audio else None
        for number in range(10):
            frame = VideoFrame(64, 48, form)
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(pictures.encode(frame))
        if sound is not None:
            silence = np.zeros((1, 2 * 48_000), np.int16)
            whole = AudioFrame.from_ndarray(silence, "s16", "stereo")
            whole.sample_rate, whole.pts, whole.time_base = 48_000, 0, Fraction(1, 48_000)
            for part in (whole, None):
                container.mux(sound.encode(part))
        container.mux(pictures.encode(None))
    return path


def read(path: Path, wanted: Wanted = "video", max_fps: float | None = None) -> Any:
    """All that comes of it: kinds, pictures, sound, error."""
    kinds, pictures, sounds = list[Any](), list[bytes](), list[bytes]()
    errors, over = list[PlatformError | None](), threading.Event()

    def ended(error: PlatformError | None) -> None:
        errors.append(error)
        over.set()

    def started(seen: str, heard: str | None) -> None:
        kinds.append((seen, heard))

    events = IngestEvents(started, pictures.append, sounds.append, ended)
    Ingest(str(path), {}, events, wanted=wanted, max_fps=max_fps).start("test")
    assert over.wait(20)
    return kinds, pictures, sounds, errors[0]


def units(entries: Sequence[bytes]) -> list[Unit]:
    found = [Unit.unpack(entry) for entry in entries]
    assert None not in found
    return [unit for unit in found if unit is not None]


@pytest.mark.parametrize(
    ("video", "audio", "name", "sound"),
    [
        ("libx264", "aac", "a.mp4", AAC),
        ("libx264", "aac", "a.flv", AAC),
        ("libx264", "libopus", "a.mkv", OPUS),
        ("mpeg4", "pcm_s16le", "a.mkv", OPUS),
        ("mjpeg", None, "a.mkv", None),
    ],
)
def test_a_film_becomes_units(
    tmp_path: Path, video: str, audio: str | None, name: str, sound: str | None
) -> None:
    kinds, pictures, sounds, error = read(film(tmp_path / name, video, audio))
    assert error is None
    assert kinds == [(H264, sound)]
    found = units(pictures)
    assert len(found) == 10
    assert [unit.sequence for unit in found] == list(range(10))
    assert found[0].key
    assert found[0].restart
    form = format_of(split_units(found[0].data))
    assert form is not None
    assert (form.width, form.height) == (64, 48)
    times = [unit.at_us for unit in found]
    assert times == sorted(set(times))
    if sound is not None:
        heard = units(sounds)
        assert 0.8 < (heard[-1].at_us - heard[0].at_us) / 1e6 < 1.1
        assert sound != AAC or all(unit.data[:2] == b"\xff\xf1" for unit in heard)


def test_pictures_become_jpeg_no_more_often_than_wanted(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", "libx264", None)
    kinds, pictures, _, error = read(path, "images", 5)
    assert error is None
    assert kinds == [("image/jpeg", None)]
    assert 4 <= len(pictures) <= 6
    assert all(picture.startswith(b"\xff\xd8\xff") for picture in pictures)


def test_what_cannot_be_read_is_said_without_its_address(tmp_path: Path) -> None:
    error = read(tmp_path / "secret-name")[3]
    assert isinstance(error, Upstream)
    assert "secret-name" not in error.detail
    sound = tmp_path / "a.wav"
    sound.write_bytes(
        b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\0\0\0\0"
    )
    assert isinstance(read(sound)[3], (UnsupportedMedia, Upstream))
