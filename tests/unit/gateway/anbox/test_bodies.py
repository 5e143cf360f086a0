"""Bodies and answers: what clients send is taken, limits hold, sessions are told in five words."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from downstage.auth.principal import Principal
from downstage.contracts.manager import Display
from downstage.gateway.dialects.anbox.asking import NoAgent, even_screen, order_of, renamed
from downstage.gateway.dialects.anbox.connecting import ice_servers
from downstage.gateway.dialects.anbox.listed import KEPT, is_hidden
from downstage.gateway.dialects.anbox.models import JoinScreen, Screen, SessionPost
from downstage.gateway.dialects.anbox.statuses import answer_of, screen_of, states_of, status_of
from downstage.gateway.models import Session
from downstage.gateway.states import Life
from downstage.gateway.terms import Terms
from downstage.kernel.errors import InvalidField, NoCapacity, NotFound

pytestmark = pytest.mark.unit

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANNA = Principal("u-anna", "anna", "user")


def order(**body: Any) -> Any:
    wanted = SessionPost.model_validate({"app": "test-card", **body})
    return order_of(wanted, ANNA, idle_time_min=30, address=None, key=None)


def session(state: Any, outcome: Any = None, **more: Any) -> Session:
    life = Life(state, None, None, "i-1", outcome=outcome, reason=outcome)
    made = Session(
        "id", "main", "u-anna", "anna", "test-card", None, "local", "http://gw", Display(),
        life, NOW, NOW, dialect="anbox",
    )  # fmt: skip
    return replace(made, **more)


def test_line_05_the_body_of_the_stock_client_is_an_order() -> None:
    found = order(extra_data=None, region="", joinable=True, app_version=-1, screen={"width": 800})
    assert found.where.region is None
    assert found.version is None
    assert found.user_data is None
    assert found.wait is False
    assert (found.display.width, found.display.height, found.display.fps) == (800, 720, 60)
    assert Terms.of(found.extra) == Terms(ends_when_left=False, patience_s=1800)


@pytest.mark.parametrize("extra", [{"a": [1, "é"]}, "text", 7, [], False])
def test_extra_data_of_any_kind_reach_the_application(extra: Any) -> None:
    assert json.loads(order(extra_data=extra).user_data) == {"extra_data": extra}


def test_extra_data_have_a_limit() -> None:
    with pytest.raises(InvalidField, match="extra_data"):
        order(extra_data="x" * 10_240)


def test_joinable_and_idle_time_are_terms() -> None:
    assert Terms.of(order().extra) == Terms(ends_when_left=True, patience_s=None)
    assert Terms.of(order(joinable=True, idle_time_min=0).extra).patience_s == 0
    assert Terms.of(order(joinable=True, idle_time_min=5).extra).patience_s == 300
    assert order().extra["kept"] is False
    assert order(ephemeral=False).extra["kept"] is True


@pytest.mark.parametrize(
    ("given", "wanted"), [(1281, 1280), (1, 2), (2, 2), (3840, 3840), (1365.33, 1364)]
)
def test_pain_08_odd_sizes_are_made_even_and_never_fail(given: float, wanted: int) -> None:
    screen = even_screen(Screen.model_validate({"width": given, "height": 721}))
    assert (screen.width, screen.height) == (wanted, 720)


@pytest.mark.parametrize(
    "screen",
    [{"width": 3841}, {"height": 2161}, {"width": 0}, {"density": 71}, {"fps": 0}, {"width": "a"}],
)
def test_a_screen_beyond_the_limits_is_refused(screen: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Screen.model_validate(screen)


def test_a_joiner_changes_what_it_names() -> None:
    before = Screen(width=1280, height=720, fps=30, density=160)
    after = JoinScreen.model_validate({"width": 640, "height": 360}).over(before)
    assert after == Screen(width=640, height=360, fps=30, density=160)


@pytest.mark.parametrize(
    ("state", "outcome", "word"),
    [
        ("queued", None, "created"),
        ("starting", None, "created"),
        ("ready", None, "active"),
        ("active", None, "active"),
        ("disconnected", None, "active"),
        ("ending", "failed", "terminating"),
        ("ended", "stopped", "terminated"),
        ("ended", "expired", "terminated"),
        ("ended", "failed", "error"),
    ],
)
def test_pain_02_a_status_is_derived_from_the_state(state: Any, outcome: Any, word: Any) -> None:
    found = session(state, outcome)
    assert status_of(found) == word
    assert state in states_of(word)


def test_the_container_is_told_while_there_is_one() -> None:
    assert answer_of(session("queued")).container_id == ""
    assert answer_of(session("active")).container_id == "i-1"
    assert answer_of(session("ended", "stopped")).container_id == ""


def test_a_session_of_another_dialect_is_joinable_in_its_own_size() -> None:
    found = session("active", display=Display(width=640, height=480, fps=25))
    assert answer_of(found).joinable is True
    assert screen_of(found).width == 640


def test_what_is_over_is_remembered_where_it_failed_or_was_to_be_kept() -> None:
    assert not is_hidden(session("active", extra={"deleted": True}), NOW)
    assert is_hidden(session("active", extra={"deleted": True, "forced": True}), NOW)
    assert is_hidden(session("ended", "stopped"), NOW)
    assert not is_hidden(session("ended", "failed"), NOW)
    assert not is_hidden(session("ended", "stopped", extra={"kept": True}), NOW)
    assert is_hidden(session("ended", "failed", extra={"deleted": True}), NOW)
    assert is_hidden(session("ended", "failed"), NOW + KEPT + timedelta(seconds=1))


def test_line_07_turn_without_credentials_and_other_schemes_are_left_out() -> None:
    found = ice_servers(
        [
            {"urls": "stun:192.0.2.1:3478"},
            {"urls": "turn:192.0.2.1:3478", "username": "1:a", "credential": "b"},
            {"urls": "turns:192.0.2.1:5349?transport=tcp", "username": "", "credential": "b"},
            {"urls": "turn:192.0.2.2"},
            {"urls": "http://192.0.2.1"},
        ]
    )
    assert [item.urls for item in found] == [["stun:192.0.2.1:3478"], ["turn:192.0.2.1:3478"]]
    assert (found[1].username, found[1].password, found[1].credential) == ("1:a", "b", "b")


def test_refusals_are_told_in_the_dialect_s_words() -> None:
    assert isinstance(renamed(NoCapacity("Full.", retry_after_s=7)), NoAgent)
    assert renamed(NoCapacity("Full.")).status == 404
    missing = renamed(NotFound("There is no application named x."))
    assert isinstance(missing, InvalidField)
    assert missing.field == "app"
    field = renamed(InvalidField("version", "version: there is no 9."))
    assert (field.detail, getattr(field, "field", "")) == (
        "app_version: there is no 9.",
        "app_version",
    )
