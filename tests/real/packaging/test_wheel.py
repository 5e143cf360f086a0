"""The package as a stranger gets it: built, installed into an empty environment, run."""

from __future__ import annotations

import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import aiohttp
import anyio
import pytest

import downstage
from downstage.contracts.streamer import KEY_FRAME, MEDIA_HEADER, VIDEO

pytestmark = [pytest.mark.real, pytest.mark.anyio, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[3]
NEEDED = (
    "downstage/gateway/static/index.html",
    "downstage/apps/test_card/application.toml",
    "downstage/apps/usd_viewer/application.toml",
    "downstage/py.typed",
)
ENVIRONMENT = {
    key: value
    for key, value in os.environ.items()
    if key not in {"VIRTUAL_ENV", "PYTHONPATH", "UV_PROJECT_ENVIRONMENT"}
}
LINK = re.compile(r"(http://127\.0\.0\.1:\d+)(/\S*)#join=(\S+)")
SIGN_IN = re.compile(r"sign in as (\S+) with password (\S+)")
START_S = 60.0


def find_uv() -> str:
    """The project's own uv, else the machine's."""
    own = ROOT / ".venv" / "bin" / "uv"
    found = str(own) if own.exists() else shutil.which("uv")
    assert found, "no uv: run make test, or put uv on the PATH"
    return found


def uv(*arguments: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run uv; its output is the caller's to judge."""
    return subprocess.run(
        [find_uv(), *arguments],
        cwd=cwd,
        env={**ENVIRONMENT, **variables},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built by way of the source archive, as for a release."""
    out = tmp_path_factory.mktemp("dist")
    built = uv("build", "--out-dir", str(out))
    assert built.returncode == 0, built.stderr
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and what it demands, at the locked versions, no extra."""
    place = tmp_path_factory.mktemp("env") / "venv"
    synced = uv(
        *("sync", "--locked", "--no-default-groups", "--no-install-project"),
        UV_PROJECT_ENVIRONMENT=str(place),
    )
    assert synced.returncode == 0, synced.stderr
    added = uv("pip", "install", "--python", str(place / "bin" / "python"), "--no-deps", str(wheel))
    assert added.returncode == 0, added.stderr
    return place


def test_the_wheel_holds_the_viewer_and_the_applications(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert not [name for name in NEEDED if name not in names]
    assert any(re.fullmatch(r"downstage/gateway/static/assets/.+\.js", name) for name in names)
    assert not [name for name in names if name.startswith(("tests/", "web/", "tools/"))]


def test_a_package_without_the_viewer_is_refused(data: Path) -> None:
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / name, data / name)
    (data / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "build_hook.py", data / "tools")
    (data / "src" / "downstage").mkdir(parents=True)
    shutil.copy(ROOT / "src" / "downstage" / "__init__.py", data / "src" / "downstage")
    built = uv("build", "--wheel", cwd=data)
    assert built.returncode != 0
    assert "The built viewer is missing" in built.stderr
    assert "make setup" in built.stderr


def test_the_installed_command_tells_its_version(installed: Path, data: Path) -> None:
    said = subprocess.run(
        [str(installed / "bin" / "downstage"), "--version"],
        cwd=data,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert said.stdout.strip() == downstage.__version__


class Demo:
    """``downstage up --demo`` of the installed wheel, in a folder that is not the project's."""

    def __init__(self, installed: Path, folder: Path) -> None:
        self.process = subprocess.Popen(
            [
                *(str(installed / "bin" / "downstage"), "up", "--demo"),
                *("--port", "0", "--operator-port", "0", "--data", str(folder / "data")),
            ],
            cwd=folder,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        self.said = read_until(self.process.stderr, "Ctrl-C ends everything.")

    def close(self) -> int:
        """Ctrl-C; the exit status."""
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(10)
        finally:
            if self.process.returncode is None:
                self.process.kill()
                self.process.wait()
            assert self.process.stderr is not None
            self.process.stderr.close()


def read_until(stream: IO[str], words: str) -> str:
    """What *stream* says up to *words*, or up to its end or the deadline."""
    text, end = "", time.monotonic() + START_S
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while words not in text and selector.select(max(0.0, end - time.monotonic())):
            line = os.read(stream.fileno(), 65536).decode()
            if not line:
                break
            text += line
    return text


@pytest.fixture
def demo(installed: Path, data: Path) -> Iterator[Demo]:
    running = Demo(installed, data)
    try:
        yield running
    finally:
        running.close()


def post(url: str, body: dict[str, Any], token: str | None = None) -> Any:
    """One JSON request."""
    headers = {"content-type": "application/json"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(url, data=data, headers=headers)
    with urllib.request.urlopen(request, timeout=15) as answer:
        return json.load(answer)


async def first_key_frame(url: str, session_id: str, ticket: str) -> bytes:
    """The first key frame that the media socket brings."""
    address = f"{url.replace('http', 'ws', 1)}/v1/sessions/{session_id}/media"
    protocols = ("downstage.v1", f"downstage.ticket.{ticket}")
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(
            address, protocols=protocols, origin=url, max_msg_size=8 * 1024 * 1024
        ) as socket,
    ):
        with anyio.fail_after(15):
            async for message in socket:
                if message.type is aiohttp.WSMsgType.BINARY:
                    kind, flags, *_ = MEDIA_HEADER.unpack_from(message.data)
                    if kind == VIDEO and flags & KEY_FRAME:
                        return bytes(message.data[MEDIA_HEADER.size :])
    raise AssertionError("the media socket closed before a key frame came")


async def ready_session(url: str, token: str) -> dict[str, Any]:
    """The demo's session, once its first picture is there: the link is told before."""
    with anyio.fail_after(30):
        while True:
            (session,) = post(f"{url}/v1/sessions", {}, token)["items"]
            if session["state"] not in ("queued", "starting"):
                assert session["state"] == "ready"
                return session
            await anyio.sleep(0.2)


async def test_without_the_demo_extra_the_test_card_is_streamed(demo: Demo) -> None:
    """The demo runs all the same, and says how to get the rest."""
    assert "pip install 'downstage[demo]'" in demo.said, demo.said
    link, sign_in = LINK.search(demo.said), SIGN_IN.search(demo.said)
    assert link, demo.said
    assert sign_in, demo.said
    url = link[1]
    answer = post(f"{url}/v1/auth/login", {"username": sign_in[1], "password": sign_in[2]})
    session = await ready_session(url, answer["token"])
    assert session["application"] == "test-card"

    seat = post(f"{url}/v1/sessions/{session['id']}/seat", {"code": link[3]})
    picture = await first_key_frame(url, session["id"], seat["media_ticket"])
    assert picture.startswith((b"\0\0\0\1", b"\0\0\1")), "no H.264 byte stream"

    assert demo.close() == 0
