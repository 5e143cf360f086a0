"""The life of one instance: display and sound, streamer, application; then the end of all.

::

    placed → display ─┐
             sound  ──┴→ streamer ─DISPLAY-READY→ application ─FIRST-PICTURE→ running
                                        any of it, a request, a deadline ─→ ending → ended

The first reason to end is the one that counts. Application and streamer are asked to end
together; display and sound go when both are gone; whatever else is left below us goes last.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import resource
import shutil
import signal
from pathlib import Path
from typing import Any

from downstage.spawners.keeper import display, linux, sandbox, sound
from downstage.spawners.keeper.children import Child, Children
from downstage.spawners.keeper.control import Control
from downstage.spawners.keeper.loop import Lines, Loop, Timer
from downstage.spawners.keeper.output import Output
from downstage.spawners.plan import Plan, Report, Stage, write_private

__all__ = ["Life"]

DISPLAY_S = 10.0
SOUND_S = 3.0
STREAMER_S = 20.0
RESTARTS = 5
RESTART_WINDOW_S = 60.0
STREAMER_GRACE_S = 1.5
SERVER_GRACE_S = 1.0
SWEEP_S = 0.1
MAX_SWEEPS = 50
LAST_WORD_S = 2.0
"""How long an instance that ended before anybody attached waits to tell why."""

MAX_DETAIL = 2000


class Life:
    """Everything that the keeper knows and does; its folder is the working folder."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._folder, self._plan = folder, plan
        self._loop = Loop()
        self._control = Control(self._loop, self._requested, self._attachment)
        self._children = Children(self._loop, self._exited)
        self._report = Report(plan.instance_id, isolated=plan.isolation != "none")
        self._report.pids["keeper"] = [os.getpid(), linux.start_time(os.getpid()) or 0]
        self._shares_memory = False
        self._is_sound_settled = False
        self._pulse: Path | None = None
        self._is_display_ready = plan.display_kind != "x11"
        self._deadlines: dict[str, Timer] = {}
        self._restarts = 0
        self._sweeps = 0
        self._is_over = False
        self._log = Output(folder / "keeper.log", [])
        secrets = [_read(folder / "app" / "token"), _instance_token(folder)]
        self._app_log = Output(folder / "app.log", secrets)
        self._streamer_log = Output(folder / "streamer.log", secrets)
        self._loop.on_signal(signal.SIGTERM, lambda: self._end("stopped", "It was told to end."))
        self._attachment(False)

    def run(self) -> None:
        """Start it all and stay until it all has ended."""
        self._publish()
        self._start()
        self._loop.run(lambda: self._is_over)
        self._control.close(1.0)
        (self._folder / "keeper.sock").unlink(missing_ok=True)

    # Starting

    def _start(self) -> None:
        try:
            linux.become_subreaper()
            self._shares_memory = self._leave_shared_memory()
            self._prepare_folders()
        except OSError as error:
            self._end("start-failed", f"The instance's folder cannot be prepared: {error}.")
            return
        self._start_sound()
        if self._plan.display_kind == "x11":
            self._start_display()
        else:
            self._start_streamer_if_ready()

    def _leave_shared_memory(self) -> bool:
        """One IPC namespace for this instance: X pictures go by shared memory, others' do not."""
        if self._plan.isolation == "none":
            return False
        uid, gid = os.getuid(), os.getgid()
        try:
            if uid == 0:
                linux.unshare(linux.CLONE_NEWIPC)
            else:
                linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWIPC)
                Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
                Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
                Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")
        except OSError as error:
            self._log.write(f"shared memory stays off: {error}")
            return False
        return True

    def _prepare_folders(self) -> None:
        app = self._folder / "app"
        for name in ("app", "wayland", "pulse"):
            (self._folder / name).mkdir(mode=0o700, exist_ok=True)
        if self._plan.isolation == "none":
            (app / "home").mkdir(mode=0o700, exist_ok=True)
        else:
            sandbox.write_accounts(self._folder / "etc", self._plan.uid, self._plan.gid)
        if self._plan.display_kind == "x11":
            display.write_cookie([self._folder / "xauthority", app / "xauthority"])
        if self._plan.isolation == "drop":
            for path in (app, *app.iterdir()):
                os.chown(path, self._plan.uid, self._plan.gid, follow_symlinks=False)

    def _start_sound(self) -> None:
        if not self._plan.audio:
            self._sound_settled("Sound is switched off (media.audio).")
            return
        if shutil.which("pulseaudio") is None:
            self._sound_settled("PulseAudio is not installed: apt install pulseaudio")
            return
        folder = self._folder / "pulse"
        try:
            watch = linux.watch_for_new_files(folder)
            self._spawn(
                "sound",
                sound.command(sound.write_script(folder)),
                sound.environment(folder, os.environ.get("PATH", os.defpath)),
                output=self._log.write,
            )
        except OSError as error:
            self._sound_settled(f"PulseAudio did not start: {error.strerror}.")
            return

        def look() -> None:
            with contextlib.suppress(BlockingIOError):
                os.read(watch, 4096)
            if (folder / "native").exists():
                self._loop.forget(watch)
                os.close(watch)
                self._pulse = folder / "native"
                self._sound_settled(None)

        self._loop.on_readable(watch, look)
        self._deadline("sound", SOUND_S, lambda: self._sound_failed("PulseAudio did not come up."))

    def _sound_failed(self, why: str) -> None:
        child = self._children.get("sound")
        if child is not None:
            child.signal(signal.SIGKILL)
        if not self._is_sound_settled:
            self._sound_settled(why)

    def _sound_settled(self, failure: str | None) -> None:
        if self._is_sound_settled:
            return
        self._is_sound_settled = True
        self._cancel("sound")
        self._report.audio_reason = failure
        if failure is not None:
            self._log.write(f"no sound: {failure}")
        self._start_streamer_if_ready()

    def _start_display(self) -> None:
        self._progress("display")
        try:
            reserved = self._report.display = display.reserve()
        except OSError as error:
            self._end("display-failed", f"No display can be reserved: {error.strerror}.")
            return
        read, write = os.pipe()
        cookie = self._folder / "xauthority"
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
        try:
            self._spawn(
                "display",
                display.command(reserved, write, cookie, self._plan.screen),
                environment,
                output=self._log.write,
                pass_fds=(write,),
                death_signal=signal.SIGTERM,
            )
        except OSError as error:
            os.close(read)
            detail = f"Xvfb cannot be started ({error.strerror}): apt install xvfb"
            self._end("display-failed", detail)
            return
        finally:
            os.close(write)

        Lines(self._loop, read, self._display_number)
        self._deadline(
            "display",
            DISPLAY_S,
            lambda: self._end("display-failed", f"Xvfb did not come up within {DISPLAY_S:.0f} s."),
        )

    def _display_number(self, line: str) -> None:
        if f":{line.strip()}" == self._report.display:
            self._cancel("display")
            self._is_display_ready = True
            self._start_streamer_if_ready()

    def _start_streamer_if_ready(self) -> None:
        if not self._is_display_ready or self._report.phase != "starting":
            return
        if self._children.get("streamer"):
            return
        if not self._is_sound_settled:
            self._progress("audio")
            return
        try:
            self._complete_streamer_config()
        except (OSError, ValueError) as error:
            self._end("streamer-failed", f"streamer.json cannot be completed: {error}.")
            return
        self._progress("streamer")
        self._start_streamer()

    def _complete_streamer_config(self) -> None:
        path = self._folder / "streamer.json"
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        config["display_kind"] = self._plan.display_kind
        config["media_socket"] = str(self._folder / "media.sock")
        config["x_display"] = self._report.display
        is_wayland = self._plan.display_kind == "wayland"
        config["wayland_socket"] = str(self._wayland) if is_wayland else None
        config["pulse_server"] = f"unix:{self._pulse}" if self._pulse else None
        config["audio_reason"] = self._report.audio_reason
        write_private(path, config)

    @property
    def _wayland(self) -> Path:
        return self._folder / "wayland" / "application"

    def _start_streamer(self) -> None:
        environment = dict(self._plan.streamer_environment)
        environment["XDG_RUNTIME_DIR"] = str(self._folder / "wayland")
        if self._plan.display_kind == "x11":
            environment["XAUTHORITY"] = str(self._folder / "xauthority")
        if self._pulse:
            environment["PULSE_SERVER"] = f"unix:{self._pulse}"
        try:
            self._spawn(
                "streamer",
                [*self._plan.streamer, str(self._folder / "streamer.json")],
                environment,
                output=self._streamer_said,
                errors=self._streamer_log.write,
            )
        except OSError as error:
            self._end("streamer-failed", f"The streamer cannot be started: {error}.")
            return
        detail = f"The streamer was not ready within {STREAMER_S:.0f} s."
        self._deadline("streamer", STREAMER_S, lambda: self._end("streamer-failed", detail))

    def _streamer_said(self, line: str) -> None:
        self._streamer_log.write(line)
        if line == "DISPLAY-READY":
            self._cancel("streamer")
            if self._report.phase == "starting" and not self._children.get("application"):
                self._start_application()
        elif line == "FIRST-PICTURE" and self._report.phase == "starting":
            self._cancel("picture")
            self._report.phase = "running"
            self._progress("running")

    def _start_application(self) -> None:
        plan = self._plan
        seams = sandbox.Seams(
            folder=self._folder,
            display=self._report.display,
            wayland=self._wayland if plan.display_kind == "wayland" else None,
            cookie=self._folder / "xauthority" if self._report.display else None,
            pulse=self._pulse,
            shares_memory=self._shares_memory,
        )
        if plan.isolation == "drop" and seams.wayland is not None:
            os.chown(seams.wayland, plan.uid, plan.gid)
        environment = sandbox.environment_of(plan, seams)
        limits = {resource.RLIMIT_CORE: 0}
        if plan.memory_mb is not None:
            limits[resource.RLIMIT_DATA] = plan.memory_mb * 1024 * 1024
        self._progress("application")
        handle: int | None = None
        command, folder = plan.application, plan.application_folder or "/"
        if plan.isolation != "none":
            handle = sandbox.memory_file(sandbox.options(plan, seams, environment))
            command = sandbox.wrap(plan.isolation, plan.uid, plan.gid, handle, command)
            environment, folder = {"PATH": os.environ.get("PATH", os.defpath)}, "/"
        try:
            self._spawn(
                "application",
                command,
                environment,
                output=self._app_log.write,
                pass_fds=() if handle is None else (handle,),
                folder=folder,
                limits=limits,
            )
        except OSError as error:
            self._end("start-failed", f"{plan.application[0]} cannot be started: {error.strerror}.")
            return
        finally:
            if handle is not None:
                os.close(handle)
        self._deadline("picture", plan.start_deadline_s, self._never_drew)

    def _never_drew(self) -> None:
        detail = f"The application drew nothing within {self._plan.start_deadline_s:g} s."
        self._end("never-drew", self._with_output(detail, self._app_log))

    # While it runs

    def _exited(self, child: Child, code: int) -> None:
        self._report.pids.pop(child.name, None)
        self._log.write(f"{child.name} ended with {code}")
        if self._report.phase in ("ending", "ended"):
            self._end_more()
        elif child.name == "application":
            self._application_exited(code)
        elif child.name == "streamer":
            self._streamer_exited(code)
        elif child.name == "display":
            self._end("display-died", f"The display server ended with {code}.")
        elif child.name == "sound":
            self._sound_settled(f"PulseAudio ended with {code}.")

    def _application_exited(self, code: int) -> None:
        code = 128 - code if code < 0 else code
        when = "" if self._report.phase == "running" else " before it drew anything"
        detail = self._with_output(f"The application ended with code {code}{when}.", self._app_log)
        self._end("application-exited", detail, code)

    def _streamer_exited(self, code: int) -> None:
        self._cancel("streamer")
        has_run = self._children.get("application") is not None
        if self._plan.display_kind == "wayland" or not has_run or self._restarts >= RESTARTS:
            reason = "streamer-died" if has_run else "streamer-failed"
            detail = f"The streamer ended with {code}."
            self._end(reason, self._with_output(detail, self._streamer_log))
            return
        self._restarts += 1
        self._loop.later(RESTART_WINDOW_S, self._forgive)
        self._report.streamer_restarts += 1
        self._start_streamer()
        self._publish()

    def _forgive(self) -> None:
        self._restarts -= 1

    def _with_output(self, detail: str, log: Output) -> str:
        tail = log.tail().strip()
        return (f"{detail} Last output:\n{tail}" if tail else detail)[:MAX_DETAIL]

    def _requested(self, request: dict[str, Any]) -> None:
        match request:
            case {"do": "stop", "reason": str(reason)}:
                self._end(reason[:64], None)
            case {"do": "stop"}:
                self._end("stopped", None)
            case {"do": "kill"}:
                self._end("stopped", None)
                self._kill("application", "streamer")
            case _:
                self._log.write("a request was not understood")

    def _attachment(self, is_attached: bool) -> None:
        self._cancel("attach")
        if self._report.phase == "ended":
            self._is_over = True
        elif not is_attached:
            detail = "The platform went away and did not come back in time."
            seconds = self._plan.attach_deadline_s
            self._deadline("attach", seconds, lambda: self._end("abandoned", detail))

    # Ending

    def _end(self, reason: str, detail: str | None, exit_code: int | None = None) -> None:
        if self._report.phase in ("ending", "ended"):
            return
        report = self._report
        report.phase, report.reason = "ending", reason
        report.detail, report.exit_code = detail, exit_code
        for name in list(self._deadlines):
            self._cancel(name)
        self._publish()
        application = self._children.get("application")
        if application is not None:
            if self._plan.isolation == "none":
                application.signal(signal.SIGTERM)
            else:
                application.signal_inside(signal.SIGTERM)
        streamer = self._children.get("streamer")
        if streamer is not None:
            streamer.signal(signal.SIGTERM)
        grace = self._plan.stop_grace_s
        self._deadline("application", grace, lambda: self._kill("application"))
        self._deadline("streamer", STREAMER_GRACE_S, lambda: self._kill("streamer"))
        self._end_more()

    def _kill(self, *names: str) -> None:
        for name in names:
            child = self._children.get(name)
            if child is not None:
                child.signal(signal.SIGKILL)

    def _end_more(self) -> None:
        names = {child.name for child in self._children.living()}
        if names & {"application", "streamer"}:
            return
        if names and "servers" not in self._deadlines:
            for child in self._children.living():
                child.signal(signal.SIGTERM)
            self._deadline("servers", SERVER_GRACE_S, lambda: self._kill("display", "sound"))
        elif not names:
            self._sweep()

    def _sweep(self) -> None:
        if self._report.phase == "ended":
            return
        self._sweeps += 1
        if not self._children.kill_strays() and self._sweeps < MAX_SWEEPS:
            self._deadline("sweep", SWEEP_S, self._sweep)
            return
        self._finish()

    def _finish(self) -> None:
        for name in ("app", "wayland", "pulse", "etc"):
            shutil.rmtree(self._folder / name, ignore_errors=True)
        for name in ("streamer.json", "xauthority", "media.sock"):
            with contextlib.suppress(OSError):
                (self._folder / name).unlink()
        if self._report.display is not None:
            display.clean_display(self._report.display, os.getpid())
        self._report.phase = "ended"
        self._publish()
        self._deadline("last", LAST_WORD_S, self._leave)
        if self._control.has_told:
            self._leave()

    def _leave(self) -> None:
        self._is_over = True

    # Telling

    def _spawn(
        self, name: str, command: list[str], environment: dict[str, str], **options: Any
    ) -> None:
        marked = {**environment, "DOWNSTAGE_INSTANCE": self._plan.instance_id}
        child = self._children.spawn(name, command, marked, **options)
        self._report.pids[name] = [child.pid, child.started]
        self._save()

    def _progress(self, stage: Stage) -> None:
        self._report.stage = stage
        self._publish()

    def _publish(self) -> None:
        self._save()
        self._control.tell(dataclasses.asdict(self._report))

    def _save(self) -> None:
        try:
            write_private(self._folder / "report.json", self._report)
        except OSError as error:
            self._log.write(f"the report cannot be written: {error}")

    def _deadline(self, name: str, seconds: float, call: Any) -> None:
        self._cancel(name)
        self._deadlines[name] = self._loop.later(seconds, call)

    def _cancel(self, name: str) -> None:
        timer = self._deadlines.pop(name, None)
        if timer is not None:
            timer.cancel()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _instance_token(folder: Path) -> str:
    try:
        config: dict[str, Any] = json.loads(_read(folder / "streamer.json"))
    except ValueError:
        return ""
    return str(config.get("instance_token", ""))
