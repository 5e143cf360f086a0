"""Tables of the gateway. Times are UTC; every row says whose it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
)

__all__ = [
    "dialect_settings",
    "gateways",
    "idempotency",
    "keys",
    "metadata",
    "seats",
    "sessions",
    "shares",
]

metadata = MetaData()


class Utc(TypeDecorator[datetime]):
    """An aware UTC time, also where the database keeps no offsets."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC before it is stored."""
        del dialect
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Aware again, whatever came back."""
        del dialect
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)


def _lease(prefix: str) -> list[Column[Any]]:
    """A lease's end on the wall's clock, on the machine's, and the boot that clock belongs to."""
    return [
        Column(f"{prefix}_kind", String(16)),
        Column(f"{prefix}_ends_at", Utc),
        Column(f"{prefix}_ends_monotonic", Float),
        Column(f"{prefix}_boot_id", String(64)),
    ]


sessions = Table(
    "sessions",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("owner", String(128), nullable=False),
    Column("username", String(128), nullable=False),
    Column("application", String(512), nullable=False),
    Column("stage", Text),
    Column("region", String(128), nullable=False),
    Column("home", String(512), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("fps", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("instance_id", String(64), nullable=False),
    Column("outcome", String(16)),
    Column("reason", String(128)),
    Column("detail", Text),
    Column("progress", String(64)),
    *_lease("lease"),
    *_lease("maximum"),
    Column("encoder", String(512)),
    Column("version", Integer),
    Column("profile", String(64)),
    Column("region_reason", Text),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("wait", Boolean, nullable=False, server_default=false()),
    Column("queued_at", Utc),
    Column("asked_at", Utc),
    Column("ports", JSON, nullable=False, server_default="[]"),
    Column("dialect", String(16), nullable=False, server_default="v1"),
    Column("extra", JSON, nullable=False, server_default="{}"),
    Column("order", JSON),
    Column("spec", JSON, nullable=False),
    Column("warnings", JSON, nullable=False),
    Column("sealed_token", Text),
    Column("revision", Integer, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("updated_at", Utc, nullable=False),
    Index("sessions_by_owner", "tenant", "owner", "created_at"),
    Index("sessions_by_state", "state"),
    Index("sessions_by_home", "home", "state"),
)

seats = Table(
    "seats",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("session_id", String(36), nullable=False, index=True),
    Column("tenant", String(64), nullable=False),
    Column("owner", String(128), nullable=False),
    Column("role", String(16), nullable=False),
    Column("created_at", Utc, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("owner", String(128), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("body_hash", String(64), nullable=False),
    Column("session_id", String(36), nullable=False, index=True),
    Column("created_at", Utc, nullable=False),
)

gateways = Table(
    "gateways",
    metadata,
    Column("url", String(512), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("boot", String(64), nullable=False),
    Column("seen_at", Float, nullable=False),
)
"""Gateways on this database; when each was seen, in seconds by the database's own clock."""

shares = Table(
    "shares",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("session_id", String(36), nullable=False, index=True),
    Column("tenant", String(64), nullable=False),
    Column("owner", String(128), nullable=False),
    Column("type", String(16), nullable=False),
    Column("description", Text, nullable=False),
    Column("token_hash", String(64), nullable=False),
    Column("sealed_token", Text, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("expires_at", Utc, nullable=False),
    Column("uses", Integer, nullable=False, server_default="0"),
    Index("shares_by_owner", "tenant", "owner", "created_at"),
)
"""Links that let others in until they expire; only a token's hash opens, only we can tell it."""

dialect_settings = Table(
    "dialect_settings",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("value", JSON, nullable=False),
)
"""What was set through a dialect's own routes, for all gateways."""

keys = Table(
    "keys",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("mark", String(64), nullable=False),
)
"""What tells the key of this database from others; see `downstage.gateway.same_key`."""
