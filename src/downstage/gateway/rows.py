"""Sessions and keys as rows of their tables, and back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from downstage.contracts.manager import Display
from downstage.gateway.models import Key, Session
from downstage.gateway.states import Lease, LeaseKind, Life

__all__ = ["key_row", "read_session", "session_row"]


def key_row(key: Key, session: Session) -> dict[str, Any]:
    """What *key* stands for."""
    return {
        "tenant": key.tenant,
        "owner": key.owner,
        "key": key.key,
        "body_hash": key.body_hash,
        "session_id": session.id,
        "created_at": session.created_at,
    }


def session_row(session: Session) -> dict[str, Any]:
    """All columns of *session*."""
    life = session.life
    return {
        "id": session.id,
        "tenant": session.tenant,
        "owner": session.owner,
        "username": session.username,
        "application": session.application,
        "stage": session.stage,
        "region": session.region,
        "home": session.home,
        "width": session.display.width,
        "height": session.display.height,
        "fps": session.display.fps,
        "state": life.state,
        "instance_id": life.instance_id,
        "outcome": life.outcome,
        "reason": life.reason,
        "detail": life.detail,
        "progress": life.progress,
        **_lease_row("lease", life.lease),
        **_lease_row("maximum", life.maximum),
        "encoder": session.encoder,
        "version": session.version,
        "profile": session.profile,
        "region_reason": session.region_reason,
        "priority": session.priority,
        "wait": session.wait,
        "queued_at": session.queued_at,
        "asked_at": session.asked_at,
        "ports": list(session.ports),
        "dialect": session.dialect,
        "extra": session.extra,
        "order": session.order,
        "spec": session.spec,
        "warnings": list(session.warnings),
        "sealed_token": session.sealed_token,
        "revision": session.revision,
        "created_at": session.created_at,
        "updated_at": session.updated_at,
    }


def _lease_row(prefix: str, lease: Lease | None) -> dict[str, Any]:
    return {
        f"{prefix}_kind": lease.kind if lease else None,
        f"{prefix}_ends_at": lease.ends_at if lease else None,
        f"{prefix}_ends_monotonic": lease.ends_monotonic if lease else None,
        f"{prefix}_boot_id": lease.boot_id if lease else None,
    }


def _read_lease(row: Row[Any], prefix: str) -> Lease | None:
    kind: LeaseKind | None = getattr(row, f"{prefix}_kind")
    if kind is None:
        return None
    return Lease(
        kind,
        getattr(row, f"{prefix}_ends_at"),
        getattr(row, f"{prefix}_ends_monotonic"),
        getattr(row, f"{prefix}_boot_id"),
    )


def read_session(row: Row[Any]) -> Session:
    """The session that *row* holds."""
    life = Life(
        state=row.state,
        lease=_read_lease(row, "lease"),
        maximum=_read_lease(row, "maximum"),
        instance_id=row.instance_id,
        outcome=row.outcome,
        reason=row.reason,
        detail=row.detail,
        progress=row.progress,
    )
    return Session(
        id=row.id,
        tenant=row.tenant,
        owner=row.owner,
        username=row.username,
        application=row.application,
        stage=row.stage,
        region=row.region,
        home=row.home,
        display=Display(width=row.width, height=row.height, fps=row.fps),
        life=life,
        created_at=row.created_at,
        updated_at=row.updated_at,
        revision=row.revision,
        encoder=row.encoder,
        version=row.version,
        profile=row.profile,
        region_reason=row.region_reason,
        priority=row.priority,
        wait=row.wait,
        queued_at=row.queued_at,
        asked_at=row.asked_at,
        ports=tuple(row.ports),
        dialect=row.dialect,
        extra=row.extra,
        order=row.order,
        spec=row.spec,
        warnings=tuple(row.warnings),
        sealed_token=row.sealed_token,
    )
