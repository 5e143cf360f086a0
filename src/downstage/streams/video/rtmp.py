"""RTMP publishers: each shows a stream key, several at once where nginx takes them.

``rtmp://host:1935/live/<stream>?key=<key>``, or, as OBS has it, server ``rtmp://host:1935/live``
and the key alone as the stream's name. nginx asks us about each publisher over a unix socket; one
that is let in is published under a name nobody can guess, from which we read it.

Without nginx's module FFmpeg's own listener takes one publisher at a time, on loopback alone.
"""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
from aiohttp import web

from downstage.kernel.errors import PlatformError
from downstage.kernel.logging import get_logger
from downstage.streams.service import Streams
from downstage.streams.video.feeding import Feed
from downstage.streams.video.keys import KeyView, StreamKeys
from downstage.streams.video.nginx import Nginx, NginxFound

__all__ = ["Rtmp"]

log = get_logger(__name__)

MOST = 32
"""Publishers at once."""
LONGEST_PATH = 100
"""Of a unix socket, with room for what nginx puts around it."""
LISTEN_PAUSE_S = 0.2
REFUSED = 403


@dataclass(slots=True)
class _Publisher:
    key: KeyView
    name: str
    """Under which it is published; a secret between nginx and us."""
    feed: Feed
    stop: Callable[[], None] = field(default=lambda: None)


class Rtmp:
    """Takes publishers.

    Args:
        streams: where their pictures and sound go.
        keys: of streams.
        folder: private, for nginx.
        host: where to listen.
        port: where to listen.
        start: ``start(function, *arguments, name=…)``: a task of the service.
    """

    def __init__(
        self,
        streams: Streams,
        keys: StreamKeys,
        folder: Path,
        *,
        host: str,
        port: int,
        start: Callable[..., Any],
    ) -> None:
        self._streams, self._keys, self._folder = streams, keys, folder
        self._host, self._start = host, start
        self.port = port or _free_port(host)
        self._publishers: dict[str, _Publisher] = {}
        """By nginx's number of their connection."""
        self.refused = Counter[str]()
        self.nginx: Nginx | None = None

    @property
    def live(self) -> list[KeyView]:
        """The keys whose publishers are on air."""
        return [publisher.key for publisher in self._publishers.values()]

    def cut_off(self, key: KeyView) -> None:
        """End whoever published with *key*."""
        for number, publisher in list(self._publishers.items()):
            if publisher.key.id == key.id:
                del self._publishers[number]
                publisher.stop()
                publisher.feed.end()

    # With nginx

    async def run_nginx(self, found: NginxFound) -> None:
        """Serve by nginx until cancelled."""
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        callback = self._callback_path()
        try:
            await _listen(runner, callback)
            self.nginx = Nginx(found, self._folder, callback, self._host, self.port)
            await self.nginx.run()
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                for publisher in list(self._publishers.values()):
                    publisher.stop()
                    publisher.feed.end()
                await runner.cleanup()
            callback.unlink(missing_ok=True)
            if callback.parent != self._folder:
                callback.parent.rmdir()

    def _callback_path(self) -> Path:
        path = self._folder / "ask.sock"
        if len(os.fsencode(path)) > LONGEST_PATH:
            path = Path(tempfile.mkdtemp(prefix="ds-rtmp-")) / "ask.sock"
        return path

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=16 << 10)
        application.router.add_post("/publish", self._on_publish)
        application.router.add_post("/done", self._on_done)
        application.router.add_post("/play", self._on_play)
        return application

    async def _on_publish(self, request: web.Request) -> web.Response:
        form = await request.post()
        name, secret = str(form.get("name", "")), str(form.get("key", ""))
        number, address = str(form.get("clientid", "")), str(form.get("addr", ""))
        try:
            key = await self._admit(name, secret)
        except PlatformError as error:
            self._refuse("unavailable", address)
            return web.Response(status=error.status)
        if key is None:
            self._refuse("key", address)
            return web.Response(status=REFUSED)
        if len(self._publishers) >= MOST or self._is_live(key):
            self._refuse("taken", address)
            return web.Response(status=REFUSED)
        feed = Feed(self._streams, key.tenant, key.stream, key.wanted)
        publisher = _Publisher(key, f"p-{secrets.token_urlsafe(18)}", feed)
        self._publishers[number] = publisher
        self._start(self._take, number, publisher, name=f"rtmp.{key.stream}")
        # Under another name nobody else can play it, or publish in its place.
        return web.Response(status=302, headers={"Location": publisher.name})

    async def _on_done(self, request: web.Request) -> web.Response:
        form = await request.post()
        publisher = self._publishers.pop(str(form.get("clientid", "")), None)
        if publisher is not None:
            publisher.stop()
            publisher.feed.end()
        return web.Response()

    async def _on_play(self, request: web.Request) -> web.Response:
        form = await request.post()
        name = str(form.get("name", "")).encode("utf-8", "replace")
        published = (publisher.name.encode() for publisher in self._publishers.values())
        known = any(secrets.compare_digest(one, name) for one in published)
        return web.Response(status=200 if known else REFUSED)

    async def _take(self, number: str, publisher: _Publisher) -> None:
        from downstage.media.ingest import Ingest

        key = publisher.key
        host = self._host if self._host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104
        shown = f"[{host}]" if ":" in host else host
        url = f"rtmp://{shown}:{self.port}/live/{publisher.name}"
        wanted: Any = key.wanted
        ingest = Ingest(
            url, {"rtmp_live": "live"}, publisher.feed.events, wanted=wanted, max_fps=key.max_fps
        )
        publisher.stop = ingest.stop
        ingest.start(f"rtmp.{key.stream}")
        log.info("rtmp.published", stream=key.stream, key_id=key.id)
        try:
            error = await publisher.feed.run()
        except PlatformError as failed:
            error = failed
        finally:
            ingest.stop()
            if self._publishers.get(number) is publisher:
                del self._publishers[number]
        if error is not None:
            log.warning("rtmp.failed", stream=key.stream, error_code=error.code)
        log.info("rtmp.ended", stream=key.stream, entries=publisher.feed.entries)

    # Without

    async def run_listener(self) -> None:
        """Serve one publisher at a time by FFmpeg's own listener, until cancelled."""
        while True:
            publisher = await self._listen_once()
            if publisher is None:
                await anyio.sleep(LISTEN_PAUSE_S)

    async def _listen_once(self) -> _Publisher | None:
        from downstage.media.ingest import IngestEvents, Listener

        taken, over = list[_Publisher](), anyio.Event()
        token = anyio.lowlevel.current_token()

        def admit(asked: str) -> bool:
            return anyio.from_thread.run(self._admit_asked, asked, taken, token=token)

        def of(feed: Callable[[IngestEvents], Any]) -> Callable[..., None]:
            return lambda *given: feed(taken[0].feed.events)(*given) if taken else None

        def ended(error: PlatformError | None) -> None:
            if taken:
                taken[0].feed.events.ended(error)
            with suppress(RuntimeError):
                anyio.from_thread.run_sync(over.set, token=token)

        events = IngestEvents(
            of(lambda e: e.started), of(lambda e: e.video), of(lambda e: e.audio), ended
        )
        listener = Listener(f"rtmp://127.0.0.1:{self.port}/live/-", {}, events, admit)
        listener.start("rtmp.listener")
        try:
            await over.wait()
        finally:
            listener.stop()
            with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                await self._wake_listener(over)
        return taken[0] if taken else None

    async def _wake_listener(self, over: anyio.Event) -> None:
        """FFmpeg waits for a publisher and for nothing else: be one, and hang up."""
        if not over.is_set():
            with suppress(OSError):
                await (await anyio.connect_tcp("127.0.0.1", self.port)).aclose()
            await over.wait()

    async def _admit_asked(self, asked: str, taken: list[_Publisher]) -> bool:
        name, _, query = asked.partition("?")
        secret = next((v for k, _, v in _pairs(query) if k == "key"), "")
        key = await self._admit(name, secret)
        if key is None or key.wanted != "video":
            self._refuse("key", "127.0.0.1")
            return False
        publisher = _Publisher(key, name, Feed(self._streams, key.tenant, key.stream, key.wanted))
        taken.append(publisher)
        self._publishers["listener"] = publisher
        self._start(self._follow, publisher, name=f"rtmp.{key.stream}")
        return True

    async def _follow(self, publisher: _Publisher) -> None:
        try:
            await publisher.feed.run()
        finally:
            self._publishers.pop("listener", None)

    # Both

    async def _admit(self, name: str, secret: str) -> KeyView | None:
        """The key that counts: the one shown for this stream, or the name itself (OBS)."""
        if secret:
            key = await self._keys.find(secret)
            return key if key is not None and key.stream == name else None
        return await self._keys.find(name)

    def _is_live(self, key: KeyView) -> bool:
        return any((k.tenant, k.stream) == (key.tenant, key.stream) for k in self.live)

    def _refuse(self, cause: str, address: str) -> None:
        self.refused[cause] += 1
        log.warning("rtmp.refused", cause=cause, address=address)


def _pairs(query: str) -> list[tuple[str, str, str]]:
    return [item.partition("=") for item in query.split("&")]


async def _listen(runner: web.AppRunner, path: Path) -> None:
    _clear(path)
    before = os.umask(0o177)
    try:
        await web.UnixSite(runner, str(path)).start()
    finally:
        os.umask(before)


def _clear(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
