"""Identity and content on a port of this machine, with clients of ``omniverse://``."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import anyio
import ovstorage
import pytest
from ovstorage import ConfigValue, ConnectionRequest, SecretValue, Stack
from websockets.asyncio.client import ClientConnection, connect

from downstage.content.extension import Extension as ContentExtension
from downstage.content.model import Caller
from downstage.content.service import Content
from downstage.identity.extension import Extension as IdentityExtension
from downstage.kernel.settings import load
from downstage.services import AsyncClient
from downstage.services.context import PlatformUrls
from downstage.services.host import ServiceHost
from downstage.services.server import Server, open_port

PASSWORD = "correct horse battery"


@dataclass
class Wire:
    """One ConnLib socket, spoken by hand."""

    socket: ClientConnection
    _next: int = 0
    _waiting: dict[int, list[tuple[dict[str, Any], bytes]]] = field(default_factory=dict)

    async def send(self, command: str, /, *, blob: bytes | None = None, **fields: Any) -> int:
        self._next += 1
        head = json.dumps({"command": command, "id": self._next, **fields}).encode()
        await self.socket.send(head if blob is None else head + b"\0" + blob)
        return self._next

    async def answer(self, request_id: int) -> tuple[dict[str, Any], bytes]:
        with anyio.fail_after(10):
            while not self._waiting.get(request_id):
                message = cast("bytes", await self.socket.recv())
                head, _, blob = message.partition(b"\0")
                fields = json.loads(head)
                self._waiting.setdefault(fields["id"], []).append((fields, blob))
        return self._waiting[request_id].pop(0)

    async def call(self, command: str, /, *, blob: bytes | None = None, **fields: Any) -> Any:
        return (await self.answer(await self.send(command, blob=blob, **fields)))[0]

    async def status(self, command: str, /, **fields: Any) -> str:
        return (await self.call(command, **fields))["status"]


@dataclass
class House:
    """The platform as it runs, with ways in."""

    host: ServiceHost
    identity: IdentityExtension
    port: int
    data: Path
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        return f"omniverse://127.0.0.1:{self.port}"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def content(self) -> Content:
        return cast("ContentExtension", self.host.extension("content")).content

    async def content_caller(self, name: str) -> Caller:
        """*name* as the domain sees them."""
        principal = await self.host.authenticator.principal(await self.token(name))
        extension = cast("ContentExtension", self.host.extension("content"))
        return await extension.callers.of(principal)

    async def operator(self) -> AsyncClient:
        """Identity, as its operator; another token ends the one before."""
        token = await self.identity.operator_token()
        return AsyncClient("local://identity", token=token, timeout_s=30)

    async def token(self, name: str, *groups: str) -> str:
        """A signed-in user's token; the user is added the first time."""
        if name not in self.tokens:
            operator = await self.operator()
            await operator.v1.users.post(name=name, password=PASSWORD, groups=list(groups))
            answer = await AsyncClient("local://identity").v1.auth.login.post(
                username=name, password=PASSWORD
            )
            self.tokens[name] = answer["token"]
        return self.tokens[name]

    async def stack(self, *, password: str = PASSWORD, follow: bool = True, **more: str) -> Any:
        """NVIDIA's public client, signed in as ada unless *more* says otherwise."""
        await self.token("ada")
        request = ConnectionRequest("nucleus")
        request.add_config("server", ConfigValue.string(f"127.0.0.1:{self.port}"))
        given = more or {"username": "ada", "password": password}
        for name, value in given.items():
            request.add_credential(name, SecretValue.bytes(value.encode()))
        registry = ovstorage.PluginRegistry([ovstorage.bundled_plugins_dir()])
        stack = Stack(root="follow" if follow else "nucleus").with_registry(registry)
        stack = stack.backend(ovstorage.plugin.PluginBackend("nucleus"))
        if follow:
            follower = ovstorage.redirect_follower.RedirectFollower("follow", "nucleus")
            stack = stack.wrapper(follower)
        with anyio.fail_after(20):
            return await stack.connection("nucleus", request).build()

    @asynccontextmanager
    async def wire(self, name: str = "ada", *, authorize: bool = True) -> AsyncGenerator[Wire]:
        """A ConnLib socket of *name*."""
        token = await self.token(name)
        url = f"ws://127.0.0.1:{self.port}/omni/api?access_token={token}"
        async with connect(url, compression=None, max_size=None, proxy=None) as socket:
            wire = Wire(socket)
            if authorize:
                found = await wire.call("authorize_token", token=token, version="1.19")
                assert found["status"] == "OK"
            yield wire

    @asynccontextmanager
    async def sows(self, path: str) -> AsyncGenerator[ClientConnection]:
        url = f"ws://127.0.0.1:{self.port}{path}"
        async with connect(url, compression=None, proxy=None) as socket:
            yield socket

    def folder(self) -> str:
        """A folder of the test's own: ``/name``."""
        return f"/{secrets.token_hex(6)}"


@pytest.fixture(autouse=True)
def _nothing_left() -> None:
    """The platform and its clients live as long as the module: `house` looks what is left."""


@pytest.fixture(scope="module")
async def house(
    anyio_backend: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    assert anyio_backend == "asyncio"
    data = tmp_path_factory.mktemp("nucleus")
    settings = load(
        environment={},
        overrides={
            "platform.data": data,
            "identity.login_attempts": 1000,
            "content.lock_grace": "PT0.2S",
        },
    )
    sock = open_port("127.0.0.1", 0)
    port = sock.getsockname()[1]
    urls = PlatformUrls(f"http://127.0.0.1:{port}", "unix:///nowhere")
    host = ServiceHost(settings, urls, services=("identity", "content"))
    async with host.run(), anyio.create_task_group() as tasks:
        server = Server(host.public_app, [sock])
        tasks.start_soon(server.run)
        await server.wait_started()
        yield House(host, cast("IdentityExtension", host.extension("identity")), port, data)
        server.stop()
    # The client's runtime keeps descriptors of its own as long as the process lives, and the loop
    # its pools: what is ours has gone.
    assert [thread.name for thread in threading.enumerate() if "content" in thread.name] == []


@pytest.fixture(scope="module")
async def stack(house: House) -> Any:
    """The client that most tests share: one connection, as programs have it."""
    return await house.stack()


@pytest.fixture
def folder(house: House) -> str:
    return house.folder()
