"""Mounted web servers: nginx as people run it, and servers that lead elsewhere."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest
from aiohttp import web

from downstage.content.limits import Limits
from downstage.content.model import Access, Caller, Flags
from downstage.content.mounts import web as mounted
from downstage.content.mounts.links import Rules
from downstage.content.mounts.web import GuardedSession, WebServer
from downstage.content.service import open_content
from downstage.kernel.clock import SystemClock
from downstage.kernel.errors import (
    Damaged,
    DeadlineExceeded,
    Forbidden,
    NotFound,
    NotSupported,
    PlatformError,
    Upstream,
    WrongType,
)
from downstage.kernel.net import Guard, system_resolver

pytestmark = [pytest.mark.real, pytest.mark.anyio]

ADA = Caller("u-0", "Ada", may=Access.READ | Access.WRITE | Access.ADMIN)
NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; {module}
events {{}}
http {{
  access_log off; client_body_temp_path {folder}/t; proxy_temp_path {folder}/t;
  fastcgi_temp_path {folder}/t; uwsgi_temp_path {folder}/t; scgi_temp_path {folder}/t;
  server {{
    listen 127.0.0.1:{port}; root {folder}/www;
    location / {{ dav_ext_methods PROPFIND OPTIONS; }}
    location /plain/ {{ alias {folder}/www/; }}
  }}
}}
"""
MODULE = Path("/usr/lib/nginx/modules/ngx_http_dav_ext_module.so")
BIG = bytes(range(256)) * 8000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def nginx() -> Iterator[str]:
    """A web server with a folder; its address."""
    import shutil
    import tempfile

    if shutil.which("nginx") is None or not MODULE.exists():
        pytest.skip("nginx with dav-ext is not installed")
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    folder.chmod(0o755)
    (folder / "www" / "sub folder").mkdir(parents=True)
    (folder / "www" / "a#1.usd").write_bytes(b"hello")
    (folder / "www" / "sub folder" / "big.bin").write_bytes(BIG)
    port = free_port()
    text = NGINX.format(folder=folder, port=port, module=f"load_module {MODULE};")
    (folder / "conf").write_text(text)
    process = subprocess.Popen(["nginx", "-c", str(folder / "conf"), "-e", str(folder / "e")])
    _wait(port)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(10)
    shutil.rmtree(folder, ignore_errors=True)


def _wait(port: int) -> None:
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    pytest.fail("nginx does not come up")


async def test_a_web_server_shows_in_the_tree(nginx: str, data: Path) -> None:
    limits = Limits(mounts=Rules(hosts=[nginx]))
    content = await open_content(data / "content", clock=SystemClock(), limits=limits)
    try:
        await content.mounts.mount(ADA, "/web", nginx + "/")
        page = await content.list(ADA, "/web")
        assert [(one.name, one.kind, one.size) for one in page.entries] == [
            ("a#1.usd", "file", 5),
            ("sub folder", "folder", 0),
        ]
        entry = await content.stat(ADA, "/web/sub folder/big.bin")
        assert (entry.size, entry.access) == (len(BIG), Access.READ)
        assert entry.flags & Flags.IS_INSIDE_MOUNT
        assert entry.etag
        assert entry.modified_at > 10**18
        async with await content.read(ADA, entry.path) as reading:
            assert b"".join([piece async for piece in reading.pieces()]) == BIG
            assert (
                b"".join([piece async for piece in reading.pieces(1000, 99_000)])
                == (BIG[1000:99_000])
            )
        for attempt in (
            lambda: content.stat(ADA, "/web/none"),
            lambda: content.list(ADA, "/web/none"),
        ):
            with pytest.raises(NotFound):
                await attempt()
        with pytest.raises(Forbidden):
            await content.write(ADA, "/web/a#1.usd", b"x")
        with pytest.raises(WrongType):
            await content.read(ADA, "/web")
    finally:
        await content.close()


async def test_without_webdav_there_are_files_but_no_listings(nginx: str) -> None:
    async with place(f"{nginx}/plain/", [nginx]) as server:
        assert (await server.stat(("a#1.usd",))).size == 5
        with pytest.raises(NotSupported):
            await server.list(())


class place:  # noqa: N801
    """A mounted web server, closed at the end."""

    def __init__(self, url: str, hosts: list[str], resolver: object = system_resolver) -> None:
        allowed = [host.partition("://")[2] for host in hosts]
        self._server = WebServer(url, GuardedSession(Guard(allowed, resolver=resolver)))  # type: ignore[arg-type]

    async def __aenter__(self) -> WebServer:
        return self._server

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()


REDIRECTS = {
    "/metadata": "http://169.254.169.254/latest/meta-data/",
    "/inner": "http://localhost:1/secret",
    "/mapped": "http://[::ffff:127.0.0.1]:1/secret",
    "/file": "file:///etc/passwd",
    "/loop": "/loop",
    "/moved": "/here",
}
STATUSES = {"/denied": 403, "/broken": 500}
LISTINGS = {
    "/bomb/": '<!DOCTYPE x [<!ENTITY a "aaaa">]><multistatus xmlns="DAV:">&a;</multistatus>',
    "/long/": "<" + "x" * 9_000_000,
    "/climb/": '<multistatus xmlns="DAV:">'
    + "".join(
        f"<response><href>{href}</href></response>"
        for href in ("/climb/", "/climb/../x", "/other/y", "/climb/a/b", "/climb/ok")
    )
    + "</multistatus>",
}


class Elsewhere:
    """A server that misbehaves, by path."""

    def __init__(self) -> None:
        self.asked = list[str]()
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.asked.append(path)
        if path in REDIRECTS:
            return web.Response(status=302, headers={"Location": REDIRECTS[path]})
        if path in LISTINGS:
            return web.Response(status=207, text=LISTINGS[path])
        if path == "/changes":
            return web.Response(body=b"data", headers={"ETag": f'"{len(self.asked)}"'})
        if path == "/nosize":
            return await self.begin(request, {"Transfer-Encoding": "chunked"})
        if path == "/silent":
            response = await self.begin(request, {"Content-Length": "100"})
            if request.method == "GET":
                await response.write(b"x" * 10)
                await anyio.sleep(30)
            return response
        return web.Response(status=STATUSES.get(path, 200), body=b"here")

    async def begin(self, request: web.Request, headers: dict[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        return response


@pytest.fixture
async def elsewhere() -> AsyncIterator[Elsewhere]:
    server = Elsewhere()
    async with AsyncExitStack() as stack:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", server.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        server.url = f"http://127.0.0.1:{port}"
        yield server


@pytest.mark.parametrize("name", ["metadata", "inner", "mapped"])
async def test_C05_redirects_inward_are_refused(elsewhere: Elsewhere, name: str) -> None:
    async with place(elsewhere.url, [elsewhere.url]) as server:
        with pytest.raises(Forbidden):
            await server.stat((name,))


async def test_C05_redirects_to_files_are_refused(elsewhere: Elsewhere) -> None:
    async with place(elsewhere.url, [elsewhere.url]) as server:
        with pytest.raises(PlatformError):
            await server.stat(("file",))


async def test_C05_this_machine_is_refused_unless_named(elsewhere: Elsewhere) -> None:
    for url in (elsewhere.url, elsewhere.url.replace("127.0.0.1", "localhost")):
        async with place(url, []) as server:
            with pytest.raises(Forbidden):
                await server.stat(("x",))
    assert elsewhere.asked == []


async def test_C05_a_name_that_changes_its_address_reaches_nothing(elsewhere: Elsewhere) -> None:
    """DNS rebinding: public when it is checked, this machine when it is connected to."""
    port = elsewhere.url.rpartition(":")[2]
    answers = [["8.8.8.8"], ["127.0.0.1"], ["127.0.0.1"]]

    async def rebinding(host: str, asked_port: int) -> Sequence[str]:
        assert (host, asked_port) == ("rebind.invalid", int(port))
        return answers.pop(0)

    async with place(f"http://rebind.invalid:{port}", [], rebinding) as server:
        with pytest.raises(Forbidden):
            await server.stat(("x",))
    assert elsewhere.asked == []


async def test_C05_the_last_look_is_at_the_address_itself(elsewhere: Elsewhere) -> None:
    """Even if a resolver gave an unchecked address, no socket is made for it."""
    session = GuardedSession(Guard())
    port = int(elsewhere.url.rpartition(":")[2])
    with pytest.raises(Forbidden):
        session._socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)))
    await session.close()


async def test_redirects_within_what_is_allowed_are_followed(elsewhere: Elsewhere) -> None:
    async with place(elsewhere.url, [elsewhere.url]) as server:
        assert (await server.stat(("moved",))).size == 4
        with pytest.raises(Upstream):
            await server.stat(("loop",))


async def test_answers_that_cannot_be_used(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    import aiohttp

    monkeypatch.setattr(mounted, "TIMEOUT", aiohttp.ClientTimeout(total=None, sock_read=0.2))
    async with place(elsewhere.url, [elsewhere.url]) as server:
        for name, error in (
            ("nosize", NotSupported),
            ("denied", Forbidden),
            ("broken", Upstream),
        ):
            with pytest.raises(error):
                await server.stat((name,))
        for name, error in (("bomb", Upstream), ("long", Upstream)):
            with pytest.raises(error):
                await server.list((name,))
        assert [one.name for one in await server.list(("climb",))] == ["ok"]
        for name, error in (("changes", Damaged), ("silent", DeadlineExceeded)):
            _, reading = await server.open((name,))
            with pytest.raises(error):
                async for _ in reading.pieces():
                    pass
        _, reading = await server.open(("here",))
        with pytest.raises(NotSupported):
            async for _ in reading.pieces(1, 3):
                pass


async def test_a_server_that_is_gone() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with place(url, [url]) as server:
        with pytest.raises(Upstream):
            await server.stat(("x",))
