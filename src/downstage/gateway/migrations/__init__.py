"""Alembic revisions of the gateway's database, oldest first."""
