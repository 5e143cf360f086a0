"""Which gateway to dial next, and how one is reached."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import aiohttp

from downstage.contracts.streamer import StreamerConfig

__all__ = ["Gateways", "Place"]

UNIX = "unix://"
HTTP = ("http://", "https://")


@dataclass(frozen=True, slots=True)
class Place:
    """One gateway's address.

    Args:
        url: ``unix:///path`` or ``http(s)://host[:port]``.
        ca: file of the authority that certificates there are signed by; None: the usual ones.
    """

    url: str
    ca: str | None = None

    @property
    def base(self) -> str:
        """What paths are put behind."""
        return "http://gateway" if self.url.startswith(UNIX) else self.url.rstrip("/")

    @property
    def trust(self) -> ssl.SSLContext | bool:
        """Whom to believe there."""
        is_own = self.ca is not None and not self.url.startswith(UNIX)
        return ssl.create_default_context(cafile=self.ca) if is_own else True

    def connector(self) -> aiohttp.BaseConnector | None:
        """How to connect; None: the usual way."""
        if self.url.startswith(UNIX):
            return aiohttp.UnixConnector(path=self.url.removeprefix(UNIX))
        return None


class Gateways:
    """Goes round all gateways, and first to the one that is said to be home.

    Args:
        config: names them.
    """

    def __init__(self, config: StreamerConfig) -> None:
        self._ca = config.link_ca
        self._all = list(dict.fromkeys([config.link_url or "", *config.link_urls]))
        self._at = 0
        self._told: str | None = None
        self._followed = False

    @property
    def is_round(self) -> bool:
        """All were dialled, or one that we were sent to was in vain: time for a pause."""
        return self._told is None and (self._at == 0 or self._followed)

    def next(self) -> Place:
        """The one to dial now."""
        self._followed = self._told is not None
        if self._told is not None:
            told, self._told = self._told, None
            return Place(told, self._ca)
        url = self._all[self._at]
        self._at = (self._at + 1) % len(self._all)
        return Place(url, self._ca)

    def told(self, home: str) -> None:
        """A gateway said that *home* drives the session: that one is next."""
        if home.startswith(HTTP):
            self._told = home.rstrip("/")

    def talked(self, place: Place) -> None:
        """There was a line to *place*: when it breaks, that one comes first again."""
        if place.url not in self._all:
            self._all.append(place.url)
        self._at = self._all.index(place.url)
        self._told = None
