"""A platform that runs identity alone, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from downstage.identity.extension import Extension
from downstage.kernel.clock import ManualClock
from downstage.kernel.settings import load
from downstage.services import AsyncClient, BaseServiceError
from downstage.services.context import PlatformUrls
from downstage.services.host import ServiceHost

PASSWORD = "correct horse battery"


@dataclass
class House:
    """Identity as it runs, with ways in."""

    host: ServiceHost
    identity: Extension
    clock: ManualClock
    boot_secret: str
    _operator: AsyncClient | None = None

    def client(self, token: str | None = None) -> AsyncClient:
        return AsyncClient("local://identity", token=token, timeout_s=30)

    async def operator(self) -> AsyncClient:
        """The one operator: another token would end the one before."""
        if self._operator is None:
            self._operator = self.client(await self.identity.operator_token())
        return self._operator

    async def add(self, name: str, *groups: str, password: str = PASSWORD) -> None:
        operator = await self.operator()
        await operator.v1.users.post(name=name, password=password, groups=list(groups))

    async def sign_in(self, name: str, password: str = PASSWORD) -> AsyncClient:
        answer = await self.client().v1.auth.login.post(username=name, password=password)
        return self.client(answer["token"])

    async def service(self, name: str = "gateway", act: str | None = None) -> AsyncClient:
        answer = await self.client().v1.service_tokens.post(
            service=name, boot_secret=self.boot_secret, act=act
        )
        return self.client(answer["token"])


Start = Callable[..., AbstractAsyncContextManager[House]]


@pytest.fixture
def start(data: Path, database: str | None) -> Start:
    """Starts identity on the test's data folder: ``async with start(**settings) as house``."""

    @asynccontextmanager
    async def running(clock: ManualClock | None = None, **more: Any) -> AsyncGenerator[House]:
        overrides: dict[str, object] = {
            "platform.data": data,
            "platform.database": database,
            "identity.login_attempts": 1000,
            "identity.token_ttl": "PT8H",
        }
        overrides |= {key.replace("__", "."): value for key, value in more.items()}
        settings = load(environment={}, overrides=overrides)
        clock = clock or ManualClock()
        urls = PlatformUrls("http://127.0.0.1:1", "unix:///nowhere")
        host = ServiceHost(settings, urls, services=("identity",), clock=clock)
        async with host.run():
            extension = cast("Extension", host.extension("identity"))
            yield House(host, extension, clock, extension.context.boot_secret)

    return running


@pytest.fixture
async def house(start: Start) -> AsyncIterator[House]:
    """Identity, just started on an empty folder."""
    async with start() as found:
        yield found


@pytest.fixture
def refused() -> Callable[..., Any]:
    """Awaits a call that must fail; answers its error."""

    async def refusal(call: Any, status: int) -> BaseServiceError:
        with pytest.raises(BaseServiceError) as caught:
            await call
        assert caught.value.status == status, caught.value
        return caught.value

    return refusal
