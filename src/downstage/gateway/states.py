"""The life of a session as a pure state machine: an event and the time in, a new life out.

::

    queued → starting → ready → active ⇄ disconnected
       └────────┴─────────┴───────┴───────────┴──→ ending → ended(stopped | expired | failed)

Nothing here waits, stores or sends. `step` says what must be done as effects; the shell in
`downstage.gateway.sessions` does it. In each state one lease runs, and beside it the maximum
length; both are plain data. A session is ``ended`` only when nothing of its instance runs any
more: that is told by `InstanceEnded` alone, and until then it stays ``ending``, however long.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Literal

from downstage.contracts.gateway import Outcome, SessionState

__all__ = [
    "LIVE",
    "Effect",
    "EndAsked",
    "Event",
    "Faulted",
    "InputSeen",
    "InstanceEnded",
    "Lease",
    "LeaseKind",
    "LeaseRanOut",
    "Life",
    "Now",
    "PictureSeen",
    "Placed",
    "Policy",
    "Progressed",
    "Restored",
    "Step",
    "ViewersChanged",
    "begin",
    "step",
]

LeaseKind = Literal["start", "connect", "resume", "idle", "maximum", "end"]

LIVE: tuple[SessionState, ...] = ("queued", "starting", "ready", "active", "disconnected")
"""States before ``ending``."""

LEASE_OF: dict[SessionState, LeaseKind] = {
    "queued": "start",
    "starting": "start",
    "ready": "connect",
    "active": "idle",
    "disconnected": "resume",
    "ending": "end",
}
"""The lease that runs in each state; ``ended`` has none."""

GRAIN = 20
"""Input renews the idle lease once it gains this part of it: not a row a second."""


@dataclass(frozen=True, slots=True)
class Now:
    """One moment on every clock that counts."""

    wall: datetime
    monotonic: float
    boot_id: str


@dataclass(frozen=True, slots=True)
class Policy:
    """How long each lease lasts."""

    start: timedelta = timedelta(seconds=60)
    connect: timedelta = timedelta(seconds=120)
    resume: timedelta = timedelta(seconds=60)
    idle: timedelta = timedelta(minutes=30)
    maximum: timedelta = timedelta(hours=8)
    end: timedelta = timedelta(seconds=20)

    def grant(self, kind: LeaseKind, now: Now, *, used: timedelta = timedelta()) -> Lease:
        """A lease of *kind* from *now*, of which *used* has passed already."""
        left: timedelta = getattr(self, kind) - used
        return Lease(kind, now.wall + left, now.monotonic + left.total_seconds(), now.boot_id)


@dataclass(frozen=True, slots=True)
class Lease:
    """Until when. The wall time is for people, the monotonic one decides within its boot."""

    kind: LeaseKind
    ends_at: datetime
    ends_monotonic: float
    boot_id: str

    def left(self, now: Now) -> float:
        """Seconds until its end by the clock that nobody sets; after a reboot by the wall's."""
        if self.boot_id == now.boot_id:
            return self.ends_monotonic - now.monotonic
        return (self.ends_at - now.wall).total_seconds()

    def due(self, now: Now) -> float:
        """Its end on the monotonic clock of this boot."""
        return (
            self.ends_monotonic if self.boot_id == now.boot_id else now.monotonic + self.left(now)
        )


@dataclass(frozen=True, slots=True)
class Life:
    """How a session stands."""

    state: SessionState
    lease: Lease | None
    maximum: Lease | None
    instance_id: str
    outcome: Outcome | None = None
    reason: str | None = None
    detail: str | None = None
    progress: str | None = None

    def leases(self) -> tuple[Lease, ...]:
        """Those that run."""
        return tuple(lease for lease in (self.lease, self.maximum) if lease is not None)


# Events --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Placed:
    """The manager took the instance on."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class Progressed:
    """The instance's start came as far as *stage*."""

    stage: str


@dataclass(frozen=True, slots=True)
class PictureSeen:
    """The streamer captured its first picture."""


@dataclass(frozen=True, slots=True)
class ViewersChanged:
    """So many viewers are sent the picture now."""

    count: int


@dataclass(frozen=True, slots=True)
class InputSeen:
    """The newest input came *ago* seconds before now."""

    ago: float
    exact: bool = False
    """Count every second gained, not only `GRAIN` ones."""


@dataclass(frozen=True, slots=True)
class EndAsked:
    """Somebody wants it to end."""

    outcome: Outcome = "stopped"
    reason: str = "stopped"
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Faulted:
    """The streamer is about to give up."""

    code: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class InstanceEnded:
    """Nothing of the instance runs any more, or there is none."""

    reason: str
    detail: str | None = None
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class LeaseRanOut:
    """A timer rang; whether the lease is really over is judged here."""

    kind: LeaseKind


@dataclass(frozen=True, slots=True)
class Restored:
    """The gateway started and found this session in its database."""


Event = (
    Placed
    | Progressed
    | PictureSeen
    | ViewersChanged
    | InputSeen
    | EndAsked
    | Faulted
    | InstanceEnded
    | LeaseRanOut
    | Restored
)


class Effect(Enum):
    """What the shell must do after it has stored the new life."""

    STOP_INSTANCE = "stop-instance"
    TELL_STREAMER = "tell-streamer"
    ERASE_SECRET = "erase-secret"  # noqa: S105 - a name
    DISMISS_VIEWERS = "dismiss-viewers"


@dataclass(frozen=True, slots=True)
class Step:
    """The life after an event, and what follows from it."""

    life: Life
    effects: tuple[Effect, ...] = field(default=())


EXPIRED: dict[LeaseKind, tuple[str, str]] = {
    "connect": ("connect-lease", "Nobody opened the session in time. Start a new one."),
    "resume": ("resume-lease", "The viewer was away for too long. Start a new session."),
    "idle": ("idle-lease", "Nobody used the session for a long time. Start a new one."),
    "maximum": ("maximum-lease", "The session reached its longest time. Start a new one."),
}
LATE = (
    "The application did not show a picture in time. Try again; if it stays so, look at the "
    "application's log."
)
OVERDUE = "The instance takes longer than it should to end; it is told again until it has."


def begin(now: Now, policy: Policy, instance_id: str) -> Life:
    """A session that was just asked for; *instance_id* is what its instance will be called."""
    start, maximum = policy.grant("start", now), policy.grant("maximum", now)
    return Life("queued", start, maximum, instance_id)


def step(life: Life, event: Event, now: Now, policy: Policy) -> Step:
    """What *event* makes of *life*; an event that does not fit changes nothing."""
    if life.state == "ended":
        return Step(life)
    match event:
        case InstanceEnded():
            done = _ended(life, event)
        case Placed(instance_id):
            done = _placed(life, instance_id)
        case Restored():
            done = _restored(life, now, policy)
        case LeaseRanOut(kind):
            done = _ran_out(life, kind, now, policy)
        case EndAsked():
            done = _ending(life, event, now, policy)
        case Faulted(code, detail):
            done = _ending(life, EndAsked("failed", code, detail), now, policy)
        case _:
            done = Step(_lived(life, event, now, policy))
    return done


def _lived(life: Life, event: Event, now: Now, policy: Policy) -> Life:
    """Events of a session that goes on."""
    match event:
        case Progressed(stage) if life.state in ("queued", "starting"):
            return replace(life, progress=stage)
        case PictureSeen() if life.state in ("queued", "starting"):
            return _enter(replace(life, progress=None), "ready", now, policy)
        case ViewersChanged(count) if count > 0 and life.state in ("ready", "disconnected"):
            return _enter(life, "active", now, policy)
        case ViewersChanged(0) if life.state == "active":
            return _enter(life, "disconnected", now, policy)
        case InputSeen(ago, exact) if life.state == "active":
            return _renewed(life, ago, now, policy, exact=exact)
        case _:
            return life


def _enter(life: Life, state: SessionState, now: Now, policy: Policy) -> Life:
    return replace(life, state=state, lease=policy.grant(LEASE_OF[state], now))


def _placed(life: Life, instance_id: str) -> Step:
    if life.state == "ending":
        # Ended while it was being placed: what came of it must not live on.
        return Step(replace(life, instance_id=instance_id), (Effect.STOP_INSTANCE,))
    if life.state != "queued":
        return Step(life)
    placed = replace(life, state="starting", instance_id=instance_id, progress="placed")
    return Step(placed, (Effect.ERASE_SECRET,))


def _renewed(life: Life, ago: float, now: Now, policy: Policy, *, exact: bool) -> Life:
    fresh = policy.grant("idle", now, used=timedelta(seconds=max(ago, 0.0)))
    gained = fresh.left(now) - (life.lease.left(now) if life.lease else 0.0)
    least = 0.0 if exact else policy.idle.total_seconds() / GRAIN
    return replace(life, lease=fresh) if gained > least else life


def _restored(life: Life, now: Now, policy: Policy) -> Step:
    """Viewers are not known any more; leases of another boot start anew, in full."""
    if life.state == "active":
        life = _enter(life, "disconnected", now, policy)
    lease, maximum = life.lease, life.maximum
    if lease is not None and lease.boot_id != now.boot_id:
        lease = policy.grant(lease.kind, now)
    if maximum is not None and maximum.boot_id != now.boot_id:
        maximum = policy.grant("maximum", now)
    effects = (Effect.STOP_INSTANCE,) if life.state == "ending" else ()
    return Step(replace(life, lease=lease, maximum=maximum), effects)


def _ran_out(life: Life, kind: LeaseKind, now: Now, policy: Policy) -> Step:
    if not any(lease.kind == kind and lease.left(now) <= 0 for lease in life.leases()):
        return Step(life)
    if kind == "end":
        late = replace(life, lease=policy.grant("end", now), detail=life.detail or OVERDUE)
        return Step(late, (Effect.STOP_INSTANCE,))
    if kind == "start":
        return _ending(life, EndAsked("failed", "start-deadline", LATE), now, policy)
    return _ending(life, EndAsked("expired", *EXPIRED[kind]), now, policy)


def _ending(life: Life, asked: EndAsked, now: Now, policy: Policy) -> Step:
    if life.state == "ending":
        return Step(life)
    ending = replace(
        life,
        state="ending",
        lease=policy.grant("end", now),
        maximum=None,
        outcome=asked.outcome,
        reason=asked.reason,
        detail=asked.detail,
    )
    return Step(ending, (Effect.TELL_STREAMER, Effect.STOP_INSTANCE, Effect.ERASE_SECRET))


def _ended(life: Life, event: InstanceEnded) -> Step:
    effects = (Effect.ERASE_SECRET, Effect.DISMISS_VIEWERS)
    over = replace(life, state="ended", lease=None, maximum=None)
    if life.state == "ending":
        return Step(over, effects)
    over = replace(over, outcome=_outcome(life, event), reason=event.reason, detail=event.detail)
    return Step(over, effects)


def _outcome(life: Life, event: InstanceEnded) -> Outcome:
    """An instance that ends by itself failed, unless it was used and left cleanly."""
    was_used = life.state in ("ready", "active", "disconnected")
    is_clean = event.reason == "application-exited" and event.exit_code == 0
    return "stopped" if event.reason == "stopped" or (was_used and is_clean) else "failed"
