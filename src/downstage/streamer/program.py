"""The streamer put together: display, viewers, sound, the line to the gateway."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup, TaskStatus

from downstage.contracts.streamer import StreamerConfig
from downstage.kernel.errors import PlatformError, SetupError
from downstage.kernel.logging import get_logger
from downstage.media.encoder import as_choice
from downstage.media.frame import Size
from downstage.media.source import FrameSource, SourceEvents, WaylandSource, X11Source
from downstage.streamer.house import House
from downstage.streamer.message import Message
from downstage.streamer.process import KeeperLine

if TYPE_CHECKING:
    from downstage.media.audio import AudioCapture
    from downstage.streamer.link import Link
    from downstage.streamer.media_server import MediaServer
    from downstage.streamer.outlet import Outlet
    from downstage.streamer.peers import Peers
    from downstage.streamer.tunnel import Tunnel

__all__ = ["Program"]

log = get_logger(__name__)

STATUS_S = 1.0
FAREWELL_S = 0.8
ADOPTED_S = 5.0
"""From a session's arrival to a picture of its size; its viewers need not wait for it."""
CAPTURE_S = 10.0
"""From the first drawing to its encoded picture: a GPU's encoder may take seconds to open."""


class Program:
    """One streamer, from start to end.

    Args:
        config: the instance's configuration.
        line: where the keeper listens.
        reread: reads the configuration anew; on SIGHUP, as long as there is no session.
    """

    def __init__(
        self, config: StreamerConfig, line: KeeperLine, reread: Callable[[], StreamerConfig]
    ) -> None:
        self._config, self._line, self._reread = config, line, reread
        self._over = anyio.Event()
        self._reason = "stopped"
        self._exit = 0
        self._ready = False
        self._status: Message = {}
        self._is_open = anyio.Event()
        self._house: House | None = None
        self._peers: Peers | None = None
        self._audio: AudioCapture | None = None
        self._link: Link | None = None
        self._outlet: Outlet | None = None
        self._dial_back: Tunnel | None = None

    async def run(self) -> int:
        """Serve until told to stop; returns the exit status."""
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._watch_signals, tasks)
            house = self._house = House(self._config, tasks)
            source = self._make_source(house)
            try:
                await source.open()
            except SetupError as error:
                log.error("display.failed", detail=error.detail)  # noqa: TRY400  no traceback
                tasks.cancel_scope.cancel()
                return 1
            house.use(source)
            self._line.display_ready()
            peers, server = await self._open_doors(house)
            self._start(tasks, house, source)
            self._is_open.set()
            await self._over.wait()
            with anyio.move_on_after(FAREWELL_S, shield=True):
                await peers.close(self._reason)
                await server.close()
                await source.close()
            tasks.cancel_scope.cancel()
        return self._exit

    async def _open_doors(self, house: House) -> tuple[Peers, MediaServer]:
        """Load what serves viewers, while the application is starting already."""
        for name in ("peers", "link", "media_server", "outlet", "tunnel", "instance_api"):
            await to_thread.run_sync(import_module, f"downstage.streamer.{name}")
        from downstage.streamer.media_server import MediaServer
        from downstage.streamer.peers import Peers

        self._peers = Peers(self._config, house, self._say)
        await self._peers.open()
        server = MediaServer(Path(self._config.media_socket), self._peers.serve_socket)
        await server.open()
        await self._open_inside(self._peers)
        return self._peers, server

    async def _open_inside(self, peers: Peers) -> None:
        """Offer the application what Kit applications offer, where it has a folder for it."""
        from downstage.streamer.instance_api import InstanceApi, InstanceHooks

        if self._config.channels is None:
            return
        hooks = InstanceHooks(
            is_ready=lambda: self._ready,
            token=lambda: self._config.instance_token,
            add_relay=peers.add_relay,
            end=self._end,
        )
        api = InstanceApi(Path(self._config.channels), hooks)
        try:
            await api.open()
        except OSError as error:
            log.warning("inside.failed", error=str(error))

    def _dial(self, tasks: TaskGroup, house: House) -> None:
        """Open the line of the session, now that there is one."""
        from downstage.streamer.link import Link
        from downstage.streamer.outlet import Outlet
        from downstage.streamer.tunnel import Tunnel

        if self._peers is not None:
            self._dial_back = Tunnel(self._config, house.spawn, self._peers.serve_socket)
        self._link = Link(self._config, self)
        self._outlet = Outlet(
            self._config,
            request_key=lambda: house.source.request_key("h264"),
            changed=house.reconsider,
        )
        house.tap(self._outlet)
        tasks.start_soon(self._link.run)
        tasks.start_soon(self._outlet.run)

    async def _adopt(self, tasks: TaskGroup) -> None:
        """A session has come: take its size, its servers and its line; what runs runs on."""
        await self._is_open.wait()
        try:
            config = await to_thread.run_sync(self._reread)
        except SetupError as error:
            log.warning("session.unreadable", detail=error.detail)
            return
        house, peers = self._house, self._peers
        is_taken = self._config.session_id is not None
        if is_taken or config.session_id is None or house is None or peers is None:
            return
        self._config = config
        peers.use(config)
        self._dial(tasks, house)
        log.info("session.adopted", session_id=config.session_id)
        size = Size(config.display.width, config.display.height)
        if self._ready:
            tasks.start_soon(self._follow_size, house, size)
        else:
            house.resize(size)

    async def _follow_size(self, house: House, size: Size) -> None:
        """Take the session's size; its encoder is warm then, and the gateway is told."""
        with anyio.move_on_after(ADOPTED_S):
            await house.wake(size)
        house.settle()
        self._say(self._ready_message())

    def greeting(self) -> list[Message]:
        """What a new line hears first."""
        first: list[Message] = [
            {
                "type": "hello",
                "instance_id": self._config.instance_id,
                "session_id": self._config.session_id,
                "peers": self._peers.living if self._peers else [],
            }
        ]
        if self._ready:
            first.append(self._ready_message())
        if self._status:
            first.append(self._status)
        return first

    def received(self, message: Message) -> None:
        """A message of the gateway."""
        if message.get("type") == "end":
            self._end(str(message.get("reason", "stopped")))
        elif message.get("type") == "streams.push":
            if self._outlet is not None and self._link is not None:
                url = message.get("url") or self._link.place.url
                self._outlet.ask({**message, "url": url})
        elif message.get("type") == "media.dial":
            if self._dial_back is not None and self._link is not None:
                self._dial_back.ask(message, self._link.place)
        elif self._peers is not None:
            self._peers.received(message)

    def _start(self, tasks: TaskGroup, house: House, source: FrameSource) -> None:
        tasks.start_soon(self._keep_house, house)
        if self._config.session_id is not None:
            self._dial(tasks, house)
        tasks.start_soon(self._await_picture, house, source)
        tasks.start_soon(self._open_sound, house)
        tasks.start_soon(self._report, house)

    def _make_source(self, house: House) -> FrameSource:
        config = self._config
        events = SourceEvents(house.frame, house.cursor, self._fault)
        size = Size(config.display.width, config.display.height)
        fps, kbps = float(config.display.fps), config.bitrate_kbps
        encoder = as_choice(config.encoder)
        if config.display_kind == "wayland":
            if config.wayland_socket is None:
                raise SetupError("The configuration names no Wayland socket.")
            return WaylandSource(
                Path(config.wayland_socket),
                size,
                fps=fps,
                bitrate_kbps=kbps,
                encoder=encoder,
                events=events,
            )
        if config.x_display is None:
            raise SetupError("The configuration names no X display.")
        return X11Source(
            config.x_display, size, fps=fps, bitrate_kbps=kbps, encoder=encoder, events=events
        )

    async def _keep_house(self, house: House) -> None:
        try:
            await house.run()
        except SetupError as error:
            self._fault("capture-failed", error.detail)

    async def _await_picture(self, house: House, source: FrameSource) -> None:
        await source.wait_for_picture()
        try:
            with anyio.fail_after(CAPTURE_S):
                await house.capture_one()
        except TimeoutError:
            self._fault("capture-silent", "The display is drawn on, but no picture comes of it.")
            return
        self._line.first_picture()
        self._ready = True
        self._say(self._ready_message())
        log.info("picture.first", encoder=house.encoder.name if house.encoder else None)
        house.settle()

    def _ready_message(self) -> Message:
        house = self._house
        if house is None:
            return {"type": "ready"}
        size, encoder = house.source.size, house.encoder
        audio, audio_reason = house.sound
        return {
            "type": "ready",
            "width": size.width,
            "height": size.height,
            "encoder": encoder.name if encoder else None,
            "encoder_reason": encoder.reason if encoder else None,
            "audio": audio,
            "audio_reason": audio_reason,
        }

    async def _open_sound(self, house: House) -> None:
        if self._config.pulse_server is None:
            house.set_sound(self._config.audio_reason or "this host has no sound server")
            return
        await to_thread.run_sync(import_module, "downstage.media.audio")
        from downstage.media.audio import AudioCapture

        self._audio = AudioCapture(self._config.pulse_server, house.packet)
        reason = await self._audio.open()
        if reason is not None:
            log.warning("audio.unavailable", reason=reason)
        house.set_sound(reason)

    async def _report(self, house: House) -> None:
        """Tell the gateway how it goes, once a second while it changes."""
        frames = sent = 0
        at, last_input = time.monotonic(), house.tally.last_input
        while True:
            await anyio.sleep(STATUS_S)
            now = time.monotonic()
            total = sum(viewer.transport.stats().sent_bytes for viewer in house.viewers)
            status: Message = {
                "type": "status",
                "fps": round((house.tally.frames - frames) / (now - at)),
                "kbps": max(0, round((total - sent) * 8 / 1000 / (now - at))),
                "viewers": sum(viewer.transport.is_open for viewer in house.viewers),
                "last_input_s": None
                if house.tally.last_input is None
                else round(now - house.tally.last_input),
                "encoder": house.encoder.name if house.encoder else None,
                "width": house.source.size.width,
                "height": house.source.size.height,
            }
            frames, sent, at = house.tally.frames, total, now
            acted, last_input = house.tally.last_input != last_input, house.tally.last_input
            idle_only = {**status, "last_input_s": self._status.get("last_input_s")}
            if acted or idle_only != self._status:
                self._status = status
                self._say(status)

    async def _watch_signals(self, tasks: TaskGroup, *, task_status: TaskStatus[None]) -> None:
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        with anyio.open_signal_receiver(*numbers) as signals:
            task_status.started()
            async for number in signals:
                if number == signal.SIGHUP:
                    tasks.start_soon(self._adopt, tasks)
                else:
                    self._end("stopped")

    def _say(self, message: Message) -> None:
        if self._link is not None:
            self._link.send(message)

    def _fault(self, code: str, detail: str) -> None:
        log.warning("display.fault", error_code=code, detail=detail)
        self._say({"type": "fault", "code": code, "detail": detail})
        self._exit = 1
        self._end(code)

    def _end(self, reason: str) -> None:
        if not self._over.is_set():
            self._reason = reason
            self._over.set()


def load_config(path: Path) -> StreamerConfig:
    """Read the configuration; what is wrong with it is told without its content."""
    try:
        return StreamerConfig.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SetupError(f"{path} cannot be read as a streamer's configuration") from error


def leave(status: int) -> None:
    """End the process without waiting for library threads that may hang."""
    os._exit(status)


def report(error: PlatformError) -> int:
    """Log why the streamer could not start."""
    log.error("streamer.failed", error_code=error.code, detail=error.detail)
    return 1
