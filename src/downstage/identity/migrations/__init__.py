"""Alembic revisions of the identity database, from the first on."""
