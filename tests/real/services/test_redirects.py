"""Nobody is led to another site: no route redirects by what a caller says."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import anyio
import pytest

from downstage.kernel.settings import load
from downstage.services.book import book_of
from downstage.services.context import PlatformUrls
from downstage.services.host import ServiceHost
from downstage.services.server import Server, open_port

pytestmark = [pytest.mark.real, pytest.mark.anyio, pytest.mark.timeout(120)]

NAMES = "next redirect redirect_to redirect_uri return return_to returnUrl url goto continue target"
TARGETS = ["//evil.example", "/%5Cevil.example", "%2f%2fevil.example", "javascript:alert(1)"]
PATHS = [
    "//evil.example",
    "//evil.example/",
    "//evil.example/%2e%2e",
    "/\\evil.example/",
    "/%2f%2fevil.example/",
    "/%5Cevil.example/",
    "/%09/evil.example/",
    "/docs//evil.example/",
    "/webclient//evil.example/..",
    "/javascript:alert(1)/",
    "/v1/sessions/",
    "/v1/auth/me/",
]


@asynccontextmanager
async def public(data: Path) -> AsyncGenerator[tuple[ServiceHost, int]]:
    sock = open_port("127.0.0.1", 0)
    port = sock.getsockname()[1]
    urls = PlatformUrls(f"http://127.0.0.1:{port}", f"unix://{data}/link.sock")
    overrides: dict[str, object] = {"platform.data": data, "manager.isolation": "none"}
    services = ("identity", "content", "manager", "agent", "gateway")
    host = ServiceHost(load(environment={}, overrides=overrides), urls, services=services)
    async with host.run(), anyio.create_task_group() as tasks:
        server = Server(host.public_app, [sock])
        tasks.start_soon(server.run)
        await server.wait_started()
        yield host, port
        server.stop()


def answer(port: int, target: str, host: str) -> tuple[int, str | None]:
    """Status and Location, for a path that no client library would let through."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        head = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        sock.sendall(head.encode())
        received = b""
        while b"\r\n\r\n" not in received:
            piece = sock.recv(65536)
            if not piece:
                break
            received += piece
    found = re.search(rb"\r\n[Ll]ocation: ([^\r]*)\r\n", received)
    return int(received.split()[1]), found[1].decode() if found else None


async def test_A14_nobody_is_led_to_another_site(data: Path) -> None:
    async with public(data) as (host, port):
        own = f"127.0.0.1:{port}"
        known = {
            re.sub(r"\{[^}]*\}", "x", e.path) for e in book_of(host.public_app).dispatcher.index()
        }
        assert len(known) > 50
        asked = [(path, own) for path in PATHS]
        asked += [
            (path, "evil.example") for path in ["/", "/docs", "/webclient", "/files", "/admin"]
        ]
        asked += [(path, "evil.example") for path in ["/v1/sessions/", "/v1/auth/me/", "/docs/"]]
        for number, path in enumerate(sorted(known)):
            given = TARGETS[number % len(TARGETS)]
            asked.append((f"{path}?" + "&".join(f"{name}={given}" for name in NAMES.split()), own))
        led = dict[str, str]()

        def ask_all() -> None:
            for target, name in asked:
                if "/events" in target:
                    continue
                status, location = answer(port, target, name)
                assert status < 500, target
                if location is not None:
                    led[target] = location

        await anyio.to_thread.run_sync(ask_all)
        for target, location in led.items():
            assert "\\" not in location, (target, location)
            found = urlsplit(urljoin(f"http://{own}{target}", location))
            assert (found.scheme, found.netloc) == ("http", own), (target, location)
        assert "evil" not in str(sorted(led.values()))
