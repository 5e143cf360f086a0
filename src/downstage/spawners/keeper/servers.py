"""Display and sound of an instance: started side by side, each within its deadline."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from downstage.spawners.keeper import display, linux, sound
from downstage.spawners.keeper.children import Child
from downstage.spawners.keeper.loop import Deadlines, Lines, Loop

__all__ = ["DisplayServer", "SoundServer", "Spawn"]

DISPLAY_S = 10.0
SOUND_S = 3.0


class Spawn(Protocol):
    """Starts a child and puts it on record."""

    def __call__(
        self,
        name: str,
        command: list[str],
        environment: dict[str, str],
        *,
        output: Callable[[str], None] | None = None,
        pass_fds: tuple[int, ...] = (),
        death_signal: int = signal.SIGKILL,
    ) -> Child:
        """As `Children.spawn`."""
        ...


class DisplayServer:
    """Xvfb on a display of its own; `name` is that display while it is held."""

    def __init__(
        self, loop: Loop, deadlines: Deadlines, spawn: Spawn, log: Callable[[str], None]
    ) -> None:
        self._loop, self._deadlines, self._spawn, self._log = loop, deadlines, spawn, log
        self._on_ready: Callable[[], None] = lambda: None
        self.name: str | None = None
        self.is_ready = False

    def start(
        self,
        cookie: Path,
        screen: tuple[int, int],
        on_ready: Callable[[], None],
        on_failed: Callable[[str], None],
    ) -> None:
        """Reserve a display and start its server; one of the two calls follows."""
        self._on_ready = on_ready
        try:
            self.name = display.reserve()
        except OSError as error:
            on_failed(f"No display can be reserved: {error.strerror}.")
            return
        read, write = os.pipe()
        try:
            self._spawn(
                "display",
                display.command(self.name, write, cookie, screen),
                {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
                output=self._log,
                pass_fds=(write,),
                death_signal=signal.SIGTERM,
            )
        except OSError as error:
            os.close(read)
            on_failed(f"Xvfb cannot be started ({error.strerror}): apt install xvfb")
            return
        finally:
            os.close(write)
        Lines(self._loop, read, self._told)
        detail = f"Xvfb did not come up within {DISPLAY_S:.0f} s."
        self._deadlines.set("display", DISPLAY_S, lambda: on_failed(detail))

    def _told(self, line: str) -> None:
        if f":{line.strip()}" == self.name and not self.is_ready:
            self._deadlines.cancel("display")
            self.is_ready = True
            self._on_ready()

    def give_back(self) -> None:
        """The server has ended: its number may be taken again."""
        if self.name is not None:
            display.clean_display(self.name, os.getpid())


class SoundServer:
    """PulseAudio with one null sink; an instance without it has a picture all the same."""

    def __init__(
        self, loop: Loop, deadlines: Deadlines, spawn: Spawn, log: Callable[[str], None]
    ) -> None:
        self._loop, self._deadlines, self._spawn, self._log = loop, deadlines, spawn, log
        self._on_settled: Callable[[], None] = lambda: None
        self._child: Child | None = None
        self.is_settled = False
        self.socket: Path | None = None
        self.reason: str | None = None
        """Why there is no sound."""

    def start(self, folder: Path, on_settled: Callable[[], None], *, is_wanted: bool) -> None:
        """Start it in *folder*; *on_settled* is called once it is there or will not be."""
        self._on_settled = on_settled
        if not is_wanted:
            self.settle("Sound is switched off (media.audio).")
            return
        if shutil.which("pulseaudio") is None:
            self.settle("PulseAudio is not installed: apt install pulseaudio")
            return
        try:
            watch = linux.watch_for_new_files(folder)
        except OSError as error:
            self.settle(f"PulseAudio cannot be watched: {error.strerror}.")
            return
        self._loop.on_readable(watch, lambda: self._look(watch, folder / "native"))
        try:
            self._child = self._spawn(
                "sound",
                sound.command(sound.write_script(folder)),
                sound.environment(folder, os.environ.get("PATH", os.defpath)),
                output=self._log,
            )
        except OSError as error:
            self.settle(f"PulseAudio did not start: {error.strerror}.")
            return
        self._deadlines.set("sound", SOUND_S, self._is_late)

    def _look(self, watch: int, socket: Path) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(watch, 4096)
        if self.is_settled or socket.exists():
            self._loop.forget(watch)
            os.close(watch)
        if socket.exists() and not self.is_settled:
            self.socket = socket
            self.settle(None)

    def _is_late(self) -> None:
        if self._child is not None:
            self._child.signal(signal.SIGKILL)
        self.settle(f"PulseAudio did not come up within {SOUND_S:.0f} s.")

    def settle(self, reason: str | None) -> None:
        """It is there, or *reason* says why not; the first word counts."""
        if self.is_settled:
            return
        self.is_settled = True
        self.reason = reason
        self._deadlines.cancel("sound")
        if reason is not None:
            self._log(f"no sound: {reason}")
        self._on_settled()
