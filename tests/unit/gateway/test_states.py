"""The session's life: every step allowed, every lease kept, nothing ended that still runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from downstage.contracts.gateway import SessionState
from downstage.gateway.leases import read_clock
from downstage.gateway.states import (
    LIVE,
    AskedAfter,
    Effect,
    EndAsked,
    Event,
    Faulted,
    InputSeen,
    InstanceEnded,
    LeaseKind,
    LeaseRanOut,
    Life,
    PictureSeen,
    Placed,
    Policy,
    Progressed,
    Restored,
    Step,
    ViewersChanged,
    Waits,
    begin,
    step,
)
from downstage.kernel.clock import ManualClock

pytestmark = pytest.mark.unit

POLICY = Policy(
    start=timedelta(seconds=60),
    connect=timedelta(seconds=120),
    resume=timedelta(seconds=30),
    idle=timedelta(seconds=600),
    maximum=timedelta(seconds=3600),
    end=timedelta(seconds=20),
    hold=timedelta(seconds=90),
    queue=timedelta(seconds=1800),
)
ALLOWED: dict[str, set[str]] = {
    "queued": {"starting", "ready", "ending", "ended"},
    "starting": {"ready", "ending", "ended"},
    "ready": {"active", "ending", "ended"},
    "active": {"disconnected", "ending", "ended"},
    "disconnected": {"active", "ending", "ended"},
    "ending": {"ended"},
    "ended": set(),
}
"""A step to ``ended`` from before ``ending`` passes through it at once: nothing runs any more."""


class Machine:
    """One session, one clock."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.life = begin(read_clock(self.clock), POLICY, "i-1")

    def do(self, event: Event) -> Step:
        done = step(self.life, event, read_clock(self.clock), POLICY)
        self.life = done.life
        return done

    def to(self, state: str) -> Machine:
        path: dict[str, tuple[Event, ...]] = {
            "queued": (),
            "starting": (Placed("i-1"),),
            "ready": (Placed("i-1"), PictureSeen()),
            "active": (Placed("i-1"), PictureSeen(), ViewersChanged(1)),
            "disconnected": (Placed("i-1"), PictureSeen(), ViewersChanged(1), ViewersChanged(0)),
            "ending": (Placed("i-1"), EndAsked()),
            "ended": (Placed("i-1"), EndAsked(), InstanceEnded("stopped")),
        }
        for event in path[state]:
            self.do(event)
        assert self.life.state == state
        return self


def test_the_way_of_an_ordinary_session() -> None:
    machine = Machine()
    events: list[Event] = [
        Placed("i-1"),
        Progressed("display"),
        PictureSeen(),
        ViewersChanged(1),
        ViewersChanged(0),
        ViewersChanged(2),
        EndAsked(),
        InstanceEnded("stopped"),
    ]
    assert machine.life.state == "queued"
    assert [machine.do(event).life.state for event in events] == [
        "starting",
        "starting",
        "ready",
        "active",
        "disconnected",
        "active",
        "ending",
        "ended",
    ]
    assert machine.life.outcome == "stopped"
    assert machine.life.leases() == ()


@pytest.mark.parametrize("state", LIVE)
def test_every_state_before_it_may_go_to_ending(state: str) -> None:
    machine = Machine().to(state)
    done = machine.do(EndAsked("stopped", "stopped", "Because."))
    assert (done.life.state, done.life.outcome, done.life.detail) == (
        "ending",
        "stopped",
        "Because.",
    )
    assert set(done.effects) == {
        Effect.STOP_INSTANCE,
        Effect.TELL_STREAMER,
        Effect.ERASE_SECRET,
    }
    assert done.life.maximum is None


@pytest.mark.parametrize(
    ("state", "kind", "seconds", "outcome", "reason"),
    [
        ("queued", "start", 60, "failed", "start-deadline"),
        ("starting", "start", 60, "failed", "start-deadline"),
        ("ready", "connect", 120, "expired", "connect-lease"),
        ("active", "idle", 600, "expired", "idle-lease"),
        ("disconnected", "resume", 30, "expired", "resume-lease"),
    ],
)
def test_each_state_s_lease_ends_it_and_not_before(
    state: str, kind: LeaseKind, seconds: int, outcome: str, reason: str
) -> None:
    machine = Machine().to(state)
    assert machine.life.lease is not None
    assert machine.life.lease.kind == kind
    machine.clock.advance(seconds - 0.01)
    assert machine.do(LeaseRanOut(kind)).life.state == state
    machine.clock.advance(0.01)
    ended = machine.do(LeaseRanOut(kind)).life
    assert (ended.state, ended.outcome, ended.reason) == ("ending", outcome, reason)
    assert ended.detail


def test_no_session_is_longer_than_the_maximum() -> None:
    machine = Machine().to("active")
    for _ in range(12):
        machine.clock.advance(300)
        machine.do(InputSeen(0))
    assert machine.life.state == "active"
    ended = machine.do(LeaseRanOut("maximum")).life
    assert (ended.outcome, ended.reason) == ("expired", "maximum-lease")


def test_setting_the_wall_clock_ends_nothing() -> None:
    machine = Machine().to("ready")
    machine.clock.jump(86_400)
    assert machine.do(LeaseRanOut("connect")).life.state == "ready"
    machine.clock.jump(-2 * 86_400)
    machine.clock.advance(120)
    assert machine.do(LeaseRanOut("connect")).life.state == "ending"


@pytest.mark.parametrize("state", ["starting", "ready", "disconnected"])
def test_a_reboot_grants_leases_anew_in_full(state: str) -> None:
    machine = Machine().to(state)
    machine.clock.advance(20)
    machine.clock.reboot("boot-2", seconds=86_400)
    life = machine.do(Restored()).life
    now = read_clock(machine.clock)
    assert life.state == state
    assert life.lease is not None
    full = getattr(POLICY, life.lease.kind).total_seconds()
    assert life.lease.left(now) == pytest.approx(full)
    assert life.maximum is not None
    assert life.maximum.left(now) == pytest.approx(3600)


def test_a_restart_in_the_same_boot_goes_on_counting() -> None:
    machine = Machine().to("ready")
    machine.clock.advance(100)
    life = machine.do(Restored()).life
    assert life.lease is not None
    assert life.lease.left(read_clock(machine.clock)) == pytest.approx(20)


def test_a_restart_forgets_viewers_and_gives_them_time() -> None:
    machine = Machine().to("active")
    life = machine.do(Restored()).life
    assert life.state == "disconnected"
    assert life.lease is not None
    assert life.lease.kind == "resume"


def test_input_renews_the_idle_lease_in_grains() -> None:
    machine = Machine().to("active")
    before = machine.life
    machine.clock.advance(20)
    assert machine.do(InputSeen(0)).life == before, "20 s of 600 are less than a grain"
    assert machine.do(InputSeen(5, exact=True)).life.lease != before.lease
    machine.clock.advance(100)
    machine.do(InputSeen(40))
    assert machine.life.lease is not None
    assert machine.life.lease.left(read_clock(machine.clock)) == pytest.approx(560)
    older = machine.life
    assert machine.do(InputSeen(500, exact=True)).life == older, "older input takes nothing away"


def test_placed_while_ending_stops_what_was_placed() -> None:
    machine = Machine()
    machine.do(EndAsked())
    done = machine.do(Placed("i-2"))
    assert (done.life.state, done.life.instance_id) == ("ending", "i-2")
    assert done.effects == (Effect.STOP_INSTANCE,)


def test_the_end_is_asked_for_again_and_never_given_up() -> None:
    machine = Machine().to("ending")
    for _ in range(50):
        machine.clock.advance(20)
        done = machine.do(LeaseRanOut("end"))
        assert done.life.state == "ending"
        assert done.effects == (Effect.STOP_INSTANCE,)
    assert machine.do(InstanceEnded("stopped")).life.state == "ended"


def test_the_first_reason_stays() -> None:
    machine = Machine().to("active")
    machine.do(EndAsked("expired", "idle-lease", "Idle."))
    machine.do(EndAsked())
    machine.do(Faulted("broken"))
    ended = machine.do(InstanceEnded("killed", "Killed.", 9)).life
    assert (ended.outcome, ended.reason, ended.detail) == ("expired", "idle-lease", "Idle.")


@pytest.mark.parametrize(
    ("state", "event", "outcome"),
    [
        ("active", InstanceEnded("application-exited", exit_code=0), "stopped"),
        ("active", InstanceEnded("application-exited", exit_code=1), "failed"),
        ("starting", InstanceEnded("application-exited", exit_code=0), "failed"),
        ("ready", InstanceEnded("streamer-died"), "failed"),
        ("ready", InstanceEnded("stopped"), "stopped"),
    ],
)
def test_how_an_instance_that_ends_by_itself_counts(
    state: str, event: InstanceEnded, outcome: str
) -> None:
    done = Machine().to(state).do(event)
    assert (done.life.state, done.life.outcome, done.life.reason) == (
        "ended",
        outcome,
        event.reason,
    )
    assert Effect.DISMISS_VIEWERS in done.effects


def test_the_secret_goes_as_soon_as_the_application_has_it() -> None:
    assert Effect.ERASE_SECRET in Machine().do(Placed("i-1")).effects


def kinds(life: Life) -> list[str]:
    return [lease.kind for lease in life.leases()]


def test_while_it_waits_neither_its_start_nor_its_life_is_counted() -> None:
    machine = Machine()
    machine.do(Waits())
    assert machine.life.waits
    assert kinds(machine.life) == ["hold", "queue"]
    for _ in range(10):
        machine.clock.advance(80)
        machine.do(AskedAfter())
        assert machine.do(LeaseRanOut("start")).life.state == "queued"
    started = machine.do(Placed("i-1")).life
    assert (started.state, kinds(started)) == ("starting", ["start", "maximum"])
    now = read_clock(machine.clock)
    assert [lease.left(now) for lease in started.leases()] == pytest.approx([60, 3600])


def test_a_picture_before_the_placing_is_told_counts_its_life_too() -> None:
    machine = Machine()
    machine.do(Waits())
    assert kinds(machine.do(PictureSeen()).life) == ["connect", "maximum"]


@pytest.mark.parametrize(
    ("kind", "seconds", "reason"), [("hold", 90, "queue-hold"), ("queue", 1800, "queue-lease")]
)
def test_a_wait_that_is_too_long_expires(kind: LeaseKind, seconds: int, reason: str) -> None:
    machine = Machine()
    machine.do(Waits())
    machine.clock.advance(seconds - 0.01)
    machine.do(AskedAfter(ago=0 if kind == "queue" else 1000))
    assert machine.do(LeaseRanOut(kind)).life.state == "queued"
    machine.clock.advance(0.01)
    ended = machine.do(LeaseRanOut(kind)).life
    assert (ended.state, ended.outcome, ended.reason) == ("ending", "expired", reason)
    assert ended.detail


def test_a_place_is_held_from_when_it_was_asked_after() -> None:
    machine = Machine()
    machine.do(Waits())
    machine.clock.advance(89)
    machine.do(AskedAfter(ago=29))
    assert machine.life.lease is not None
    assert machine.life.lease.left(read_clock(machine.clock)) == pytest.approx(61)
    held = machine.life
    assert machine.do(AskedAfter(ago=80)).life == held, "an older question takes nothing away"


def test_a_restart_holds_places_in_full_and_goes_on_with_the_wait() -> None:
    machine = Machine()
    machine.do(Waits())
    machine.clock.advance(80)
    machine.do(Restored())
    left = [lease.left(read_clock(machine.clock)) for lease in machine.life.leases()]
    assert left == pytest.approx([90, 1720])
    machine.clock.reboot("boot-2", seconds=600)
    machine.do(Restored())
    left = [lease.left(read_clock(machine.clock)) for lease in machine.life.leases()]
    assert left == pytest.approx([90, 1800])


@pytest.mark.parametrize("state", ["starting", "ready", "active", "ending", "ended"])
def test_only_what_is_queued_waits(state: str) -> None:
    machine = Machine().to(state)
    before = machine.life
    assert machine.do(Waits()).life == before
    assert machine.do(AskedAfter()).life == before


def test_a_picture_before_the_manager_s_answer_counts() -> None:
    machine = Machine()
    assert machine.do(PictureSeen()).life.state == "ready"
    assert machine.do(Placed("i-1")).life.state == "ready"


def test_a_fault_of_the_streamer_fails_the_session() -> None:
    life = Machine().to("active").do(Faulted("no-encoder", "None opened.")).life
    assert (life.state, life.outcome, life.reason) == ("ending", "failed", "no-encoder")


class Sessions(RuleBasedStateMachine):
    """Any events in any order, time passing, clocks set, machines rebooted."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine()
        self.passed = ["queued"]
        self.running = False
        self.stop_asked = False

    def _do(self, event: Event) -> None:
        before = self.machine.life
        done = self.machine.do(event)
        if done.life.state != before.state:
            assert done.life.state in ALLOWED[before.state]
            self.passed.append(done.life.state)
        if Effect.STOP_INSTANCE in done.effects:
            self.stop_asked = True
        if before.state == "ended":
            assert done == Step(before)
        if before.state == "ending":
            assert done.life.outcome == before.outcome
            assert done.life.reason == before.reason

    @precondition(lambda self: not self.running and self.machine.life.state != "ended")
    @rule()
    def place(self) -> None:
        self.running = True
        self._do(Placed("i-1"))

    @precondition(lambda self: not self.running)
    @rule()
    def queue(self) -> None:
        self._do(Waits())

    @rule(ago=st.floats(0, 1e4))
    def ask(self, ago: float) -> None:
        self._do(AskedAfter(ago))

    @rule(stage=st.sampled_from(["display", "streamer", "application"]))
    def progress(self, stage: str) -> None:
        self._do(Progressed(stage))

    @precondition(lambda self: self.running)
    @rule()
    def picture(self) -> None:
        self._do(PictureSeen())

    @rule(count=st.integers(0, 3))
    def viewers(self, count: int) -> None:
        self._do(ViewersChanged(count))

    @rule(ago=st.floats(0, 1e6), exact=st.booleans())
    def input(self, ago: float, exact: bool) -> None:
        left = [lease.left(read_clock(self.machine.clock)) for lease in self.machine.life.leases()]
        self._do(InputSeen(ago, exact=exact))
        after = [lease.left(read_clock(self.machine.clock)) for lease in self.machine.life.leases()]
        assert all(new >= old for old, new in zip(left, after, strict=True))

    @rule(outcome=st.sampled_from(["stopped", "failed"]))
    def end(self, outcome: str) -> None:
        self._do(EndAsked(outcome))  # pyright: ignore[reportArgumentType]

    @rule()
    def fault(self) -> None:
        self._do(Faulted("broken"))

    @precondition(lambda self: self.running)
    @rule(reason=st.sampled_from(["stopped", "streamer-died", "application-exited"]))
    def instance_ended(self, reason: str) -> None:
        self.running = False
        self._do(InstanceEnded(reason, exit_code=0))
        assert self.machine.life.state == "ended"

    @rule(seconds=st.floats(0, 4000))
    def wait(self, seconds: float) -> None:
        self.machine.clock.advance(seconds)

    @rule(seconds=st.floats(-1e7, 1e7))
    def jump(self, seconds: float) -> None:
        before = self.machine.life
        self.machine.clock.jump(seconds)
        now = read_clock(self.machine.clock)
        for lease in before.leases():
            if lease.left(now) > 0:
                self._do(LeaseRanOut(lease.kind))
                assert self.machine.life == before

    @rule(kind=st.sampled_from(get_args(LeaseKind)))
    def ring(self, kind: LeaseKind) -> None:
        over = {
            lease.kind
            for lease in self.machine.life.leases()
            if lease.left(read_clock(self.machine.clock)) <= 0
        }
        before = self.machine.life
        self._do(LeaseRanOut(kind))
        if kind not in over:
            assert self.machine.life == before

    @rule(boot=st.sampled_from(["boot-1", "boot-2", "boot-3"]))
    def restart(self, boot: str) -> None:
        if boot != self.machine.clock.boot_id():
            self.machine.clock.reboot(boot)
        self._do(Restored())

    @invariant()
    def leases_fit_the_state(self) -> None:
        life = self.machine.life
        kinds = {
            "queued": ["hold", "queue"] if life.waits else ["start", "maximum"],
            "starting": ["start", "maximum"],
            "ready": ["connect", "maximum"],
            "active": ["idle", "maximum"],
            "disconnected": ["resume", "maximum"],
            "ending": ["end"],
            "ended": [],
        }
        assert [lease.kind for lease in life.leases()] == kinds[life.state]

    @invariant()
    def ends_have_a_reason(self) -> None:
        life = self.machine.life
        assert (life.outcome is not None) == (life.state in ("ending", "ended"))
        assert (life.reason is not None) == (life.outcome is not None)

    @invariant()
    def nothing_that_runs_is_forgotten(self) -> None:
        life = self.machine.life
        if self.running:
            assert life.state != "ended"
        if life.state == "ending":
            assert self.stop_asked

    @invariant()
    def steps_are_of_the_diagram(self) -> None:
        assert all(b in ALLOWED[a] for a, b in pairwise(self.passed))
        assert set(self.passed) <= set(get_args(SessionState))


TestSessions = Sessions.TestCase


def test_an_event_for_the_dead_changes_nothing() -> None:
    machine = Machine().to("ended")
    before: Life = replace(machine.life)
    for event in (Placed("x"), PictureSeen(), ViewersChanged(1), EndAsked(), Restored()):
        assert machine.do(event) == Step(before)
