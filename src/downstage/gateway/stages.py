"""Stages that lie in this platform's own content service, and what an instance may touch of it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

__all__ = ["OwnStage", "OwnStages"]

SCHEMES = ("omniverse", "omni", "downstage")
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class OwnStage:
    """A stage here."""

    host: str
    """As its address names it, ``host[:port]``."""
    path: str
    """Absolute, decoded."""

    @property
    def folder(self) -> str:
        """Where it lies, and with it what it refers to."""
        return self.path.rpartition("/")[0] or "/"


class OwnStages:
    """Knows which addresses mean this platform.

    Args:
        public: address by which browsers reach us.
    """

    def __init__(self, public: str) -> None:
        parts = urlsplit(public)
        self._host = (parts.hostname or "").lower()
        self._port = parts.port or DEFAULT_PORTS.get(parts.scheme)

    def find(self, stage: str | None) -> OwnStage | None:
        """The stage that the address *stage* names here; None: it is somewhere else."""
        if not stage:
            return None
        try:
            parts = urlsplit(stage)
            is_ours = self._is_ours(parts)
        except ValueError:
            return None
        path = unquote(parts.path).rstrip("/")
        if not is_ours or not path.startswith("/"):
            return None
        return OwnStage(parts.netloc.rpartition("@")[2], path)

    def _is_ours(self, parts: SplitResult) -> bool:
        if parts.scheme.lower() not in SCHEMES:
            return False
        host, port = (parts.hostname or "").lower(), parts.port
        if port is not None and port != self._port:
            return False
        return host == self._host or (host in LOOPBACK and self._host in LOOPBACK)
