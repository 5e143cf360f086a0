"""The life of a session as a pure state machine: an event and the time in, a new life out.

::

    queued → starting → ready → active ⇄ disconnected
       └────────┴─────────┴───────┴───────────┴──→ ending → ended(stopped | expired | failed)

Nothing here waits, stores or sends. `step` says what must be done as effects; the shell in
`downstage.gateway.sessions` does it. In each state one lease runs, and beside it the maximum
length; both are plain data. A session is ``ended`` only when nothing of its instance runs any
more: that is told by `InstanceEnded` alone, and until then it stays ``ending``, however long.

A session that waits for a place is ``queued`` under two leases of its own: one that is renewed
whenever somebody asks after it, and one for the wait as a whole. How long a start may take, and
how long the session may live, is counted from its place on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum

from downstage.contracts.gateway import Outcome, SessionState
from downstage.gateway.lease import Lease, LeaseKind, Now, Policy

__all__ = [
    "LIVE",
    "AskedAfter",
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
    "Waits",
    "begin",
    "step",
]

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
class Life:
    """How a session stands."""

    state: SessionState
    lease: Lease | None
    maximum: Lease | None
    """Of the session; while it waits for a place, of the wait."""
    instance_id: str
    outcome: Outcome | None = None
    reason: str | None = None
    detail: str | None = None
    progress: str | None = None

    @property
    def waits(self) -> bool:
        """Whether it waits in the queue."""
        return self.state == "queued" and self.lease is not None and self.lease.kind == "hold"

    def leases(self) -> tuple[Lease, ...]:
        """Those that run."""
        return tuple(lease for lease in (self.lease, self.maximum) if lease is not None)


# Events --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Waits:
    """There is no place: it waits in the queue."""


@dataclass(frozen=True, slots=True)
class AskedAfter:
    """Somebody wanted to know, so many seconds ago, how a session that waits stands."""

    ago: float = 0.0


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
    Waits
    | AskedAfter
    | Placed
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
    "hold": (
        "queue-hold",
        "Nobody asked after the session while it waited for a place. Start a new one.",
    ),
    "queue": ("queue-lease", "No place became free in time. Try again later."),
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
            done = _placed(life, instance_id, now, policy)
        case Waits():
            done = Step(_waiting(life, now, policy))
        case AskedAfter(ago):
            done = Step(_held(life, ago, now, policy))
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
    begun = _begun(life, now, policy)
    return replace(begun, state=state, lease=policy.grant(LEASE_OF[state], now))


def _begun(life: Life, now: Now, policy: Policy) -> Life:
    """Its time counts from now on, where it waited until now."""
    if life.maximum is None or life.maximum.kind != "queue":
        return life
    return replace(life, lease=policy.grant("start", now), maximum=policy.grant("maximum", now))


def _waiting(life: Life, now: Now, policy: Policy) -> Life:
    if life.state != "queued" or life.waits:
        return life
    hold, queue = policy.grant("hold", now), policy.grant("queue", now)
    return replace(life, lease=hold, maximum=queue, progress=None)


def _held(life: Life, ago: float, now: Now, policy: Policy) -> Life:
    if not life.waits:
        return life
    fresh = policy.grant("hold", now, used=timedelta(seconds=max(ago, 0.0)))
    gained = fresh.left(now) - (life.lease.left(now) if life.lease else 0.0)
    return replace(life, lease=fresh) if gained > 0 else life


def _placed(life: Life, instance_id: str, now: Now, policy: Policy) -> Step:
    if life.state == "ending":
        # Ended while it was being placed: what came of it must not live on.
        return Step(replace(life, instance_id=instance_id), (Effect.STOP_INSTANCE,))
    if life.state != "queued":
        return Step(life)
    begun = _begun(life, now, policy)
    placed = replace(begun, state="starting", instance_id=instance_id, progress="placed")
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
    if lease is not None and (lease.boot_id != now.boot_id or life.waits):
        lease = policy.grant(lease.kind, now)  # nobody could ask while we were away
    if maximum is not None and maximum.boot_id != now.boot_id:
        maximum = policy.grant(maximum.kind, now)
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
