"""The viewer's pages and the headers that they need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from downstage.gateway.pages import Pages
from downstage.services.problems import install
from downstage.services.server import Server, open_port

pytestmark = [pytest.mark.real, pytest.mark.anyio]


@pytest.fixture
async def built(tmp_path: Path) -> Any:
    """A server of some built files, and how to ask it."""
    import aiohttp
    import anyio

    (tmp_path / "static" / "assets").mkdir(parents=True)
    (tmp_path / "static" / "index.html").write_text("<title>viewer</title>")
    (tmp_path / "static" / "assets" / "main-1a2b.js").write_text("start()")
    (tmp_path / "secret.txt").write_text("secret")
    app = FastAPI()
    install(app)
    app.include_router(Pages(tmp_path / "static").router())
    sock = open_port("127.0.0.1", 0)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    server = Server(app, [sock])
    async with anyio.create_task_group() as tasks, aiohttp.ClientSession() as http:
        tasks.start_soon(server.run)
        await server.wait_started()

        async def get(path: str) -> tuple[int, str, Any]:
            from yarl import URL

            async with http.get(URL(url + path, encoded=True)) as answer:
                return answer.status, await answer.text(), answer.headers

        yield get
        server.stop()


@pytest.mark.parametrize("path", ["/", "/index.html", "/webclient/", "/webclient/index.html?mic=0"])
async def test_the_page_comes_under_every_name(built: Any, path: str) -> None:
    status, text, headers = await built(path)
    assert (status, text) == (200, "<title>viewer</title>")
    assert headers["cache-control"] == "no-cache"
    policy = headers["content-security-policy"]
    for part in ("default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "ws: wss:"):
        assert part in policy
    assert "script-src" not in policy, "no inline scripts: default-src holds"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "fullscreen=(self)" in headers["permissions-policy"]


async def test_assets_are_kept_for_ever(built: Any) -> None:
    status, text, headers = await built("/assets/main-1a2b.js")
    assert (status, text) == (200, "start()")
    assert headers["content-type"].startswith("text/javascript")
    assert "immutable" in headers["cache-control"]


@pytest.mark.parametrize(
    "path",
    [
        "/assets/absent.js",
        "/assets/../../secret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/assets/%2e%2e/%2e%2e/secret.txt",
        "/assets//etc/passwd",
        "/assets/%00",
        "/assets/",
    ],
)
async def test_nothing_else_is_served(built: Any, path: str) -> None:
    status, text, _ = await built(path)
    assert status == 404
    assert "secret" not in text


async def test_an_unbuilt_tree_says_how_to_build(tmp_path: Path) -> None:
    answer = await Pages(tmp_path).index(None)  # pyright: ignore[reportArgumentType]
    assert answer.status_code == 503
    assert b"make web" in answer.body
