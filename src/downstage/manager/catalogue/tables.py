"""Tables of the catalogue."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

__all__ = ["images", "metadata", "package_versions", "packages"]

metadata = MetaData()

packages = Table(
    "packages",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("name", String(64), nullable=False),
    Column("owner", String(256), nullable=False),
    Column("title", String(128)),
    Column("description", Text),
    Column("tags", JSON(none_as_null=True)),
    Column("immutable", Boolean, nullable=False),
    Column("next_number", Integer, nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("updated_at", String(40), nullable=False),
    UniqueConstraint("kind", "name"),
)
"""Published applications and addons (`kind`); title, description and tags, where set, count more
than the manifest's."""

package_versions = Table(
    "package_versions",
    metadata,
    Column("package_id", String(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("status", String(16), nullable=False),
    Column("error", Text),
    Column("published", Boolean, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("manifest", JSON, nullable=False),
    Column("manifest_name", String(64), nullable=False),
    Column("manifest_text", Text, nullable=False),
    Column("created_by", String(256), nullable=False),
    Column("created_at", String(40), nullable=False),
)
"""What was published: the manifest as it was read, and as it was sent."""

images = Table(
    "images",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("reference", String(512), nullable=False),
    Column("created_at", String(40), nullable=False),
)
"""Names for images."""
