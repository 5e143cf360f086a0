"""What the host gives a service when it starts it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fastapi import FastAPI

from downstage.bus import Bus
from downstage.kernel.clock import Clock
from downstage.kernel.settings import Settings
from downstage.services.client import AsyncClient
from downstage.services.extensions.settings import SettingsTree
from downstage.services.facilities.injection import FacilitySet

__all__ = ["ClientFactory", "PlatformUrls", "ServiceContext"]


class ClientFactory(Protocol):
    """Makes clients that carry this service's own token; an extension's, where it was given one."""

    def __call__(
        self, service: str, *, act: str | None = None, at: str | None = None
    ) -> AsyncClient:
        """A client of *service*; *act* names the person on whose behalf it calls.

        *at* is its address, where it is not the one that the settings name.
        """
        ...


@dataclass(frozen=True, slots=True)
class PlatformUrls:
    """Where the platform is reached."""

    public: str
    """By browsers: ``http(s)://host:port``."""
    link: str
    """By streamers of this machine: ``unix:///…``."""
    content: str = ""
    """By browsers, where users' files are shown as they are: another origin."""
    content_folder: str = ""
    """Of the socket by which instances of this machine reach files."""
    streams: str = ""
    """By streamers of this machine, to push what sessions show: ``unix:///…``; empty: streams are
    served elsewhere."""


@dataclass(frozen=True, slots=True)
class ServiceContext:
    """Everything a service depends on; handed to its extension before `on_startup`."""

    name: str
    settings: Settings
    bus: Bus
    clock: Clock
    data: Path
    """Folder for its files; an extension's own, the platform's for the platform's services."""
    app: FastAPI
    urls: PlatformUrls
    boot_secret: str
    """What a service of the platform shows identity; empty for extensions."""
    public: Callable[..., None]
    """``public(router, max_body=…)``: serve a router on this service's own application and on the
    public port; *max_body*: bytes of a body of its paths, where it is more than elsewhere."""
    internal: Callable[..., None]
    """The same on this service's own application alone."""
    front: Callable[..., None]
    """``front(path, app, max_message=…)``: a plain ASGI application, in front of both;
    ``front(path, raw=handler, max_message=…, idle_s=…)``: a `SocketHandler`, for sockets alone."""
    start: Callable[..., None]
    """``start(function, *arguments, name=…)``: a supervised task, cancelled at shutdown."""
    client: ClientFactory
    """``client("gateway")``: a client of that service, or of an extension, by its name."""
    on_ready: Callable[[Callable[[], Awaitable[Any]]], None]
    """Call a coroutine function once every service has started."""
    facilities: FacilitySet
    """Metrics, database, progress, scheduler, and what the extension registers itself."""
    exts: SettingsTree
    """The settings of all extensions, ``/exts/name/key``."""
    id: str = ""
    """``name-version``: what `on_startup` is called with."""
    folder: Path | None = None
    """Where the extension's files are, where it came from a folder."""
