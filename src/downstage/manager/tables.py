"""The manager's tables."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

__all__ = ["instances", "metadata", "nodes"]

metadata = MetaData()

instances = Table(
    "instances",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("session_id", String(64), unique=True),
    Column("tenant", String(64), nullable=False),
    Column("owner", String(256), nullable=False),
    Column("application", String(64), nullable=False),
    Column("version", Integer),
    Column("profile", String(64)),
    Column("name", String(128)),
    Column("tags", JSON, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("needs", JSON, nullable=False),
    Column("cpus", Float, nullable=False),
    Column("memory_mb", Integer, nullable=False),
    Column("gpu_slots", Integer, nullable=False),
    Column("pool", String(256)),
    Column("runs_as", String(64), nullable=False),
    Column("spawner", String(16), nullable=False),
    Column("node", String(128), nullable=False),
    Column("node_reason", Text),
    Column("gpu_card", Integer),
    Column("holds", Boolean, nullable=False),
    Column("ports", JSON, nullable=False),
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
    Index("instances_by_node", "node", "state"),
    Index("instances_by_place", "runs_as"),
    Index("instances_by_age", "created_at", "id"),
)
"""One row an instance; it stays when the instance has ended, until a week has passed.

`cpus`, `memory_mb` and `gpu_slots` repeat what of `needs` is counted. `runs_as` is what its spawner
calls it: one from a pool got another id with its session. One that was evicted from a pool no more
`holds` its place while it ends.
"""

nodes = Table(
    "nodes",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("places", Integer, nullable=False),
    Column("cpus", Float, nullable=False),
    Column("memory_mb", Integer, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("gpus", JSON, nullable=False),
    Column("cpu_overcommit", Float, nullable=False),
    Column("memory_overcommit", Float, nullable=False),
    Column("cordoned", Boolean, nullable=False),
    Column("drain_by", String(40)),
    Column("spawner", String(16), nullable=False),
    Column("engine", Text),
    Column("status", String(16), nullable=False),
    Column("detail", Text),
    Column("seen_at", String(40)),
)
"""One row a node; `local` is there from the first start on."""
