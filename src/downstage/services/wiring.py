"""What the host makes for each service and extension: application, context, client, facilities."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.abc
from fastapi import APIRouter
from starlette.types import ASGIApp

from downstage.bus import Bus
from downstage.kernel.clock import Clock
from downstage.kernel.limits import MAX_SIGNALLING
from downstage.kernel.settings import Settings
from downstage.services import registry
from downstage.services.application import ServiceApp
from downstage.services.book import book_of
from downstage.services.client import AsyncClient
from downstage.services.context import PlatformUrls, ServiceContext
from downstage.services.errors import ServiceUnavailableError
from downstage.services.extensions.settings import SettingsTree
from downstage.services.extensions.unit import Unit
from downstage.services.facilities.injection import FacilitySet
from downstage.services.facilities.metrics import MetricsHub
from downstage.services.facilities.principal import Authenticator, ServiceTokens
from downstage.services.fronts import Front
from downstage.services.sockets import SocketHandler
from downstage.services.sockets.wire import IDLE_S
from downstage.services.supervisor import Crew
from downstage.services.transports.local import close_app

__all__ = ["Wiring", "Workbench"]

CALL_S = 10
MAX_TOKENS = 1024
_owners = set[str]()
"""In use in this process: two hosts may run the same extension, and one stops first."""


def _free_owner(ext_id: str) -> str:
    number, owner = 1, ext_id
    while owner in _owners:
        number += 1
        owner = f"{ext_id}#{number}"
    _owners.add(owner)
    return owner


@dataclass(frozen=True, slots=True)
class Workbench:
    """Where one service or extension works."""

    context: ServiceContext
    owner: str
    crew: Crew
    on_clear: Callable[[str], None]

    async def close(self) -> None:
        """End its background tasks."""
        await self.crew.stop()

    async def clear(self) -> None:
        """Close its facilities and what local calls began; its name is free again."""
        await close_app(self.context.app)
        await self.context.facilities.close()
        _owners.discard(self.owner)
        with suppress(ServiceUnavailableError):  # another host may have the name by now
            if registry.find_app(self.context.name) is self.context.app:
                registry.remove_app(self.context.name)
        self.on_clear(self.context.name)


class Wiring:
    """Makes workbenches; a service of the platform gets rights, an extension what it was given."""

    def __init__(
        self,
        settings: Settings,
        urls: PlatformUrls,
        *,
        bus: Bus,
        clock: Clock,
        boot_secret: str,
        tokens: Mapping[str, str],
        public_app: ServiceApp,
        exts: SettingsTree,
        metrics: MetricsHub,
    ) -> None:
        self.places: dict[str, Workbench] = {}
        self.tasks: anyio.abc.TaskGroup | None = None
        self._settings = settings
        self._urls = urls
        self._bus = bus
        self._clock = clock
        self._boot_secret = boot_secret
        self._given_tokens = tokens
        self._public_app = public_app
        self._exts = exts
        self._metrics = metrics
        self._tokens: dict[tuple[str, str | None], ServiceTokens] = {}
        self.authenticator = Authenticator(
            jwks=self._jwks, revocations=self._revocations, bus=bus, clock=clock
        )
        public_app.state.authenticator = self.authenticator
        public_app.state.meter.service = "public"
        metrics.watch(public_app.state.meter)
        registry.set_ready(public_app, False)

    def furnish(self, unit: Unit) -> Workbench:
        """A workbench for *unit*, reachable as ``local://name``."""
        assert self.tasks is not None  # noqa: S101 - the host runs
        crew = Crew(self.tasks)
        app = registry.create_app(f"Downstage {unit.name}")
        app.state.authenticator = self.authenticator
        app.state.meter.service = unit.name
        registry.set_ready(app, not unit.is_service)  # a service's: when all have started

        def start(function: Callable[..., Awaitable[Any]], *args: Any, name: str) -> None:
            crew.start(f"{unit.name}.{name}", function, *args)

        data = self._data_of(unit)
        owner = _free_owner(unit.id)
        self._metrics.watch(app.state.meter, owner)
        facilities = FacilitySet(
            owner,
            clock=self._clock,
            data=data,
            databases=self._exts.get(f"/exts/{unit.name}/dbs", {}),
            metrics=self._metrics,
            start=start,
        )
        app.state.facilities = facilities
        context = self._context(unit, app, facilities, data, start)
        bench = self.places[unit.name] = Workbench(context, owner, crew, self._gone)
        registry.put_app(unit.name, app)
        return bench

    def _context(
        self,
        unit: Unit,
        app: ServiceApp,
        facilities: FacilitySet,
        data: Path,
        start: Callable[..., None],
    ) -> ServiceContext:
        def internal(router: APIRouter, *, max_body: int | None = None) -> None:
            registry.register_router(router, app=app)
            if max_body is not None:
                book_of(app).allow(router, max_body)

        def public(router: APIRouter, *, max_body: int | None = None) -> None:
            internal(router, max_body=max_body)
            registry.register_router(router, app=self._public_app)
            if max_body is not None:
                book_of(self._public_app).allow(router, max_body)

        def front(
            path: str,
            asgi: ASGIApp | None = None,
            *,
            raw: SocketHandler | None = None,
            max_message: int = MAX_SIGNALLING,
            idle_s: float = IDLE_S,
        ) -> None:
            if asgi is not None:
                item = Front(path, asgi, max_message, unit.id)
            elif raw is not None:
                item = Front.of_sockets(
                    path, raw, max_message=max_message, owner=unit.id, idle_s=idle_s
                )
            else:
                raise ValueError("A front is an application or a handler of sockets.")
            app.put_front(item)
            self._public_app.put_front(item)

        def client(service: str, *, act: str | None = None, at: str | None = None) -> AsyncClient:
            return self._client(unit, at or self._uri(service), act)

        return ServiceContext(
            name=unit.name,
            settings=self._settings,
            bus=self._bus,
            clock=self._clock,
            data=data,
            app=app,
            urls=self._urls,
            boot_secret=self._boot_secret if unit.is_service else "",
            public=public,
            internal=internal,
            front=front,
            start=start,
            client=client,
            on_ready=unit.ready.append,
            facilities=facilities,
            exts=self._exts,
            id=unit.id,
            folder=unit.found.folder,
        )

    def _gone(self, name: str) -> None:
        place = self.places.pop(name, None)
        if place is not None:
            self._metrics.unwatch(place.context.app.state.meter)
            self._metrics.forget(place.owner)
            self._public_app.drop_fronts(place.context.id)

    def _data_of(self, unit: Unit) -> Path:
        data = self._settings.platform.data.absolute()
        return data if unit.is_service else data / "extensions" / unit.name

    def _uri(self, service: str) -> str:
        return getattr(self._settings.services, service, None) or f"local://{service}"

    def _client(self, unit: Unit, uri: str, act: str | None) -> AsyncClient:
        if unit.is_service:
            return self._served_by(uri, unit.name, act)
        # An extension is nobody, unless the operator gave it a token: then it is who that says.
        token = self._given_tokens.get(unit.name)
        return AsyncClient(uri, timeout_s=CALL_S, token=token)

    def as_service(self, caller: str, service: str, act: str | None = None) -> AsyncClient:
        """A client of *service* with the token of *caller*, one of the platform's services."""
        return self._served_by(self._uri(service), caller, act)

    def _served_by(self, uri: str, caller: str, act: str | None) -> AsyncClient:
        return AsyncClient(
            uri,
            timeout_s=CALL_S,
            token=self._token(caller, act),
            retries=0,
            description=None,
        )

    def _token(self, caller: str, act: str | None) -> Callable[[], Awaitable[str]]:
        async def fetch() -> tuple[str, str]:
            identity = self._identity(CALL_S)
            body = {"service": caller, "boot_secret": self._boot_secret, "act": act}
            answer = await identity.v1.service_tokens.post(**body)
            return answer["token"], answer["expires_at"]

        key = (caller, act)
        if key not in self._tokens:
            if len(self._tokens) > MAX_TOKENS:  # people come and go, memory stays
                self._tokens.clear()
            self._tokens[key] = ServiceTokens(fetch, clock=self._clock)
        return self._tokens[key].token

    def _identity(
        self, timeout_s: float, token: Callable[[], Awaitable[str]] | None = None
    ) -> AsyncClient:
        return AsyncClient(
            self._uri("identity"), timeout_s=timeout_s, token=token, retries=0, description=None
        )

    async def _jwks(self) -> dict[str, Any]:
        identity = self._identity(5)
        return await identity.v1[".well-known"]["jwks.json"].get()

    async def _revocations(self) -> dict[str, Any]:
        identity = self._identity(5, self._token("gateway", None))
        return await identity.v1.revocations.get()
