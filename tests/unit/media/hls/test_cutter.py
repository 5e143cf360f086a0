"""Where parts and segments end, what stays in the window, what the playlist says."""

from __future__ import annotations

import re

import anyio
import pytest

from downstage.media.hls.cutter import PART_S, Cutter, Pacing
from downstage.media.hls.playlist import SHOWN_S, playlist
from downstage.media.hls.samples import AudioFormat, Picture, Sound, VideoFormat
from downstage.media.hls.window import KEEP_S, Window

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

FORMAT = VideoFormat(64, 48, b"\x67\x42\xc0\x1e", b"\x68\xce\x3c\x80")
AUDIO = AudioFormat(48_000, 2, b"\x11\x90")
START_US = 7_000_000_000
WALL_MS = 1_700_000_000_000
FPS = 30


def fill(cutter: Cutter, seconds: float, *, key_s: float = 2.0, fps: int = FPS) -> None:
    cutter.configure(FORMAT, None)
    for index in range(int(seconds * fps)):
        at = round(index * 1_000_000 / fps)
        key = index % round(key_s * fps) == 0
        cutter.picture(Picture(b"x" * 10, START_US + at, 0, key, WALL_MS + at // 1000))


def test_a_part_is_never_longer_than_promised_and_a_segment_begins_with_a_key_frame() -> None:
    window = Window(1)
    fill(Cutter(window), 9)
    closed = [segment for segment in window.segments if segment.closed]
    assert [round(segment.duration_s, 3) for segment in closed] == [2, 2, 2, 2]
    for segment in closed:
        assert segment.parts[0].independent
        assert all(part.duration_s <= PART_S + 1e-6 for part in segment.parts)
        assert not any(part.independent for part in segment.parts[1:])


def test_without_key_frames_a_segment_ends_where_the_playlist_promised() -> None:
    window = Window(1)
    fill(Cutter(window, Pacing(longest_s=4)), 13, key_s=100)
    assert [round(item.duration_s, 1) for item in window.segments if item.closed] == [4, 4, 4]


def test_a_slow_source_has_a_part_for_each_picture() -> None:
    window = Window(1)
    fill(Cutter(window), 6, fps=2)
    assert {round(p.duration_s, 3) for s in window.segments for p in s.parts} == {0.5}


def test_an_interruption_is_a_discontinuity_with_a_timeline_of_its_own() -> None:
    window = Window(1)
    cutter = Cutter(window)
    fill(cutter, 4)
    cutter.interrupt()
    cutter.picture(Picture(b"delta", 5, 0, key=False, wall_ms=WALL_MS))
    assert not cutter.started
    fill(cutter, 4)
    text = playlist(window, cutter.pacing)
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1
    broken = next(segment for segment in window.segments if segment.discontinuity)
    time = broken.parts[0].data.index(b"tfdt")
    assert broken.parts[0].data[time + 8 : time + 16] == bytes(8)


def test_sound_goes_into_the_part_in_which_it_is_heard() -> None:
    window = Window(1)
    cutter = Cutter(window)
    cutter.configure(FORMAT, AUDIO)
    cutter.sound([Sound(b"s", index * 1024) for index in range(200)])
    for index in range(61):
        at = index * 1_000_000 // FPS
        cutter.picture(Picture(b"x", START_US + at, 0, index == 0, WALL_MS))
    first, second = (part.data for part in window.segments[0].parts[:2])
    assert first.count(b"traf") == second.count(b"traf") == 2
    time = second.rindex(b"tfdt")
    begins = int.from_bytes(second[time + 8 : time + 16], "big") / 48_000
    assert 0.5 <= begins < 0.5 + 1024 / 48_000


def test_the_window_is_bounded_by_seconds_and_by_bytes() -> None:
    long, small = Window(1), Window(1, keep_bytes=2000)
    fill(Cutter(long), 200)
    fill(Cutter(small), 200)
    assert sum(segment.duration_s for segment in long.segments) <= KEEP_S + 2
    assert small.size <= 2000 + 1000
    assert small.segments[-1].number == long.segments[-1].number


def test_the_playlist_lists_a_minute_and_parts_at_its_end_alone() -> None:
    window = Window(100)
    cutter = Cutter(window)
    fill(cutter, 200)
    text = playlist(window, cutter.pacing)
    assert text.startswith("#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:4\n")
    assert "CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.500" in text
    lengths = [float(item) for item in re.findall(r"#EXTINF:([\d.]+)", text)]
    assert SHOWN_S - 4 < sum(lengths) <= SHOWN_S
    first = re.search(r"MEDIA-SEQUENCE:(\d+)", text)
    assert first is not None
    assert f"seg-{first[1]}.m4s" in text
    assert "seg-100.m4s" not in text
    parts = re.findall(r'#EXT-X-PART:DURATION=[\d.]+,URI="part-(\d+)', text)
    assert len(set(parts)) == 3
    hint = re.search(r'PRELOAD-HINT:TYPE=PART,URI="(part-[\d.]+m4s)"', text)
    assert hint is not None
    assert text.count(hint[1]) == 1


def test_the_first_segment_is_short_so_that_a_player_may_begin() -> None:
    window = Window(1)
    cutter = Cutter(window)
    fill(cutter, 1.1, key_s=1.0)
    assert window.playable
    assert window.segments[0].duration_s == pytest.approx(1.0, abs=0.05)


async def test_who_waits_is_woken_by_the_part_and_not_before() -> None:
    window = Window(1)
    cutter = Cutter(window)
    fill(cutter, 0.2)
    seen = list[bool]()

    async def wait() -> None:
        seen.append(await window.wait(lambda: window.has(1, 0), 5))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert not seen
        fill(cutter, 2.2)
    assert seen == [True]
    assert not await window.wait(lambda: window.has(9, None), 0)


async def test_who_waits_is_let_go_when_the_source_ends() -> None:
    window = Window(1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(window.wait, lambda: False, 60)
        await anyio.wait_all_tasks_blocked()
        window.end()
    assert "#EXT-X-ENDLIST" in playlist(window, Pacing())
