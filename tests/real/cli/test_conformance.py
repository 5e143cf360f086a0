"""``downstage conformance``: our own gateway passes, another that only looks like one does not."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from downstage.cli.conformance.suite import GROUPS, examine
from downstage.kernel.errors import SetupError
from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.real, pytest.mark.anyio, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def platform() -> Iterator[PlatformProcess]:
    with (
        tempfile.TemporaryDirectory(prefix="ds-", dir="/tmp") as folder,
        PlatformProcess(Path(folder, "data")) as running,
    ):
        yield running


async def test_our_gateway_is_as_its_clients_may_rely_on(
    platform: PlatformProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    good = await examine(
        platform.url, platform.facts["token"], application="test-card", as_json=True
    )
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line for line in lines if line["why"]] == []
    assert good
    assert {line["group"] for line in lines} == set(GROUPS)
    left = platform.call("GET", "/v1/sessions").body["items"]
    assert {session["state"] for session in left} <= {"ending", "ended"}


@pytest.fixture
async def impostor(anyio_backend: str) -> AsyncIterator[str]:
    """Lets everybody in, starts a new session for each repeated key, and answers 200 throughout."""
    assert anyio_backend == "asyncio"
    count = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal count
        count += request.method == "POST"
        session = {"id": f"s-{count}", "state": "ended", "join_url": "/?code=1", "revision": 1}
        return web.json_response(session, status=201 if request.method == "POST" else 200)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_what_is_wrong_is_told_line_by_line(
    impostor: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not await examine(impostor, "token", application="test-card", as_json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(line["why"] for line in lines)
    why = {line["name"]: line["why"] for line in lines}
    assert "answers 201, not 401" in why["asks for a token, and answers problems"]
    assert "second session" in why["starts a session once for an idempotency key"]


async def test_a_group_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SetupError, match="There are: v1, streaming, kit, anbox"):
        await examine("http://127.0.0.1:1", "token", application="x", groups=["v2"])
