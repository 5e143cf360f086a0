"""A streamer as a real process, a real display, and the gateway's end of its line: for tests.

`XDisplay` is an Xvfb of one's own; `run_streamer` starts the program on it (or as a Wayland
compositor) and waits for its lines; `GatewayEnd` takes the link, opens peers, relays `/media`, and
serves a page, so that a browser can watch without the rest of the platform.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from aiohttp import ClientSession, UnixConnector, WSMsgType, web
from anyio.abc import Process

__all__ = ["GatewayEnd", "Streamer", "XDisplay", "run_program", "run_streamer"]

TOKEN = "instance-token-of-a-test"  # noqa: S105 - no secret
LINE_DEADLINE_S = 15.0
STOP_DEADLINE_S = 5.0


@dataclass
class XDisplay:
    """An Xvfb on a display number that it chose itself."""

    name: str
    process: subprocess.Popen[bytes]

    @classmethod
    @asynccontextmanager
    async def start(cls, screen: str = "4096x2304x24") -> AsyncGenerator[XDisplay]:
        """Start one; it is gone when the block ends."""
        reader, writer = os.pipe()
        process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
            [
                "Xvfb",
                "-displayfd",
                str(writer),
                "-screen",
                "0",
                screen,
                "-nolisten",
                "tcp",
                "-noreset",
            ],
            pass_fds=[writer],
            stderr=subprocess.DEVNULL,
        )
        os.close(writer)
        try:
            with os.fdopen(reader) as told, anyio.fail_after(LINE_DEADLINE_S):
                number = (await anyio.to_thread.run_sync(told.readline)).strip()
            yield cls(f":{number}", process)
        finally:
            process.terminate()
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(_wait, process)


@asynccontextmanager
async def run_program(
    command: Sequence[str], environment: Mapping[str, str]
) -> AsyncGenerator[subprocess.Popen[bytes]]:
    """Run an application on a display; it is gone when the block ends."""
    process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
        list(command), env={**os.environ, **environment}, stdout=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(_wait, process)


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass
class GatewayEnd:
    """What the gateway does for one instance, and no more."""

    folder: Path
    page: Path | None = None
    heard: deque[dict[str, Any]] = field(default_factory=deque[dict[str, Any]])
    """Everything that came in on the link, signals included."""
    links: list[web.WebSocketResponse] = field(default_factory=list[web.WebSocketResponse])
    tokens: list[str] = field(default_factory=list[str])
    port: int = 0
    _news: anyio.Event = field(default_factory=anyio.Event)
    _peers: dict[str, web.WebSocketResponse] = field(
        default_factory=dict[str, web.WebSocketResponse]
    )
    _runner: web.AppRunner | None = None
    _count: int = 0

    @property
    def socket(self) -> Path:
        """Where the streamer dials."""
        return self.folder / "gateway.sock"

    async def open(self) -> None:
        """Listen: unix socket for the streamer, loopback port for a browser."""
        application = web.Application()
        application.router.add_get("/v1/instances/{id}/link", self._link)
        application.router.add_get("/signal", self._signal)
        application.router.add_get("/media", self._media)
        application.router.add_get("/", self._page)
        self._runner = web.AppRunner(application, shutdown_timeout=0.5)
        await self._runner.setup()
        self.socket.unlink(missing_ok=True)
        await web.UnixSite(self._runner, str(self.socket)).start()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = int(self._runner.addresses[-1][1])

    async def close(self) -> None:
        """Go away, as a gateway that was killed."""
        if self._runner is not None:
            for socket in self.links:
                await socket.close()
            await self._runner.cleanup()
            self._runner = None

    async def tell(self, message: Mapping[str, Any]) -> None:
        """Say something to the streamer."""
        await self.links[-1].send_str(json.dumps(message))

    async def hear(self, kind: str, **content: object) -> dict[str, Any]:
        """The next message of *kind* with this *content*; others before it are dropped."""
        with anyio.fail_after(LINE_DEADLINE_S):
            while True:
                while self.heard:
                    message = self.heard.popleft()
                    fits = all(message.get(key) == value for key, value in content.items())
                    if message["type"] == kind and fits:
                        return message
                self._news = anyio.Event()
                await self._news.wait()

    async def _link(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        self.tokens.append(request.headers.get("Authorization", ""))
        self.links.append(socket)
        async for received in socket:
            message: dict[str, Any] = json.loads(received.data)
            viewer = self._peers.get(str(message.get("peer")))
            if viewer is not None and message["type"] == "peer.signal":
                await viewer.send_str(json.dumps(message["payload"]))
            self.heard.append(message)
            self._news.set()
        return socket

    async def _signal(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._count += 1
        peer = f"peer-{self._count}"
        self._peers[peer] = socket
        role = request.query.get("role", "controller")
        await self.tell({"type": "peer.open", "peer": peer, "role": role, "transport": "webrtc"})
        async for received in socket:
            payload = json.loads(received.data)
            await self.tell({"type": "peer.signal", "peer": peer, "payload": payload})
        if self.links and not self.links[-1].closed:
            await self.tell({"type": "peer.close", "peer": peer, "reason": "left"})
        return socket

    async def _media(self, request: web.Request) -> web.WebSocketResponse:
        here = web.WebSocketResponse(compress=False, max_msg_size=64 * 1024)
        await here.prepare(request)
        self._count += 1
        role = request.query.get("role", "controller")
        connector = UnixConnector(str(self.folder / "media.sock"))
        async with ClientSession(connector=connector) as session:
            url = f"http://streamer/media?peer=socket-{self._count}&role={role}"
            async with (
                session.ws_connect(url, max_msg_size=8 * 2**20, compress=0) as there,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(_copy, there, here)
                await _copy(here, there)
                tasks.cancel_scope.cancel()
        return here

    async def _page(self, _request: web.Request) -> web.StreamResponse:
        if self.page is None:
            raise web.HTTPNotFound
        return web.FileResponse(self.page)


async def _copy(source: Any, target: Any) -> None:
    async for message in source:
        if message.type is WSMsgType.BINARY:
            await target.send_bytes(message.data)
        elif message.type is WSMsgType.TEXT:
            await target.send_str(message.data)
    await target.close()


@dataclass
class Streamer:
    """One running streamer."""

    process: Process
    config: dict[str, Any]
    folder: Path
    lines: list[str] = field(default_factory=list[str])
    _rest: bytes = b""

    @property
    def environment(self) -> dict[str, str]:
        """What an application needs to find the display."""
        if self.config["display_kind"] == "x11":
            return {
                "DISPLAY": self.config["x_display"],
                "SDL_VIDEODRIVER": "x11",
                "SDL_FRAMEBUFFER_ACCELERATION": "0",
            }
        return {
            "WAYLAND_DISPLAY": self.config["wayland_socket"],
            "XDG_RUNTIME_DIR": str(self.folder / "runtime"),
            "SDL_VIDEODRIVER": "wayland",
        }

    async def line(self, wanted: str) -> None:
        """Wait for a line on its standard output."""
        if self.process.stdout is None:
            raise RuntimeError("its standard output is not ours")
        with anyio.fail_after(LINE_DEADLINE_S):
            while wanted not in self.lines:
                self._rest += await self.process.stdout.receive()
                *whole, self._rest = self._rest.split(b"\n")
                self.lines += [line.decode() for line in whole]


@asynccontextmanager
async def run_streamer(
    folder: Path,
    *,
    display: XDisplay | None = None,
    width: int = 1280,
    height: int = 720,
    fps: int = 60,
    environment: Mapping[str, str] | None = None,
    **config: object,
) -> AsyncGenerator[Streamer]:
    """Start a streamer and wait until its display takes clients; stopped when the block ends.

    Args:
        folder: a short private folder, as the instance's own.
        display: an X display; None makes the streamer a Wayland compositor.
        width: of the picture at first.
        height: of the picture at first.
        fps: highest frame rate.
        environment: more variables for the streamer.
        config: more fields of its configuration.
    """
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700, exist_ok=True)
    settings: dict[str, Any] = {
        "instance_id": "instance-1",
        "session_id": "session-1",
        "instance_token": TOKEN,
        "link_url": f"unix://{folder}/gateway.sock",
        "media_socket": str(folder / "media.sock"),
        "display_kind": "x11" if display else "wayland",
        "display": {"width": width, "height": height, "fps": fps},
        **({"x_display": display.name} if display else {"wayland_socket": str(folder / "wl")}),
        **config,
    }
    path = folder / "streamer.json"
    path.write_text(json.dumps(settings))
    path.chmod(0o600)
    process = await anyio.open_process(
        [sys.executable, "-m", "downstage.streamer", str(path)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(runtime), **(environment or {})},
        stderr=None,
    )
    streamer = Streamer(process, settings, folder)
    try:
        await streamer.line("DISPLAY-READY")
        yield streamer
    finally:
        if process.returncode is None:
            process.terminate()
        with anyio.move_on_after(STOP_DEADLINE_S, shield=True):
            await process.wait()
        if process.returncode is None:
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.aclose()
