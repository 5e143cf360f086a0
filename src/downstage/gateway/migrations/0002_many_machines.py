"""Versions, regions, the queue, and what foreign APIs remember of a session."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    for column in (
        sa.Column("version", sa.Integer),
        sa.Column("profile", sa.String(64)),
        sa.Column("region_reason", sa.Text),
        sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
        sa.Column("wait", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("queued_at", moment),
        sa.Column("asked_at", moment),
        sa.Column("ports", sa.JSON, nullable=False, server_default="[]"),
        sa.Column("dialect", sa.String(16), nullable=False, server_default="v1"),
        sa.Column("extra", sa.JSON, nullable=False, server_default="{}"),
        sa.Column("order", sa.JSON),
    ):
        op.add_column("sessions", column)
