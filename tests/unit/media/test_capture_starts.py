"""A capture that does not start is tried again, and given up in words."""

from __future__ import annotations

from typing import Any

import pytest

from downstage.kernel.errors import SetupError
from downstage.media.source import capture
from downstage.media.source.capture import Capture, CaptureOptions
from downstage.media.source.geometry import Size

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


class Screen:
    """The library's object, where it fails so many times."""

    def __init__(self, failures: int) -> None:
        self.left, self.calls = failures, 0

    def start_capture(self, *_: Any) -> None:
        self.calls += 1
        self.left -= 1
        if self.left >= 0:
            raise RuntimeError("shm_query_version: Bad file descriptor")


@pytest.mark.parametrize(("failures", "calls"), [(0, 1), (1, 2), (3, 3)])
async def test_it_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, failures: int, calls: int
) -> None:
    screen = Screen(failures)
    monkeypatch.setattr(capture.pixelflux, "ScreenCapture", lambda: screen)
    monkeypatch.setattr(capture, "AGAIN_S", 0)
    options = CaptureOptions("h264", Size(640, 360), 30, 1000, "auto", wayland=False)
    made = Capture(options, lambda _: None)
    if failures < capture.TRIES:
        await made.start()
    else:
        with pytest.raises(SetupError, match="Bad file descriptor"):
            await made.start()
    assert (screen.calls, made.running) == (calls, failures < capture.TRIES)
