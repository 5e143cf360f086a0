"""The manager's tables."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, MetaData, String, Table, Text

__all__ = ["instances", "metadata"]

metadata = MetaData()

instances = Table(
    "instances",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("session_id", String(64), nullable=False, unique=True),
    Column("tenant", String(64), nullable=False),
    Column("owner", String(256), nullable=False),
    Column("application", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("stage", String(16), nullable=False),
    Column("reason", String(64)),
    Column("detail", Text),
    Column("exit_code", Integer),
    Column("isolated", Boolean, nullable=False),
    Column("media_socket", Text),
    Column("revision", Integer, nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("updated_at", String(40), nullable=False),
    Index("instances_by_state", "state"),
)
"""One row an instance; it stays when the instance has ended, until a week has passed."""
