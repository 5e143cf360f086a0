"""Which layers are live, and the functions of the published interface that drive all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from downstage.client.client import default_client
from downstage.client.types import UsdLiveMode

__all__ = [
    "Processed",
    "Registry",
    "registry",
    "usd_live_get_default_enabled",
    "usd_live_get_latest_server_time",
    "usd_live_get_mode_for_url",
    "usd_live_process",
    "usd_live_process_up_to",
    "usd_live_set_default_enabled",
    "usd_live_set_mode_for_url",
    "usd_live_wait_for_pending_updates",
]


class Processed(Protocol):
    """A live layer, as the functions here see it."""

    @property
    def time(self) -> int:
        """Server time of the last message applied."""
        ...

    def process(self, until: int | None = None) -> int:
        """Send, and apply."""
        ...

    def settle(self, timeout_s: float = 30.0) -> None:
        """Wait until all is in."""
        ...


class Registry:
    """The stages that are open by URL, those in live mode, and the mode of each URL."""

    def __init__(self) -> None:
        self.is_default = False
        self._lock = threading.Lock()
        self._modes = dict[str, UsdLiveMode]()
        self._live = dict[str, list[Processed]]()
        self._switches = dict[str, Callable[[bool], None]]()

    def mode(self, url: str) -> UsdLiveMode:
        """As it was set."""
        return self._modes.get(key(url), UsdLiveMode.DEFAULT)

    def set_mode(self, url: str, mode: UsdLiveMode) -> None:
        """Set it, and switch a stage that is open."""
        with self._lock:
            self._modes[key(url)] = UsdLiveMode(mode)
        self._switch([key(url)])

    def set_default(self, *, enabled: bool) -> None:
        """For every URL whose mode is DEFAULT."""
        self.is_default = enabled
        self._switch(list(self._switches))

    def is_live(self, url: str) -> bool:
        """Whether a stage at *url* is to be live."""
        mode = self.mode(url)
        return self.is_default if mode is UsdLiveMode.DEFAULT else mode is UsdLiveMode.ENABLED

    def opened(self, url: str, switch: Callable[[bool], None]) -> None:
        """A stage is open; *switch* turns its live mode on and off."""
        with self._lock:
            self._switches[key(url)] = switch

    def closed(self, url: str) -> None:
        """It is no more."""
        with self._lock:
            self._switches.pop(key(url), None)

    def add(self, url: str, layer: Processed) -> None:
        """A layer is live."""
        with self._lock:
            self._live.setdefault(key(url), []).append(layer)

    def remove(self, url: str, layer: Processed) -> None:
        """It is no more; safe to repeat."""
        with self._lock:
            layers = self._live.get(key(url), [])
            if layer in layers:
                layers.remove(layer)

    def find(self, url: str) -> list[Processed]:
        """The live layers of a URL: one for each stage that is open there."""
        with self._lock:
            return list(self._live.get(key(url), ()))

    def all(self) -> list[Processed]:
        """All live layers."""
        with self._lock:
            return [layer for layers in self._live.values() for layer in layers]

    def _switch(self, keys: list[str]) -> None:
        for url in keys:
            switch = self._switches.get(url)
            if switch is not None:
                switch(self.is_live(url))


def key(url: str) -> str:
    """*url* in its normal form, without a query."""
    return default_client().place(url).url


registry = Registry()


def usd_live_get_default_enabled() -> bool:
    """Whether stages are opened in live mode where nothing else was said of their URL."""
    return registry.is_default


def usd_live_set_default_enabled(enabled: bool) -> None:
    """Set that; stages that are open follow."""
    registry.set_default(enabled=enabled)


def usd_live_get_mode_for_url(url: str) -> UsdLiveMode:
    """The live mode that was set for *url*."""
    return registry.mode(url)


def usd_live_set_mode_for_url(url: str, mode: UsdLiveMode) -> None:
    """Set the live mode of *url*; a stage that is open there follows."""
    registry.set_mode(url, mode)


def usd_live_process() -> None:
    """Send the edits made here, apply those of others, on this thread; of all live layers."""
    for layer in registry.all():
        layer.process()


def usd_live_process_up_to(url: str, server_time: int) -> None:
    """The same of one layer, and nothing that the server took after *server_time*."""
    for layer in registry.find(url):
        layer.process(server_time)


def usd_live_wait_for_pending_updates() -> None:
    """Block until every edit made here is confirmed by its server."""
    for layer in registry.all():
        layer.settle()


def usd_live_get_latest_server_time(url: str) -> int:
    """Server time of the last message applied, nanoseconds since the epoch; 0: none yet."""
    return min((layer.time for layer in registry.find(url)), default=0)
