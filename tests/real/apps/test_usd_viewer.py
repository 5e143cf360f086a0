"""The viewer on a real display, with the real usd-core and VTK."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from downstage.apps.usd_viewer.problem import StageProblem
from downstage.apps.usd_viewer.source import fetch_stage, parse_source

pytestmark = [pytest.mark.real, pytest.mark.anyio, pytest.mark.timeout(120)]

CUBE = """#usda 1.0
(
    upAxis = "Z"
)
def Cube "Box"
{
    color3f[] primvars:displayColor = [(0.05, 0.5, 0.1)]
}
"""
ACCENT = np.array([255, 179, 71])


@pytest.fixture
def cube(tmp_path: Path) -> Path:
    path = tmp_path / "cube.usda"
    path.write_text(CUBE)
    return path


def greens(picture: np.ndarray) -> int:
    """How many pixels show the box."""
    red, green = picture[:, :, 0].astype(int), picture[:, :, 1].astype(int)
    return int((green > red + 30).sum())


def accents(picture: np.ndarray) -> int:
    return int((np.abs(picture.astype(int) - ACCENT).sum(axis=2) < 60).sum())


async def test_the_demo_plays_and_pauses_into_sleep(desk) -> None:
    async with desk("usd_viewer") as viewer:
        await viewer.until(lambda: "theatre" in viewer.title(), within_s=40)
        await viewer.until(lambda: len(np.unique(viewer.look().reshape(-1, 3), axis=0)) > 2000)
        first = viewer.look()[60:300]
        await viewer.until(lambda: (viewer.look()[60:300] != first).any(axis=2).mean() > 0.02)
        viewer.type("space")
        await viewer.until(viewer.rests, within_s=40)
        still = viewer.look()
        assert (viewer.look() == still).all()
        viewer.type("Right")
        await viewer.until(lambda: not np.array_equal(viewer.look(), still))


async def test_orbit_zoom_select_and_reset(desk, cube: Path) -> None:
    async with desk("usd_viewer", str(cube)) as viewer:
        await viewer.until(lambda: greens(viewer.look()) > 500, within_s=40)
        await viewer.until(viewer.rests, within_s=40)
        home = viewer.look()
        viewer.drag((320, 180), (420, 200))
        await viewer.until(lambda: (viewer.look() != home).any(axis=2).mean() > 0.02)
        size = greens(viewer.look())
        for _ in range(3):
            viewer.press(320, 180, button=5)
        await viewer.until(lambda: greens(viewer.look()) < size * 0.7)
        before = accents(viewer.look())
        viewer.press(320, 180)
        await viewer.until(lambda: accents(viewer.look()) > before + 100)
        viewer.type("r")
        await viewer.until(lambda: _same(viewer.look(), home), within_s=40)


async def test_it_follows_the_display(desk, cube: Path) -> None:
    async with desk("usd_viewer", str(cube), screen="800x600") as viewer:
        await viewer.until(lambda: greens(viewer.look()) > 500, within_s=40)
        viewer.resize(400, 300)
        await viewer.until(lambda: viewer.look().shape[:2] == (300, 400))
        await viewer.until(lambda: _is_in_the_middle(viewer.look()))


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("/no/such/stage.usda", "no such file"),
        ("omniverse://127.0.0.1:9/stage.usd", "does not answer"),
        ("broken", "cannot be opened"),
    ],
)
async def test_a_bad_stage_is_told_on_the_picture(
    desk, tmp_path: Path, argument: str, words: str
) -> None:
    if argument == "broken":
        broken = tmp_path / "broken.usda"
        broken.write_text("#usda 1.0\ndef Mesh {")
        argument = str(broken)
    async with desk("usd_viewer", argument) as viewer:
        await viewer.until(lambda: words in viewer.title(), within_s=40)
        await viewer.until(lambda: accents(viewer.look()) > 50)
        await viewer.until(viewer.rests)


class _Content(BaseHTTPRequestHandler):
    """Serves one stage, for one token, and misbehaves on request."""

    asked: list[tuple[str, str | None]]
    other: str

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization")))
        if self.path.startswith("/away"):
            self.send_response(302)
            self.send_header("Location", self.other)
            self.end_headers()
            return
        if self.headers.get("Authorization") != "Bearer a-token" and "open" not in self.path:
            self.send_error(403)
            return
        body = CUBE.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def content():
    """Two servers on loopback; the first is the content host."""
    servers = []
    for _ in range(2):
        handler = type("Handler", (_Content,), {"asked": [], "other": ""})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = False
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        servers.append((server, handler, thread))
    yield [(f"127.0.0.1:{server.server_port}", handler) for server, handler, _ in servers]
    for server, _, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def token(content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    file = tmp_path / "token"
    file.write_text("a-token")
    variables = {"DOWNSTAGE_TOKEN_FILE": str(file), "DOWNSTAGE_CONTENT_HOST": content[0][0]}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


async def test_a_stage_comes_over_http_with_the_token(desk, content, token) -> None:
    host, handler = content[0]
    async with desk("usd_viewer", f"http://{host}/a/cube.usda", environment=token) as viewer:
        await viewer.until(lambda: greens(viewer.look()) > 500, within_s=40)
    assert handler.asked == [("/a/cube.usda", "Bearer a-token")]


@pytest.mark.usefixtures("token")
def test_a_redirect_does_not_carry_the_token_away(content, tmp_path: Path) -> None:
    (host, handler), (other, elsewhere) = content
    handler.other = f"http://{other}/open/cube.usda"
    fetch_stage(parse_source(f"http://{host}/away/cube.usda"), tmp_path)
    assert elsewhere.asked == [("/open/cube.usda", None)]


def test_a_refused_download_says_so(content, tmp_path: Path) -> None:
    with pytest.raises(StageProblem, match="may not read"):
        fetch_stage(parse_source(f"http://{content[0][0]}/a.usda"), tmp_path)


def test_a_download_that_is_too_large_or_too_slow_ends(content, tmp_path: Path) -> None:
    source = parse_source(f"http://{content[0][0]}/open/a.usda")
    with pytest.raises(StageProblem, match="larger"):
        fetch_stage(source, tmp_path, limit=20)
    with pytest.raises(StageProblem, match="could not be downloaded"):
        fetch_stage(source, tmp_path, deadline_s=-1)


def _is_in_the_middle(picture: np.ndarray) -> bool:
    red, green = picture[:, :, 0].astype(int), picture[:, :, 1].astype(int)
    box = np.argwhere(green > red + 30)
    middle = np.array(picture.shape[:2]) / 2
    return len(box) > 100 and bool((np.abs(box.mean(axis=0) - middle) < middle * 0.15).all())


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and bool((one == other).all(axis=2).mean() > 0.995)
