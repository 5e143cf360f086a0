"""A platform whose instances are doubles: identity, agent and gateway are real, on real sockets.

`ManagerDouble` answers for a manager and can be told to be slow, full, silent or wrong.
`LinkStreamer` speaks a streamer's half of the link over the real unix socket, and serves
``/media`` on the instance's own.
"""

from __future__ import annotations

import base64
import json
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import aiohttp
import anyio
import pytest
from aiohttp import web
from fastapi import FastAPI, Request

from downstage.contracts.manager import INSTANCE_CHANGED, InstanceCreate
from downstage.gateway.extension import Extension as GatewayExtension
from downstage.identity.extension import Extension as IdentityExtension
from downstage.kernel.clock import Clock
from downstage.kernel.errors import InvalidField, NoCapacity, NotFound
from downstage.kernel.settings import load
from downstage.services import registry
from downstage.services.context import PlatformUrls
from downstage.services.host import ServiceHost
from downstage.services.server import Server, open_port, open_unix

DEADLINE_S = 10.0
SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
STAMP = "2026-01-01T00:00:00+00:00"


@dataclass
class ManagerDouble:
    """Instances that exist on paper. `gate`: creating waits for it; `obeys`: stopping ends."""

    run: Path
    capacity: int = 4
    gate: anyio.Event | None = None
    fail_create: Exception | None = None
    obeys: bool = True
    silent: anyio.Event | None = None
    isolated: bool = True
    has_containers: bool = False
    instances: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    requests: list[InstanceCreate] = field(default_factory=list[InstanceCreate])
    claims: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Of the tokens that instances were asked for with."""
    refused_applications: set[str] = field(default_factory=set[str])
    bus: Any = None
    asked: Counter[str] = field(default_factory=Counter[str])
    """How often for one instance, and for a page of them."""

    def app(self) -> FastAPI:
        app = registry.create_app("manager double")

        async def create(body: InstanceCreate, request: Request) -> dict[str, Any]:
            self.requests.append(body)
            payload = request.headers["authorization"].split(".")[1]
            self.claims.append(json.loads(base64.urlsafe_b64decode(payload + "==")))
            if self.gate is not None:
                await self.gate.wait()
            if self.fail_create is not None:
                raise self.fail_create
            is_gone = body.application in self.refused_applications
            if is_gone or body.application not in ("test-card", "registry.example/app:1"):
                raise NotFound(f"There is no application named {body.application}.")
            if "LD_PRELOAD" in body.environment:
                raise InvalidField("environment.LD_PRELOAD", "environment.LD_PRELOAD: not allowed.")
            if body.ports and not self.has_containers:
                raise InvalidField("ports.0", "ports.0: processes publish none.")
            if not body.node_labels.items() <= {"gpu": "none"}.items():
                raise InvalidField("node_labels", "node_labels: no node has them.")
            if self.running() >= self.capacity:
                raise NoCapacity("Every place is taken.", retry_after_s=7)
            assert body.instance_id is not None
            self.instances[body.instance_id] = {
                "id": body.instance_id,
                "session_id": body.session_id,
                "tenant": body.tenant,
                "owner": body.owner,
                "application": "test-card",
                "state": "starting",
                "revision": 1,
                "stage": "placed",
                "media_socket": str(self.run / body.instance_id / "media.sock"),
                "isolated": self.isolated,
                "created_at": STAMP,
                "updated_at": STAMP,
            }
            return self.instances[body.instance_id]

        async def get(instance_id: str) -> dict[str, Any]:
            self.asked["one"] += 1
            await self._answer()
            return self._find(instance_id)

        async def census(limit: int = 50, after: int = 0) -> dict[str, Any]:
            self.asked["page"] += 1
            await self._answer()
            found = [item for item in self.instances.values() if item["state"] != "ended"]
            following = str(after + limit) if after + limit < len(found) else None
            return {"items": found[after : after + limit], "next": following}

        async def stop(instance_id: str) -> dict[str, Any]:
            await self._answer()
            found = self._find(instance_id)
            if found["state"] != "ended":
                found["state"] = "ending"
                if self.obeys:
                    self.end(instance_id, "stopped")
            return found

        async def health() -> dict[str, Any]:
            await self._answer()
            return {"ok": True, "capacity": self.capacity, "running": self.running()}

        async def applications() -> dict[str, Any]:
            return {"items": []}

        app.add_api_route("/v1/instances", create, methods=["POST"], status_code=201)
        app.add_api_route("/v1/instances", census, methods=["GET"])
        app.add_api_route("/v1/instances/{instance_id}", get, methods=["GET"])
        app.add_api_route("/v1/instances/{instance_id}", stop, methods=["DELETE"])
        app.add_api_route("/v1/health", health, methods=["GET"])
        app.add_api_route("/v1/applications", applications, methods=["GET"])
        return app

    async def _answer(self) -> None:
        if self.silent is not None:
            await self.silent.wait()

    def _find(self, instance_id: str) -> dict[str, Any]:
        if instance_id not in self.instances:
            raise NotFound("There is no such instance.")
        return self.instances[instance_id]

    def running(self) -> int:
        return sum(item["state"] != "ended" for item in self.instances.values())

    def change(self, instance_id: str, *, hint: bool = True, **facts: Any) -> None:
        item = self.instances[instance_id]
        item |= facts
        item["revision"] += 1
        if hint and self.bus is not None:
            self.bus.publish(
                INSTANCE_CHANGED,
                {
                    "instance_id": instance_id,
                    "session_id": item["session_id"],
                    "revision": item["revision"],
                },
            )

    def end(self, instance_id: str, reason: str, **facts: Any) -> None:
        self.change(instance_id, state="ended", reason=reason, **facts)


class LinkStreamer:
    """A streamer's half of the link."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.heard: deque[dict[str, Any]] = deque()

    async def say(self, **message: Any) -> None:
        await self.socket.send_str(json.dumps(message))

    async def hear(self, kind: str) -> dict[str, Any]:
        """The next message of this type; others are kept."""
        with anyio.fail_after(DEADLINE_S):
            while True:
                for message in list(self.heard):
                    if message["type"] == kind:
                        self.heard.remove(message)
                        return message
                message = await self.socket.receive()
                assert message.type is aiohttp.WSMsgType.TEXT, message
                self.heard.append(json.loads(message.data))

    async def closed(self) -> tuple[int | None, str | None]:
        return await closing(self.socket)


async def closing(socket: aiohttp.ClientWebSocketResponse) -> tuple[int | None, str | None]:
    """Code and reason of the close that comes."""
    with anyio.fail_after(DEADLINE_S):
        while True:
            message = await socket.receive()
            if message.type is aiohttp.WSMsgType.CLOSE:
                return message.data, message.extra
            if message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                return socket.close_code, None


@dataclass
class House:
    """The platform as it runs, with ways in."""

    host: ServiceHost
    manager: ManagerDouble
    url: str
    link: Path
    run: Path
    http: aiohttp.ClientSession
    unix: aiohttp.ClientSession
    stack: AsyncExitStack
    tokens: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def gateway(self) -> GatewayExtension:
        return cast("GatewayExtension", self.host.extension("gateway"))

    async def token(self, name: str = "anna") -> str:
        if name not in self.tokens:
            identity = cast("IdentityExtension", self.host.extension("identity"))
            if name == "operator":
                self.tokens[name] = await identity.operator_token()
            else:
                if await identity.service.users.find(name) is None:
                    operator = await self.token("operator")
                    await self.call(
                        "POST",
                        "/v1/users",
                        operator,
                        json={"name": name, "password": "correct horse battery"},
                    )
                self.tokens[name] = (await identity.service.token_for(name)).token
        return self.tokens[name]

    async def call(
        self, method: str, path: str, token: str | None = None, **options: Any
    ) -> tuple[int, Any, Any]:
        """Status, body, headers."""
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        async with self.http.request(method, self.url + path, headers=headers, **options) as answer:
            text = await answer.text()
            try:
                return answer.status, json.loads(text), answer.headers
            except ValueError:
                return answer.status, text, answer.headers

    async def create(self, who: str = "anna", **body: Any) -> dict[str, Any]:
        status, answer, _ = await self.call(
            "POST", "/v1/sessions", await self.token(who), json={"application": "test-card", **body}
        )
        assert status == 201, str(answer)
        return answer

    def instance_of(self, session_id: str) -> str:
        found = [k for k, v in self.manager.instances.items() if v["session_id"] == session_id]
        return found[-1]

    def instance_token(self, session_id: str) -> str:
        request = next(r for r in self.manager.requests if r.session_id == session_id)
        return request.instance_token.get_secret_value()

    async def get(self, session_id: str, who: str = "anna") -> dict[str, Any]:
        status, body, _ = await self.call(
            "GET", f"/v1/sessions/{session_id}", await self.token(who)
        )
        assert status == 200, body
        return body

    async def wait(self, session_id: str, *states: str, who: str = "anna") -> dict[str, Any]:
        """Follow the session's events until it is in one of *states*."""
        token = await self.token(who)
        url = f"{self.url}/v1/sessions/{session_id}/events"
        seen = list[str]()
        with anyio.fail_after(DEADLINE_S):
            async with self.http.get(url, headers={"authorization": f"Bearer {token}"}) as answer:
                assert answer.status == 200, await answer.text()
                async for line in answer.content:
                    if line.startswith(b"data:"):
                        session = json.loads(line[5:])
                        seen.append(session["state"])
                        if session["state"] in states:
                            return session
        pytest.fail(f"the session went through {seen}, never {states}")

    @asynccontextmanager
    async def dial(
        self, session_id: str, peers: tuple[str, ...] = (), *, hello: bool = True
    ) -> AsyncIterator[LinkStreamer]:
        """The session's streamer on the link socket."""
        instance = self.instance_of(session_id)
        async with self.unix.ws_connect(
            f"http://gateway/v1/instances/{instance}/link",
            headers={"authorization": f"Bearer {self.instance_token(session_id)}"},
            max_msg_size=0,
        ) as socket:
            streamer = LinkStreamer(socket)
            if hello:
                await streamer.say(
                    type="hello", instance_id=instance, session_id=session_id, peers=list(peers)
                )
            yield streamer

    @asynccontextmanager
    async def on_stage(self, who: str = "anna") -> AsyncIterator[tuple[str, LinkStreamer]]:
        """A session that is ready, and its streamer."""
        session = await self.create(who)
        async with self.dial(session["id"]) as streamer:
            await streamer.say(type="ready", width=1280, height=720, encoder="x264", audio=True)
            await self.wait(session["id"], "ready", who=who)
            yield session["id"], streamer

    async def seat(self, session_id: str, who: str = "anna") -> dict[str, Any]:
        status, body, _ = await self.call(
            "POST", f"/v1/sessions/{session_id}/seat", await self.token(who), json={}
        )
        assert status == 200, body
        return body

    def socket(
        self,
        session_id: str,
        use: str,
        ticket: str | None = None,
        *,
        origin: str | None = "own",
        query: str = "",
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Open a viewer's socket as a page would."""
        protocols = ["downstage.v1"]
        if ticket is not None:
            protocols.append(f"downstage.ticket.{ticket}")
        given = dict(headers or {})
        if origin is not None:
            given["origin"] = self.url if origin == "own" else origin
        return self.http.ws_connect(
            f"{self.url}/v1/sessions/{session_id}/{use}{query}",
            protocols=protocols,
            headers=given,
            max_msg_size=0,
            autoclose=False,
        )

    @asynccontextmanager
    async def viewer(
        self, session_id: str, seat: dict[str, Any] | None = None
    ) -> AsyncIterator[Viewer]:
        """A signalling socket, welcomed."""
        seat = seat or await self.seat(session_id)
        async with self.socket(session_id, "signalling", seat["signalling_ticket"]) as socket:
            viewer = Viewer(socket)
            await viewer.hear("welcome")
            yield viewer


class Viewer(LinkStreamer):
    """A viewer's half of the signalling socket."""


async def serve_media(
    path: Path, handler: Callable[[web.WebSocketResponse, web.Request], Awaitable[None]]
) -> web.AppRunner:
    """A streamer's media socket at *path*."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def upgrade(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=1 << 20, compress=False)
        await socket.prepare(request)
        await handler(socket, request)
        return socket

    app = web.Application()
    app.router.add_get("/media", upgrade)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    return runner


Start = Callable[..., AbstractAsyncContextManager[House]]


@pytest.fixture
def manager(data: Path) -> ManagerDouble:
    """The manager of the test; it outlives a gateway that is started again."""
    return ManagerDouble(data / "run")


@pytest.fixture
def start(data: Path, manager: ManagerDouble, database: str | None) -> Start:
    """Starts a platform on the test's data folder: ``async with start(**settings) as house``."""

    @asynccontextmanager
    async def running(clock: Clock | None = None, **more: Any) -> AsyncGenerator[House]:
        overrides: dict[str, object] = {"platform.data": data, "platform.database": database}
        overrides |= {key.replace("__", "."): value for key, value in more.items()}
        settings = load(environment={}, overrides=overrides)
        (data / "run").mkdir(mode=0o700, exist_ok=True)
        public = open_port("127.0.0.1", 0)
        link = data / "run" / "platform.sock"
        inner = open_unix(link)
        url = f"http://127.0.0.1:{public.getsockname()[1]}"
        host = ServiceHost(
            settings,
            PlatformUrls(url, f"unix://{link}"),
            services=("identity", "agent", "gateway"),
            clock=clock,
        )
        registry.put_app("manager", manager.app())
        manager.bus = host.bus
        async with AsyncExitStack() as stack:
            stack.callback(registry.remove_app, "manager")
            for opened in (public, inner):  # a start may be refused before any server has them
                stack.callback(opened.close)
            await stack.enter_async_context(host.run())
            servers = [Server(host.public_app, [public]), Server(host.app("gateway"), [inner])]
            tasks = await stack.enter_async_context(anyio.create_task_group())
            for server in servers:
                tasks.start_soon(server.run)
                await server.wait_started()
                stack.callback(server.stop)
            http = await stack.enter_async_context(
                aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
            )
            unix = await stack.enter_async_context(
                aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(link)))
            )
            house = House(host, manager, url, link, data / "run", http, unix, stack)
            yield house
            # Handlers that wait for sockets of ours end with them.
            await http.close()
            await unix.close()

    return running


@pytest.fixture
async def house(start: Start) -> AsyncIterator[House]:
    """A platform on an empty folder."""
    async with start() as found:
        yield found
