"""Bounds that more than one part must agree on, with the reason for each."""

from __future__ import annotations

__all__ = [
    "JOIN_CODE_S",
    "MAX_BODY",
    "MAX_MEDIA_TO_BROWSER",
    "MAX_SIGNALLING",
    "RESUME_TICKET_S",
    "SOCKET_TICKET_S",
]

MAX_BODY = 1024 * 1024
"""Bytes of a JSON request body; the largest honest one, a create with 256 variables, is 64 KiB."""

MAX_SIGNALLING = 64 * 1024
"""Bytes of a signalling message; an SDP with 64 candidates is about 12 KiB."""

MAX_MEDIA_TO_BROWSER = 8 * 1024 * 1024
"""Bytes of one encoded picture; an IDR of noise at 1080p is about 2 MiB."""

SOCKET_TICKET_S = 60
"""Life of a ticket for one socket."""

JOIN_CODE_S = 900
"""Longest life of a join code."""

RESUME_TICKET_S = 900
"""Longest life of a ticket by which a page takes its seat at another gateway."""
