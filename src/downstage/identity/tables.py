"""Tables of identity. Times are seconds since 1970, UTC; no column holds a secret in clear."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Double, Index, Integer, MetaData, String, Table, Text

__all__ = [
    "former_users",
    "keys",
    "metadata",
    "revocations",
    "state",
    "tickets",
    "tokens",
    "users",
]

metadata = MetaData()


def _tenant() -> Column[str]:
    return Column("tenant", String(64), nullable=False, default="main")


def _owner() -> Column[str]:
    return Column("owner", String(160), nullable=False)


users = Table(
    "users",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("folded", String(128), primary_key=True),
    Column("owner", String(160), nullable=False, unique=True),
    Column("name", String(128), nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("groups", JSON, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("changed_at", Double, nullable=False),
)
"""People. `owner` is their subject: it is never given to anybody else, also after removal."""

former_users = Table(
    "former_users",
    metadata,
    Column("owner", String(160), primary_key=True),
    _tenant(),
    Column("folded", String(128), nullable=False),
    Column("removed_at", Double, nullable=False),
)
"""Subjects of removed people, so that a namesake inherits nothing."""

keys = Table(
    "keys",
    metadata,
    Column("kid", String(64), primary_key=True),
    _tenant(),
    _owner(),
    Column("public", JSON, nullable=False),
    Column("sealed", Text),
    Column("created_at", Double, nullable=False),
    Column("retired_at", Double),
    Column("needed_until", Double, nullable=False),
)
"""Signing keys: the private half is sealed, and erased when the key retires."""

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(64), primary_key=True),
    _tenant(),
    _owner(),
    Column("kind", String(16), nullable=False),
    Column("name", String(128), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("streams", JSON(none_as_null=True)),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Index("tokens_by_owner", "tenant", "owner"),
    Index("tokens_by_expiry", "expires_at"),
)
"""Tokens that people hold, by id alone, so that they can be listed and revoked."""

revocations = Table(
    "revocations",
    metadata,
    Column("token_id", String(64), primary_key=True),
    _tenant(),
    _owner(),
    Column("revision", Integer, nullable=False),
    Column("expires_at", Double, nullable=False),
    Index("revocations_by_expiry", "expires_at"),
)

tickets = Table(
    "tickets",
    metadata,
    Column("hash", String(64), primary_key=True),
    _tenant(),
    _owner(),
    Column("use", String(16), nullable=False),
    Column("session_id", String(64)),
    Column("seat", String(128)),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("used_at", Double),
    Index("tickets_by_expiry", "expires_at"),
    Index("tickets_by_owner", "tenant", "owner"),
)

state = Table(
    "state",
    metadata,
    Column("name", String(64), primary_key=True),
    _tenant(),
    _owner(),
    Column("value", Text, nullable=False),
)
"""Single facts: ``mode`` (demo | real), ``revision`` of the revocation list."""
