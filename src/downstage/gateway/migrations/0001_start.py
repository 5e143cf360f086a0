"""Sessions, seats, idempotency keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _lease(prefix: str) -> list[sa.Column[object]]:
    return [
        sa.Column(f"{prefix}_kind", sa.String(16)),
        sa.Column(f"{prefix}_ends_at", sa.DateTime(timezone=True)),
        sa.Column(f"{prefix}_ends_monotonic", sa.Float),
        sa.Column(f"{prefix}_boot_id", sa.String(64)),
    ]


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("username", sa.String(128), nullable=False),
        sa.Column("application", sa.String(512), nullable=False),
        sa.Column("stage", sa.Text),
        sa.Column("region", sa.String(128), nullable=False),
        sa.Column("home", sa.String(512), nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("fps", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("instance_id", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(16)),
        sa.Column("reason", sa.String(128)),
        sa.Column("detail", sa.Text),
        sa.Column("progress", sa.String(64)),
        *_lease("lease"),
        *_lease("maximum"),
        sa.Column("encoder", sa.String(512)),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("warnings", sa.JSON, nullable=False),
        sa.Column("sealed_token", sa.Text),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("sessions_by_owner", "sessions", ["tenant", "owner", "created_at"])
    op.create_index("sessions_by_state", "sessions", ["state"])
    op.create_table(
        "seats",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("session_id", sa.String(36), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_seats_session_id", "seats", ["session_id"])
    op.create_table(
        "idempotency",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("owner", sa.String(128), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("body_hash", sa.String(64), nullable=False),
        sa.Column("session_id", sa.String(36), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_idempotency_session_id", "idempotency", ["session_id"])
