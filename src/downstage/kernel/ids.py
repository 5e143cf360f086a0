"""Names of things: random, unguessable, safe in a path and a log."""

from __future__ import annotations

import secrets
import uuid

__all__ = ["new_id", "new_secret", "new_uuid"]

LEAST_SECRET = 16


def new_uuid() -> str:
    """A random UUID (122 bits), the form of session ids."""
    return str(uuid.uuid4())


def new_id(prefix: str) -> str:
    """*prefix*, a dash and 26 letters and digits (130 bits)."""
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    return f"{prefix}-" + "".join(secrets.choice(alphabet) for _ in range(26))


def new_secret(size: int = 32) -> str:
    """*size* random bytes as URL-safe text; at least 16."""
    if size < LEAST_SECRET:
        msg = "a secret needs at least 16 bytes"
        raise ValueError(msg)
    return secrets.token_urlsafe(size)
