"""Names and times that callers and servers over NATS agree on."""

from __future__ import annotations

import re

from downstage.bus.nats_connection import TICK_S

__all__ = ["BEAT_TICKS", "INBOX", "SILENT_TICKS", "SUBJECT", "service_of"]

SUBJECT = "downstage.service."
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
INBOX = re.compile(r"_INBOX[A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+){2,8}")
"""Where answers may be sent: anything else could be a subject that means something."""
BEAT_TICKS = round(1 / TICK_S)
SILENT_TICKS = round(5 / TICK_S)
"""The other side is given up after this many ticks without a word."""


def service_of(path: str) -> tuple[str, str]:
    """Name and base path of the path of a URI.

    Raises:
        ValueError: no name, or one that is no part of a subject.
    """
    name, slash, base = path.removeprefix("/").partition("/")
    if not NAME.fullmatch(name):
        raise ValueError(
            f"nats://host/NAME names a service by letters, digits, - and _, not {name[:80]!r}."
        )
    return name, (slash + base).rstrip("/")
