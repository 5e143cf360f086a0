"""Playhead, orbit, drags and pace: what people steer, without a window."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.apps.usd_viewer.navigation import Drag, Grip
from downstage.apps.usd_viewer.orbit import Orbit
from downstage.apps.usd_viewer.picture import Pace
from downstage.apps.usd_viewer.playback import Playback
from downstage.apps.usd_viewer.scene.model import Shot

pytestmark = pytest.mark.unit

BOX = np.array([[x, y, z] for x in (-2.0, 2) for y in (-1.0, 1) for z in (-0.5, 0.5)])
Y_UP, Z_UP = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def test_playing_goes_round() -> None:
    playback = Playback(10, 34, 24)
    assert not playback.advance(0.5)
    playback.toggle()
    assert playback.advance(0.5)
    assert playback.code == pytest.approx(22)
    playback.advance(0.75)
    assert playback.code == pytest.approx(16)
    assert playback.seconds == pytest.approx((0.25, 1.0))


def test_steps_pause_and_wrap() -> None:
    playback = Playback(0, 2, 24)
    playback.toggle()
    playback.step(-1)
    assert (playback.code, playback.is_playing) == (2.0, False)
    playback.step(1)
    assert playback.code == 0.0


def test_a_still_stage_never_plays() -> None:
    playback = Playback(1, 1, 24)
    playback.toggle()
    playback.step(3)
    assert (playback.is_playing, playback.code, playback.fraction) == (False, 1, 0.0)


@given(st.floats(-3, 3))
def test_scrubbing_stays_inside(fraction: float) -> None:
    playback = Playback(5, 9, 24)
    playback.scrub(fraction)
    assert 5 <= playback.code <= 9


@given(
    st.lists(st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.floats(-9, 9)), max_size=8),
    st.sampled_from([Y_UP, Z_UP]),
)
def test_no_drag_loses_the_stage(
    drags: list[tuple[float, float, float]], up: tuple[float, float, float]
) -> None:
    """Whatever is done: a right-handed, upright view at a bounded distance."""
    orbit = Orbit.framing(BOX, up)
    for dx, dy, wheel in drags:
        orbit = orbit.turned(dx, dy).zoomed(wheel)
    view = orbit.view()
    assert np.allclose(view @ view.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(view) == pytest.approx(1)
    assert view[1] @ np.asarray(up) > 0
    assert orbit.reach / 500 <= orbit.distance <= orbit.reach * 60


@pytest.mark.parametrize("up", [Y_UP, Z_UP])
def test_a_shot_is_taken_over(up: tuple[float, float, float]) -> None:
    shot = Shot("cam", (3.0, 4.0, 5.0), (1.0, 1.0, 1.0), 40.0)
    orbit = Orbit.from_shot(shot, up, 1.0)
    assert np.allclose(orbit.eye, shot.eye)
    assert orbit.target == shot.target


def test_what_is_dragged_stays_under_the_pointer() -> None:
    """A move by a tenth of the picture moves the target by a tenth of what is seen."""
    orbit = Orbit.framing(BOX, Y_UP)
    seen = 2 * orbit.distance * np.tan(np.radians(orbit.view_angle) / 2)
    moved = np.asarray(orbit.moved(0.1, 0.0).target)
    assert np.allclose(moved, -orbit.view()[0] * 0.1 * seen)


def test_a_trembling_click_is_a_click() -> None:
    drag = Drag(Grip.TURN, 1, (100, 100))
    assert drag.to((102, 99)) == (0, 0)
    assert drag.is_click
    assert drag.to((110, 100)) == (10, 0)
    assert drag.to((100, 100)) == (-10, 0)
    assert not drag.is_click


def test_pace_draws_less_when_slow_and_more_when_quick_again() -> None:
    pace = Pace(0.04)
    for _ in range(100):
        pace.note(0.09)
    assert pace.scale == min(Pace.SCALES)
    for _ in range(100):
        pace.note(0.03)
    assert pace.scale == min(Pace.SCALES), "not so quick that a larger one would be in time"
    for _ in range(100):
        pace.note(0.01)
    assert pace.scale == 1.0


def test_one_slow_picture_changes_nothing() -> None:
    pace = Pace(0.04)
    for _ in range(50):
        pace.note(0.5)
        pace.note(0.03)
    assert pace.scale == 1.0


@given(st.floats(0.3, 4), st.floats(-180, 180), st.floats(-80, 80))
def test_framing_shows_every_corner_and_little_else(
    aspect: float, azimuth: float, elevation: float
) -> None:
    turned = replace(Orbit.framing(BOX, Y_UP), azimuth=azimuth, elevation=elevation)
    orbit = turned.fitted(BOX + 7, aspect)
    right, upward, back = orbit.view() @ (BOX + 7 - orbit.eye).T
    tall = -back * np.tan(np.radians(orbit.view_angle) / 2)
    reach = np.maximum(np.abs(upward) / tall, np.abs(right) / (tall * aspect))
    assert 0.7 < reach.max() < 1
