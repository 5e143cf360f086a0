"""What a client is told once: headers, deadlines, retries, where S3 is, how large its cache is."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Options", "Retries", "S3Options"]


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how soon a call that may be repeated is repeated."""

    times: int = 2
    first_ms: int = 100
    """Pause before the first repetition; doubles with each."""
    jitter_ms: int = 50


@dataclass(frozen=True, slots=True)
class S3Options:
    """How to reach the buckets of one address; empty: as the environment says (AWS_…)."""

    bucket: str = ""
    region: str = ""
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)
    endpoint: str = ""
    """Of a server that is not Amazon's, for example ``http://localhost:8600/s3``."""
    path_style: bool = True
    allow_http: bool = False


def _cache_folder() -> Path:
    named = os.environ.get("DOWNSTAGE_CLIENT_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "downstage" / "files"
    except RuntimeError:  # a container's user without a name has no home
        return Path(tempfile.gettempdir(), f"downstage-{os.geteuid()}", "files")


@dataclass(slots=True)
class Options:
    """Change it before the first request to a server; what is connected keeps what it has."""

    connect_s: float = 2.0
    """Seconds that a server may take to accept a connection and greet."""
    answer_s: float = 5.0
    """Seconds that a server of HTTP or S3 may take for its first answer of all."""
    closed_s: float = 5.0
    """Seconds after a failed connection in which that server is not tried again."""
    idle_s: float = 60.0
    """Seconds between two pieces of an answer."""
    keep_s: float = 15.0
    """Seconds that an idle connection is kept for the next request."""
    retries: Retries = field(default_factory=Retries)
    headers: dict[str, str] = field(default_factory=dict[str, str])
    """Sent with every HTTP request."""
    s3: dict[str, S3Options] = field(default_factory=dict[str, S3Options])
    """By host of the URL (``s3://HOST/…``), or ``*``."""
    webdav: set[str] = field(default_factory=set[str])
    """Origins (``https://host``) that are spoken to in WebDAV."""
    cache_folder: Path = field(default_factory=_cache_folder)
    cache_bytes: int = 8 * 1024**3
    """Bytes that the cache may take; 0: none is kept."""
    parallel: int = 4
    """Ranges of one large file fetched at once."""
