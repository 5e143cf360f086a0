"""Instances in the order of their age: lists are read page by page."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("instances_by_age", "instances", ["created_at", "id"])
