"""A content service with people in it, on free ports: in this process, or one that can be killed.

In this process::

    async with content_server(data) as server:
        server.url, server.origin_url, server.token("alice"), server.content, server.callers

As a process of its own: `ContentProcess`, a context manager as `PlatformProcess` is.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import anyio
import anyio.to_thread

from downstage.content.blobs.store import WORKERS
from downstage.content.directory import Callers
from downstage.content.extension import Extension as ContentExtension
from downstage.content.model import Caller
from downstage.content.reader import MAX_CONNECTIONS
from downstage.content.service import Content
from downstage.identity.extension import Extension as IdentityExtension
from downstage.identity.service import ALL, IdentityService
from downstage.identity.users import User
from downstage.kernel.clock import Clock
from downstage.kernel.settings import load
from downstage.services.context import PlatformUrls
from downstage.services.host import ServiceHost
from downstage.services.server import Server, open_port
from downstage.testing.platform import PlatformProcess

__all__ = ["PEOPLE", "ContentProcess", "ContentServer", "content_server"]

PEOPLE: Mapping[str, Sequence[str]] = MappingProxyType(
    {"alice": ("artists",), "bob": ("artists", "reviewers"), "carol": (), "admin": ("admins",)}
)
"""Who is there, and their groups."""
PASSWORD = "correct horse"  # noqa: S105 - of people who exist in tests
NO_HASH = "!"
"""Stored in place of a password's hash: nobody signs in with one, which saves a second each."""
IDENTITY_CONNECTIONS = 4
"""What identity's pool keeps."""


@dataclass
class ContentServer:
    """One that answers."""

    url: str
    """Scheme, host and port of the public port."""
    origin_url: str
    """Of the content origin."""
    host: ServiceHost
    tokens: dict[str, str] = field(default_factory=dict[str, str])
    """Sign-ins of `PEOPLE`, by name."""

    @property
    def content(self) -> Content:
        """The running service."""
        return self._extension.content

    @property
    def callers(self) -> Callers:
        """What makes callers of principals."""
        return self._extension.callers

    @property
    def identity(self) -> IdentityService:
        """The running identity."""
        return cast("IdentityExtension", self.host.extension("identity")).service

    @property
    def _extension(self) -> ContentExtension:
        return cast("ContentExtension", self.host.extension("content"))

    def token(self, name: str) -> str:
        """A bearer token of *name*."""
        return self.tokens[name]

    def headers(self, name: str) -> dict[str, str]:
        """With that token."""
        return {"authorization": f"Bearer {self.tokens[name]}"}

    async def caller(self, name: str, client_id: str = "") -> Caller:
        """*name* as the domain sees them."""
        principal = await self.host.authenticator.principal(self.tokens[name])
        return await self.callers.of(principal, client_id)

    async def program_token(self, name: str, *scopes: str) -> str:
        """An API token of *name* that holds *scopes* alone."""
        principal = await self.host.authenticator.principal(self.tokens[name])
        made = await self.identity.issue.for_program(
            principal, f"{name}:{len(scopes)}", scopes or None, None
        )
        return made.token

    async def set_groups(self, name: str, *groups: str) -> None:
        """Give *name* other groups, and a new token where the old one ended with that."""
        user = await self.identity.users.change(name, held=ALL, groups=groups)
        self.tokens[name] = (await self.identity.issue.for_user(user)).token


@asynccontextmanager
async def content_server(
    data: Path,
    *,
    people: Mapping[str, Sequence[str]] = PEOPLE,
    clock: Clock | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> AsyncGenerator[ContentServer]:
    """Identity and content, served on free ports of loopback, with *people*.

    Args:
        data: the data folder; the same one again is the same server, started again.
        people: names and groups.
        clock: of the platform.
        overrides: settings, by dotted keys.
    """
    settings = load(environment={}, overrides={"platform.data": str(data), **(overrides or {})})
    public, origin = open_port("127.0.0.1", 0), open_port("127.0.0.1", 0)
    url = f"http://127.0.0.1:{public.getsockname()[1]}"
    origin_url = f"http://127.0.0.1:{origin.getsockname()[1]}"
    urls = PlatformUrls(url, "unix:///nowhere", origin_url)
    host = ServiceHost(settings, urls, services=("identity", "content"), clock=clock)
    async with host.run(), anyio.create_task_group() as tasks:
        server = ContentServer(url, origin_url, host)
        await _bring(server, people)
        content = cast("ContentExtension", host.extension("content"))
        servers = [Server(host.public_app, [public]), Server(content.origin, [origin])]
        for item in servers:
            tasks.start_soon(item.run)
        for item in servers:
            await item.wait_started()
        await _fill_pools(server)
        try:
            yield server
        finally:
            for item in servers:
                item.stop()


async def _bring(server: ContentServer, people: Mapping[str, Sequence[str]]) -> None:
    identity = server.identity
    for name, groups in people.items():
        user = await identity.users.find(name) or await _add(identity, name, groups)
        server.tokens[name] = (await identity.issue.for_user(user)).token


async def _fill_pools(server: ContentServer) -> None:
    """Let all pools grow now: what they got during a test would look left behind by it."""
    database, blobs = server.content.database, server.content.blobs
    identity = server.identity._database  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    def read_at_once() -> None:
        with ExitStack() as readings:
            for _ in range(MAX_CONNECTIONS):
                readings.enter_context(database.read())

    all_work = threading.Barrier(WORKERS + 1)
    for _ in range(WORKERS):
        blobs.pool.submit(all_work.wait)
    await anyio.to_thread.run_sync(all_work.wait)
    await anyio.to_thread.run_sync(read_at_once)
    async with AsyncExitStack() as readings:
        for _ in range(IDENTITY_CONNECTIONS):
            await readings.enter_async_context(identity.read())


async def _add(identity: IdentityService, name: str, groups: Sequence[str]) -> User:
    database = identity._database  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    async with database.write() as connection:
        return await identity.users.add_in(connection, name, NO_HASH, tuple(groups))


class ContentProcess(PlatformProcess):
    """``downstage up`` with `PEOPLE` in it; kill it, start it again, the data stays."""

    def __init__(
        self, data: Path, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(data, *arguments, environment=environment)
        self.tokens: dict[str, str] = {}

    def start(self) -> None:
        """Start it; at the first start, add the people and sign them in."""
        super().start()
        if self.tokens:
            return
        for name, groups in PEOPLE.items():
            user = {"name": name, "password": PASSWORD, "groups": list(groups)}
            self.call("POST", "/v1/users", user)
            signed = self.call(
                "POST", "/v1/auth/login", {"username": name, "password": PASSWORD}, token=None
            )
            self.tokens[name] = str(signed.body["token"])
