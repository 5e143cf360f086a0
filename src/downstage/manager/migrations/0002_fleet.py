"""Nodes, and instances without a session, on nodes, in pools."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "nodes",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("places", sa.Integer, nullable=False),
        sa.Column("cpus", sa.Float, nullable=False),
        sa.Column("memory_mb", sa.Integer, nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("gpus", sa.JSON, nullable=False),
        sa.Column("cpu_overcommit", sa.Float, nullable=False),
        sa.Column("memory_overcommit", sa.Float, nullable=False),
        sa.Column("cordoned", sa.Boolean, nullable=False),
        sa.Column("drain_by", sa.String(40)),
        sa.Column("spawner", sa.String(16), nullable=False),
        sa.Column("engine", sa.Text),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text),
        sa.Column("seen_at", sa.String(40)),
    )
    # SQLite cannot change a column: the table is copied there, rows and all.
    with op.batch_alter_table("instances") as batch:
        batch.alter_column("session_id", existing_type=sa.String(64), nullable=True)
        for column in _columns():
            batch.add_column(column)
    op.execute("UPDATE instances SET runs_as = id")
    op.create_index("instances_by_node", "instances", ["node", "state"])
    op.create_index("instances_by_place", "instances", ["runs_as"])


def _columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("version", sa.Integer),
        sa.Column("profile", sa.String(64)),
        sa.Column("name", sa.String(128)),
        sa.Column("tags", sa.JSON, nullable=False, server_default="[]"),
        sa.Column("labels", sa.JSON, nullable=False, server_default="{}"),
        sa.Column("needs", sa.JSON, nullable=False, server_default="{}"),
        sa.Column("cpus", sa.Float, nullable=False, server_default="0"),
        sa.Column("memory_mb", sa.Integer, nullable=False, server_default="0"),
        sa.Column("gpu_slots", sa.Integer, nullable=False, server_default="0"),
        sa.Column("pool", sa.String(256)),
        sa.Column("runs_as", sa.String(64), nullable=False, server_default=""),
        sa.Column("spawner", sa.String(16), nullable=False, server_default="process"),
        sa.Column("node", sa.String(128), nullable=False, server_default="local"),
        sa.Column("node_reason", sa.Text),
        sa.Column("gpu_card", sa.Integer),
        sa.Column("holds", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("ports", sa.JSON, nullable=False, server_default="[]"),
    ]
