"""A hostile image beside one that streams: it is contained, and its neighbour plays on (S02)."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, UnixConnector, WSMsgType
from tests.real.spawners.conftest import reports_until

from downstage.contracts.manager import Needs, PortWish
from downstage.contracts.streamer import MEDIA_HEADER, VIDEO
from downstage.media.codec import is_key
from downstage.spawners.container.egress import addresses_of_this_machine

from .conftest import Launch, said

pytestmark = [pytest.mark.real, pytest.mark.anyio]

CARD = ("/usr/bin/python3", "-m", "downstage.apps.test_card", "--size", "640x360", "--fps", "60")


class Watcher:
    """A viewer that takes pictures all the time; `pictures` are the moments at which they came."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self.first: bytes | None = None
        self.moments: list[float] = []

    async def run(self) -> None:
        """Acknowledge what comes, as a page does."""
        async for message in self._socket:
            if message.type is not WSMsgType.BINARY:
                continue
            kind, _, _, sequence, _ = MEDIA_HEADER.unpack_from(message.data)
            await self._socket.send_str(json.dumps(["a", sequence]))
            if kind == VIDEO:
                self.first = self.first or bytes(message.data[MEDIA_HEADER.size :])
                self.moments.append(time.monotonic())

    async def rate(self, seconds: float) -> float:
        """Pictures a second from now on, for so long."""
        count = len(self.moments)
        await anyio.sleep(seconds)
        return (len(self.moments) - count) / seconds


@asynccontextmanager
async def watch(folder: Path) -> AsyncIterator[Watcher]:
    connector = UnixConnector(str(folder / "media.sock"))
    url = "http://streamer/media?peer=p1&role=controller"
    async with (
        ClientSession(connector=connector) as session,
        session.ws_connect(url, max_msg_size=8 << 20, compress=0) as socket,
        anyio.create_task_group() as tasks,
    ):
        watcher = Watcher(socket)
        tasks.start_soon(watcher.run)
        yield watcher
        tasks.cancel_scope.cancel()


def listener(stack: AsyncExitStack) -> int:
    """A port on every address of this machine, as the platform's own are."""
    server = stack.enter_context(socket.create_server(("0.0.0.0", 0)))
    return int(server.getsockname()[1])


async def test_S02_a_hostile_image_is_contained_and_its_neighbour_plays_on(
    launch: Launch, data: Path
) -> None:
    neighbour, spec = await launch(command=CARD)
    await reports_until(neighbour, "running", 60)
    async with watch(data / "run" / spec.instance_id) as viewer:
        bomb, bomb_spec = await launch("fork-late", needs=Needs(cpus=0.5, memory_mb=128, pids=24))
        hog, hog_spec = await launch("hog", needs=Needs(cpus=0.5, memory_mb=96))
        await reports_until(bomb, "running", 60)
        await reports_until(hog, "running", 60)
        before = await viewer.rate(2)
        for one in (bomb_spec, hog_spec):
            (data / "run" / one.instance_id / "app" / "go").touch()
        during = await viewer.rate(4)
        told = await said(data, bomb_spec.instance_id)
        assert told["error"] == "EAGAIN"
        assert told["forks"] < 24
        last = (await reports_until(hog, "ended", 60))[-1]
        assert (last.reason, last.exit_code) == ("out-of-memory", 137)
        assert "96 MiB" in (last.detail or "")
        assert viewer.first is not None
        assert is_key(viewer.first, "h264")
        assert during >= min(50, 0.8 * before), (during, before)
        print(f"the neighbour's pictures a second: {before:.1f} before, {during:.1f} meanwhile")
    for one in (bomb, neighbour):
        await one.stop("stopped")  # they run, since they can be told to end
        assert (await reports_until(one, "ended", 60))[-1].reason == "stopped"


async def test_S02_network_reaches_neither_this_machine_nor_what_is_near(
    launch: Launch, data: Path
) -> None:
    async with AsyncExitStack() as stack:
        port = listener(stack)
        own = [address for address in addresses_of_this_machine() if address != "127.0.0.1"]
        targets = [f"tcp:{address}:{port}" for address in ("127.0.0.1", "10.88.0.1", *own)]
        targets += ["tcp:169.254.169.254:80", "tcp:10.0.0.1:80", "tcp:192.168.0.1:80"]
        for address in own:  # it can be reached, but not from inside
            socket.create_connection((address, port), 5).close()
        handle, spec = await launch("look", *targets, network=True)
        await reports_until(handle, "running", 60)
        seen = await said(data, spec.instance_id)
    assert len(seen["interfaces"]) == 2, "it has network at all"
    assert set(seen["reached"]) == set(targets)
    assert {target for target, how in seen["reached"].items() if how == "reached"} == set()


async def test_ports_are_published_where_it_says(launch: Launch) -> None:
    ports = (PortWish(name="web", number=0), PortWish(name="api", number=8011))
    handle, _ = await launch("serve", network=True, ports=ports)
    with anyio.fail_after(60):
        async for report in handle.reports():
            if report.ports:
                break
    found: dict[str, Any] = {port["name"]: port for port in report.ports}
    web = found["web"]
    assert 32000 <= web["published"] <= 32767
    assert web["number"] == web["published"]
    assert (found["api"]["number"], found["api"]["type"]) == (8011, "TCP")
    with anyio.fail_after(30):
        while True:
            try:
                async with await anyio.connect_tcp(web["host"], web["published"]) as stream:
                    assert await stream.receive() == b"here I am"
                    return
            except (OSError, anyio.EndOfStream):
                await anyio.sleep(0.1)
