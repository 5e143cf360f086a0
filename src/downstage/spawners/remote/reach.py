"""What an instance can have on another machine: which addresses mean the same there. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from downstage.kernel.net import is_loopback
from downstage.spawners.spawner import InstanceSpec

__all__ = ["Reach", "why_not_elsewhere"]


class Reach:
    """Addresses of gateways, as their streamers are told.

    Args:
        url: of the first; None: the instance has no session yet.
        more: of the others.
    """

    def __init__(self, url: str | None, more: Sequence[str] = ()) -> None:
        self._url, self._more = url, more

    @property
    def why_not(self) -> str | None:
        """Why a streamer on another machine could not dial; None: it can."""
        if self._url is None or _is_for_all(self._url):
            return None
        return (
            "its gateway is reached from this machine alone: set gateway.url to an address that "
            "reaches it from every node"
        )

    @property
    def others(self) -> tuple[str, ...]:
        """Those of the others that mean the same there."""
        return tuple(url for url in self._more if _is_for_all(url))


def why_not_elsewhere(spec: InstanceSpec) -> str | None:
    """Why an instance can run on the manager's machine alone; None: it can run elsewhere."""
    if spec.hooks:
        return "its hooks are files of this machine"
    if spec.read_only:
        return f"it needs {spec.read_only[0]} of this machine"
    return Reach(spec.link_url, spec.link_urls).why_not


def _is_for_all(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and not is_loopback(parts.hostname or "localhost")
