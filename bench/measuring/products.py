"""The two products that are measured: started, asked for a page, ended. Same card, same machine."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from downstage.testing.platform import PlatformProcess
from measuring.cpu import descendants, matching
from measuring.measure import Page

__all__ = ["Cell", "Downstage", "Selkies"]

CARD_ENVIRONMENT = {"SDL_FRAMEBUFFER_ACCELERATION": "0", "SDL_VIDEODRIVER": "x11"}
"""The card's environment is the same for both products: presenting through llvmpipe costs 8 ms."""

LOOPBACK = "127.0.0.1"
ENVIRONMENT = {"DOWNSTAGE_GATEWAY__IDLE_LEASE": "3600", "DOWNSTAGE_MEDIA__AUDIO": "false"}
"""Neither product captures sound here: the peer has no sound server in this arrangement."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One thing to measure."""

    width: int
    height: int
    fps: int
    transport: str
    """``websocket`` or ``webrtc``."""
    still: bool = False

    @property
    def name(self) -> str:
        """For tables: ``720p60 webrtc``."""
        return f"{self.height}p{self.fps} {self.transport}{' still' if self.still else ''}"


def _elsewhere(host: str) -> list[str]:
    """Options for an address that others reach: as behind a proxy that does TLS."""
    return ["--host", host, "--behind-proxy", "192.0.2.0/24"]


class Downstage:
    """Our platform with one session of the test card."""

    name = "downstage"

    def __init__(self, cell: Cell, host: str = LOOPBACK) -> None:
        self._cell = cell
        self._folder = Path(tempfile.mkdtemp(prefix="ds-"))
        options = ["--demo"] if host == LOOPBACK else _elsewhere(host)
        self._platform = PlatformProcess(self._folder / "data", *options, environment=ENVIRONMENT)

    def __enter__(self) -> Self:
        self._platform.start()
        for session in self._platform.call("GET", "/v1/sessions").body["items"]:
            self._platform.call("DELETE", f"/v1/sessions/{session['id']}")
        arguments = ["--fps", str(self._cell.fps), *(["--still"] if self._cell.still else [])]
        display = {"width": self._cell.width, "height": self._cell.height, "fps": 60}
        self._session = self._platform.create("test-card", arguments=arguments, display=display)
        return self

    def __exit__(self, *_: object) -> None:
        self._platform.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def page(self) -> Page:
        """A new link into the session; the picture is as large as the page."""
        size = f"{self._cell.width}x{self._cell.height}"
        url = self._platform.link(
            self._session["id"], transport=self._cell.transport, resolution=size
        )
        every = set(self._platform.processes())
        groups = {
            "card": matching("downstage.apps.test_card", every),
            "xvfb": matching("Xvfb", every),
            "server": every,
        }
        return Page(url, (self._cell.width, self._cell.height), groups)


class Selkies:
    """Selkies' own application on an Xvfb with the same card, started as its documentation says."""

    name = "selkies"

    def __init__(self, cell: Cell, host: str = LOOPBACK) -> None:
        self._cell, self._host = cell, host
        self._home = Path(tempfile.mkdtemp(prefix="sk-"))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._port = 20000 + secrets.randbelow(20000)

    def __enter__(self) -> Self:
        display = self._start_display()
        environment = {
            **os.environ,
            **CARD_ENVIRONMENT,
            "DISPLAY": display,
            "HOME": str(self._home),
            "XDG_RUNTIME_DIR": str(self._home),
        }
        size = f"{self._cell.width}x{self._cell.height}"
        card = [sys.executable, "-m", "downstage.apps.test_card", "--size", size]
        card += ["--fps", str(self._cell.fps), *(["--still"] if self._cell.still else [])]
        self._card = self._spawn(card, environment)
        self._server = self._spawn(self._command(), environment)
        self._wait_port()
        return self

    def _command(self) -> list[str]:
        mode = "webrtc" if self._cell.transport == "webrtc" else "websockets"
        program = shutil.which("selkies", path=str(Path(sys.executable).parent)) or "selkies"
        # Its own parts look for it at localhost, whatever the address: elsewhere means everywhere.
        address = self._host if self._host == LOOPBACK else "0.0.0.0"
        command = [program, f"--addr={address}", f"--port={self._port}", f"--mode={mode}"]
        command += ["--enable-https=false", "--enable-basic-auth=false", "--audio-enabled=false"]
        command += ["--microphone-enabled=false", "--gamepad-enabled=false", "--encoder=h264"]
        command += ["--use-cpu=true", "--rate-control-mode=cbr", "--video-bitrate=8000"]
        command += [f"--framerate={self._cell.fps}", "--manual-resolution=true"]
        command += [f"--manual-width={self._cell.width}", f"--manual-height={self._cell.height}"]
        # Its default STUN server would cost it 5 s where it cannot be reached: none is fair.
        empty = self._home / "rtc.json"
        empty.write_text('{"lifetimeDuration":"86400s","iceServers":[],"iceTransportPolicy":"all"}')
        return [*command, f"--rtc-config-json={empty}"]

    def _start_display(self) -> str:
        read, write = os.pipe()
        command = ["Xvfb", "-displayfd", str(write), "-nolisten", "tcp"]
        command += ["-screen", "0", f"{self._cell.width}x{self._cell.height}x24"]
        process = subprocess.Popen(
            command, pass_fds=(write,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(write)
        self._processes.append(process)
        with os.fdopen(read) as pipe:
            self._display_process = process
            return ":" + pipe.readline().strip()

    def _spawn(self, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        log = (self._home / f"{Path(command[0]).name}.log").open("w")
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        self._processes.append(process)
        return process

    def _wait_port(self) -> None:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(f"http://{self._host}:{self._port}/", timeout=1).close()
            except OSError:
                time.sleep(0.1)
            else:
                time.sleep(2)
                return
        raise RuntimeError(
            "selkies did not listen: " + (self._home / "selkies.log").read_text()[-500:]
        )

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            for pid in descendants({process.pid}):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            process.wait()
        shutil.rmtree(self._home, ignore_errors=True)

    def page(self) -> Page:
        """Its own page."""
        groups = {
            "card": {self._card.pid},
            "xvfb": {self._display_process.pid},
            "server": {self._server.pid},
        }
        return Page(
            f"http://{self._host}:{self._port}/", (self._cell.width, self._cell.height), groups
        )
