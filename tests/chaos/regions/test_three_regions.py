"""Three regions, two gateways, one bus: each part is killed and cut off while sessions play."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from downstage.testing.networks import why_not
from downstage.testing.regions import RegionsPlatform

from .viewers import Transport, Viewer, watching

pytestmark = [pytest.mark.chaos, pytest.mark.anyio, pytest.mark.timeout(400)]

How = Literal["kill", "cut"]
WEBRTC_MS, WEBSOCKET_MS = 200.0, 2000.0
ENDED_S = AGREE_S = 10.0
LASTS_S = 2.5
"""How long a fault lasts before it is mended."""
QUIET_S = 3.0
DISPLAY = {"width": 640, "height": 360, "fps": 20}
UNSEEN = {"width": 320, "height": 200, "fps": 5}
HOME = "eu"
CARD = """
name = "wayland-card"
title = "Card"
display = "wayland"
command = ["{python}", "-m", "downstage.apps.test_card"]
[environment]
SDL_VIDEODRIVER = "wayland"
"""


def slack() -> float:
    """By how much this machine is slower than one that has the time."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


@pytest.fixture
def platform() -> Iterator[RegionsPlatform]:
    """All of it; keepers wait for a manager for as long as this machine may need to start one."""
    if reason := why_not():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    card = folder / "apps" / "wayland-card"
    card.mkdir(parents=True)
    (card / "application.toml").write_text(CARD)
    settings = {
        "manager.applications": json.dumps([str(folder / "apps")]),
        "manager.attach_deadline": 120,
        "manager.capacity": 8,
    }
    try:
        with RegionsPlatform(folder / "data", settings=settings) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Stage:
    """The platform, who watches, and what was seen."""

    platform: RegionsPlatform
    viewers: list[Viewer]
    quiet: dict[Transport, float] = field(default_factory=dict[Transport, float])
    rows: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    wrong: list[str] = field(default_factory=list[str])

    async def gaps(self) -> dict[Transport, float]:
        """The longest gap of each since this was asked last."""
        return {viewer.transport: await viewer.gap_ms() for viewer in self.viewers}

    async def be_quiet(self) -> None:
        """What this machine does to pictures by itself, while nothing is wrong."""
        await self.gaps()
        await asyncio.sleep(QUIET_S)
        for transport, gap in (await self.gaps()).items():
            self.quiet[transport] = max(gap, self.quiet.get(transport, 0))

    def check(self, gaps: dict[Transport, float], websocket_ms: float = WEBSOCKET_MS) -> None:
        """No gap is longer than promised, beside what the machine adds by itself."""
        allowed = {"webrtc": WEBRTC_MS, "websocket": websocket_ms}
        for transport, gap in gaps.items():
            most = allowed[transport] * slack() + self.quiet[transport]
            if gap > most:
                self.wrong.append(f"{self.rows[-1]}: {transport} {gap:.0f} > {most:.0f} ms")

    async def agree(self, gateway: str, spare: str | None = None) -> float:
        """Seconds until sessions and instances are the same everywhere, *spare* not among them."""
        began = time.monotonic()
        while True:
            found = await asyncio.to_thread(self._both, gateway)
            took = time.monotonic() - began
            is_over = all(spare not in sessions for sessions, _ in found.values())
            if is_over and all(sessions == instances for sessions, instances in found.values()):
                return took
            if took > AGREE_S * slack():
                self.wrong.append(f"{gateway}: no agreement: {found}, {spare}")
                return took
            await asyncio.sleep(0.1)

    def _both(self, gateway: str) -> dict[str, tuple[set[str], set[str]]]:
        return {
            region: (
                set(self.platform.sessions(region, gateway)),
                set(self.platform.instances(region)),
            )
            for region in self.platform.regions
        }

    async def fault(self, part: str, how: How, spare: str | None = None) -> dict[Transport, float]:
        """Make it, end *spare*, mend it, see all in order again; the gaps while it lasted.

        Mending starts a process, which takes time from the pictures on a small machine: what
        happens then is shown beside.
        """
        platform = self.platform
        await self.gaps()
        await asyncio.to_thread(platform.kill_service if how == "kill" else platform.cut, part)
        other = next(name for name in platform.gateways if name != part)
        if spare is not None:
            await asyncio.to_thread(platform.call_at, other, "DELETE", f"/v1/sessions/{spare}")
        await asyncio.sleep(LASTS_S)
        if part in platform.gateways:
            await self.moved(other)
        gaps = await self.gaps()
        mend = platform.start_service if how == "kill" else platform.heal
        await asyncio.to_thread(mend, part)
        began = time.monotonic()
        if part not in platform.gateways:
            await asyncio.to_thread(platform.until_answering, *platform.regions, gateway=other)
        await self.agree(other, spare)
        back = time.monotonic() - began
        self.note(part, how, gaps, back, await self.gaps())
        return gaps

    async def moved(self, gateway: str) -> None:
        """Return once both pages talk to *gateway*, and have pictures."""
        url = self.platform.url_of(gateway)
        for viewer in self.viewers:
            home = f"document.querySelector('downstage-viewer').state.session?.home === '{url}'"
            await viewer.until(home, 30, f"at home at {gateway}")
            await viewer.pictures(5)

    def note(
        self,
        part: str,
        how: str,
        gaps: dict[Transport, float],
        back: float,
        after: dict[Transport, float] | None = None,
    ) -> None:
        """A line of the table."""
        shown = [round(gap) for gap in (*gaps.values(), *(after or {}).values())]
        self.rows.append((part, how, *shown, round(back, 1)))
        print(*self.rows[-1], "quiet", {k: round(v) for k, v in self.quiet.items()}, flush=True)


async def test_S05_each_part_may_go_while_sessions_play(platform: RegionsPlatform) -> None:
    async with AsyncExitStack() as pages:
        viewers = list[Viewer]()
        trusted = tuple(platform.url_of(name) for name in platform.gateways)
        for transport in ("webrtc", "websocket"):
            session = platform.create("test-card", region=HOME, display=DISPLAY)
            link = platform.link(session["id"], transport=transport, resolution="640x360")
            page = watching(link, transport, session["id"], trusted)
            viewers.append(await pages.enter_async_context(page))
        stage = Stage(platform, viewers)
        await stage.be_quiet()
        await no_picture_notices(stage)
        await stage.be_quiet()
        await gateways_die(stage)
        await streamers_die(stage)
    assert not stage.wrong, stage.quiet


async def no_picture_notices(stage: Stage) -> None:
    """Agent, bus and manager are no part of a picture's way; what ended meanwhile is noticed."""
    for part in (f"agent-{HOME}", "nats", f"manager-{HOME}"):
        stage.check(await stage.fault(part, "kill"))
        spare = stage.platform.create("test-card", region=HOME, display=UNSEEN)
        stage.check(await stage.fault(part, "cut", spare["id"]))


async def gateways_die(stage: Stage) -> None:
    """The home of both sessions is cut off and stays so, then the one that took them is killed.

    Nobody is told of the first: pages, streamers and the other gateway notice it by its silence.
    """
    stage.check(await stage.fault("gateway", "cut"))
    # Back again it fights for nothing: all is where it was, and plays on.
    for viewer in stage.viewers:
        assert await viewer.home() == stage.platform.url_of("gateway-2")
        await viewer.pictures()
    stage.check(await stage.fault("gateway-2", "kill"))


async def streamers_die(stage: Stage) -> None:
    """One that an application can do without is replaced, another's session ends."""
    platform = stage.platform
    elsewhere = platform.create("wayland-card", region="us", display=UNSEEN)["id"]
    viewer = stage.viewers[0]
    began = time.monotonic()
    os.kill(platform.streamer_of(HOME, viewer.session_id), signal.SIGKILL)
    await stage.gaps()
    while await viewer.silence_ms() < 300:
        await asyncio.sleep(0.02)
    await viewer.until("gaps.now() < 200", ENDED_S * slack(), "the streamer is replaced")
    stage.note("streamer", "kill", await stage.gaps(), time.monotonic() - began)
    began = time.monotonic()
    os.kill(platform.streamer_of("us", elsewhere), signal.SIGKILL)
    ended = await asyncio.to_thread(
        platform.wait_state, elsewhere, "ended", deadline_s=ENDED_S * slack()
    )
    assert (ended["outcome"], ended["reason"]) == ("failed", "streamer-died")
    print(f"ended after {time.monotonic() - began:.1f} s")
    await stage.gaps()
    platform.cut(f"manager-{HOME}", "media")
    await asyncio.sleep(LASTS_S)
    platform.heal(f"manager-{HOME}", "media")
    began = time.monotonic()
    for each in stage.viewers:
        await each.until("gaps.now() < 200", ENDED_S * slack(), "the picture is back")
    stage.note("streamer", "cut", await stage.gaps(), time.monotonic() - began)
    await stage.agree("gateway")
