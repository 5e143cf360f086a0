"""``downstage instance …``: what runs, what it wrote, and a program inside it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import termios
import tty
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
from rich.console import Console
from rich.table import Table

from downstage.cli.fleet.desk import At, address
from downstage.kernel.errors import NotFound, Upstream

__all__ = ["execute", "list_instances", "show_logs"]

BASE = "/ams/1.0"
PIECE = 64 * 1024
PAGE = 200
FIRST_ERROR = 400


async def list_instances(at: At | None, *, with_ended: bool, as_json: bool) -> None:
    """Print instances, the newest first.

    Raises:
        Upstream: the server does not answer as it should, or refuses.
    """
    items = await _all(at, living=not with_ended)
    if as_json:
        print("\n".join(json.dumps(item) for item in items))
        return
    table = Table("instance", "name", "application", "state", "node", "tags", "note")
    for item in items:
        table.add_row(
            item["id"],
            item["name"] or "–",
            ":".join(str(word) for word in (item["application"], item["version"]) if word),
            item["state"],
            item["node"] or "–",
            ", ".join(item["tags"]),
            (item["detail"] or item["reason"] or "")[:80],
        )
    Console().print(table)


async def _all(at: At | None, *, living: bool) -> list[dict[str, Any]]:
    """Page by page, all that the caller may see."""
    items, query = list[dict[str, Any]](), {"limit": str(PAGE), "living": str(living).lower()}
    async with _server(at) as server:
        while True:
            page = await server.call("GET", f"/v1/instances?{urlencode(query)}")
            items += page["items"]
            if page.get("next") is None:
                return items
            query["after"] = page["next"]


async def show_logs(at: At | None, instance: str, log: str | None) -> None:
    """Print the end of a log, or the names of all.

    Raises:
        NotFound: no such log.
        Upstream: no such instance.
    """
    async with _server(at) as server:
        found = await server.call("GET", f"{BASE}/instances/{instance}")
        base = f"/v1/instances/{found['metadata']['id']}/logs"
        names = [item["name"] for item in (await server.call("GET", base))["items"]]
        if log is None:
            print("\n".join(names) or "It has written nothing.")
            return
        if log not in names:
            raise NotFound(f"There is no log {log}. There are: {', '.join(names) or 'none'}.")
        text = await server.text(f"{base}/{log}")
    sys.stdout.write(text)


async def execute(at: At | None, instance: str, command: list[str], *, with_tty: bool) -> int:
    """Run *command* inside; its exit code.

    Raises:
        Upstream: it cannot be run.
    """
    columns, rows = shutil.get_terminal_size()
    asked = {"command": command, "interactive": with_tty, "width": columns, "height": rows}
    async with _server(at) as server:
        begun = await server.call("POST", f"{BASE}/instances/{instance}/exec", asked)
        operation = f"{BASE}/operations/{begun['metadata']['id']}"
        async with _attached(server, operation, begun["metadata"]["metadata"]["fds"]) as streams:
            with _raw_terminal(active=with_tty):
                await _carry(streams, with_tty=with_tty)
        done = (await server.call("GET", f"{operation}/wait?timeout=10"))["metadata"]
    if done["status"] != "success":
        raise Upstream(done["err"] or "The program did not end well.")
    return int(done["metadata"]["return"])


@dataclass(frozen=True, slots=True)
class _Server:
    """The server that is meant, as its HTTP interface."""

    http: aiohttp.ClientSession
    url: str

    async def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        try:
            async with self.http.request(method, self.url + path, json=body) as answer:
                said: dict[str, Any] = await answer.json(content_type=None)
        except (aiohttp.ClientError, ValueError) as error:
            raise Upstream(f"{self.url} does not answer as it should: {error}") from error
        if said.get("type") == "error" or answer.status >= FIRST_ERROR:
            raise Upstream(str(said.get("error") or said.get("detail")))
        return said

    async def text(self, path: str) -> str:
        async with self.http.get(self.url + path) as answer:
            return (await answer.read()).decode(errors="replace")


@asynccontextmanager
async def _server(at: At | None) -> AsyncGenerator[_Server]:
    url, token = address(at)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        yield _Server(http, url)


@asynccontextmanager
async def _attached(
    server: _Server, operation: str, secrets: dict[str, str]
) -> AsyncGenerator[dict[str, aiohttp.ClientWebSocketResponse]]:
    streams = dict[str, aiohttp.ClientWebSocketResponse]()
    base = f"{server.url.replace('http', 'ws', 1)}{operation}/websocket?secret="
    try:
        for name, secret in secrets.items():
            streams[name] = await server.http.ws_connect(base + secret, max_msg_size=1 << 22)
        yield streams
    finally:
        for stream in streams.values():
            await stream.close()


async def _carry(streams: dict[str, aiohttp.ClientWebSocketResponse], *, with_tty: bool) -> None:
    """Bytes both ways until the program has ended."""
    outputs = [(streams["0"], sys.stdout)] if with_tty else []
    outputs += [(streams[n], f) for n, f in (("1", sys.stdout), ("2", sys.stderr)) if n in streams]
    writing = [asyncio.create_task(_write(socket, file.buffer)) for socket, file in outputs]
    reading = asyncio.create_task(_read(streams["0"]))
    loop = asyncio.get_running_loop()
    sizes = set[asyncio.Task[None]]()

    def resized() -> None:
        task = asyncio.create_task(_tell_size(streams["control"]))
        sizes.add(task)
        task.add_done_callback(sizes.discard)

    if with_tty:
        loop.add_signal_handler(signal.SIGWINCH, resized)
    try:
        await asyncio.gather(*writing)
    finally:
        reading.cancel()
        if with_tty:
            loop.remove_signal_handler(signal.SIGWINCH)


async def _write(socket: aiohttp.ClientWebSocketResponse, file: Any) -> None:
    async for message in socket:
        if message.type is aiohttp.WSMsgType.BINARY:
            file.write(message.data)
            file.flush()


async def _read(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Standard input, until its end."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    try:
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    except (ValueError, OSError):
        await socket.send_str("")  # a file: it has no end to wait for
        return
    while piece := await reader.read(PIECE):
        await socket.send_bytes(piece)
    await socket.send_str("")


async def _tell_size(socket: aiohttp.ClientWebSocketResponse) -> None:
    columns, rows = shutil.get_terminal_size()
    size = {"width": columns, "height": rows}
    await socket.send_json({"command": "window-resize", "args": size})


@contextmanager
def _raw_terminal(*, active: bool) -> Generator[None]:
    """Keys go as they are to the program, and ours comes back as it was."""
    if not active or not os.isatty(sys.stdin.fileno()):
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
