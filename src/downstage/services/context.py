"""What the host gives a service when it starts it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fastapi import APIRouter, FastAPI

from downstage.bus import Bus
from downstage.kernel.clock import Clock
from downstage.kernel.settings import Settings
from downstage.services.client import AsyncClient

__all__ = ["ClientFactory", "PlatformUrls", "ServiceContext"]


class ClientFactory(Protocol):
    """Makes clients that carry this service's own token."""

    def __call__(self, service: str, *, act: str | None = None) -> AsyncClient:
        """A client of *service*; *act* names the person on whose behalf it calls."""
        ...


@dataclass(frozen=True, slots=True)
class PlatformUrls:
    """Where the platform is reached."""

    public: str
    """By browsers: ``http(s)://host:port``."""
    link: str
    """By streamers of this machine: ``unix:///…``."""


@dataclass(frozen=True, slots=True)
class ServiceContext:
    """Everything a service depends on; handed to its extension before `on_startup`."""

    name: str
    settings: Settings
    bus: Bus
    clock: Clock
    data: Path
    app: FastAPI
    urls: PlatformUrls
    boot_secret: str
    public: Callable[[APIRouter], None]
    """Serve a router on this service's own application and on the public port."""
    internal: Callable[[APIRouter], None]
    """Serve a router on this service's own application alone."""
    start: Callable[..., None]
    """``start(function, *arguments, name=…)``: a supervised task, cancelled at shutdown."""
    client: ClientFactory
    on_ready: Callable[[Callable[[], Awaitable[Any]]], None]
    """Call a coroutine function once every service has started."""
