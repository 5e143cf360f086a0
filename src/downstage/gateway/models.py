"""What the gateway keeps of a session, and how others may see it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from downstage.contracts.gateway import Role, SessionView
from downstage.contracts.manager import Display, PortRoute
from downstage.gateway.states import Lease, Life, Now

__all__ = ["Key", "Seat", "Session", "view"]


@dataclass(frozen=True, slots=True)
class Session:
    """One row: what was asked for, what is so, and its life."""

    id: str
    tenant: str
    owner: str
    """Subject to whom it belongs."""
    username: str
    """The owner's name, for eyes."""
    application: str
    stage: str | None
    region: str
    home: str
    """Address of the gateway that drives it."""
    display: Display
    life: Life
    created_at: datetime
    updated_at: datetime
    revision: int = 1
    encoder: str | None = None
    spec: dict[str, Any] = field(default_factory=dict[str, Any])
    """What a foreign API asked beside; never a secret."""
    warnings: tuple[str, ...] = ()
    sealed_token: str | None = None
    """The caller's access token, sealed; gone once the application has it."""
    version: int | None = None
    profile: str | None = None
    region_reason: str | None = None
    priority: int = 0
    wait: bool = False
    """Whether it waits for a place where there is none."""
    queued_at: datetime | None = None
    """Since when it has been in the queue; None: it never was, or is placed."""
    asked_at: datetime | None = None
    """When somebody last asked after it while it waited."""
    ports: tuple[dict[str, Any], ...] = ()
    """Published ports, each a `PortRoute`."""
    dialect: str = "v1"
    """By which API it was asked for."""
    extra: dict[str, Any] = field(default_factory=dict[str, Any])
    """What that API must remember of it; never a secret."""
    order: dict[str, Any] | None = None
    """What the instance needs beside the columns, while it waits in the queue; never a secret."""

    def with_life(self, life: Life) -> Session:
        """The same session in another *life*."""
        return replace(self, life=life)


@dataclass(frozen=True, slots=True)
class Seat:
    """One participant."""

    id: str
    session_id: str
    tenant: str
    subject: str
    role: Role
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Key:
    """A caller's idempotency key and what it was used for."""

    tenant: str
    owner: str
    key: str
    body_hash: str


def view(session: Session, now: Now) -> SessionView:
    """*session* as its owner may see it."""
    life = session.life
    return SessionView(
        id=session.id,
        tenant=session.tenant,
        owner=session.username,
        application=session.application,
        stage=session.stage,
        version=session.version,
        profile=session.profile,
        region=session.region,
        region_reason=session.region_reason,
        home=session.home,
        ports=[PortRoute.model_validate(port) for port in session.ports],
        state=life.state,
        outcome=life.outcome,
        reason=life.reason,
        detail=life.detail,
        progress=life.progress,
        width=session.display.width,
        height=session.display.height,
        fps=session.display.fps,
        encoder=session.encoder,
        warnings=list(session.warnings),
        revision=session.revision,
        created_at=session.created_at,
        updated_at=session.updated_at,
        lease_ends_at=_first_end(life.leases(), now),
    )


def _first_end(leases: tuple[Lease, ...], now: Now) -> datetime | None:
    if not leases:
        return None
    first = min(leases, key=lambda lease: lease.left(now))
    return first.ends_at
