"""The life of one instance: display and sound, streamer, application; then the end of all.

::

    placed → display ─┐
             sound  ──┴→ streamer ─DISPLAY-READY→ application ─FIRST-PICTURE→ running
                                        any of it, a request, a deadline ─→ ending → ended

The first reason to end is the one that counts. Application and streamer are asked to end
together; display and sound go when both are gone; whatever else is left below us goes last.
"""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

from downstage.spawners.keeper import adoption, folder, linux, sandbox
from downstage.spawners.keeper.application import Application
from downstage.spawners.keeper.children import Child, Children
from downstage.spawners.keeper.contained import Contained
from downstage.spawners.keeper.control import Control
from downstage.spawners.keeper.hooks import Hooks
from downstage.spawners.keeper.loop import Deadlines, Loop
from downstage.spawners.keeper.output import Output
from downstage.spawners.keeper.room import Room
from downstage.spawners.keeper.servers import DisplayServer, SoundServer
from downstage.spawners.plan import Plan, Report, Stage, write_private

__all__ = ["Life"]

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

    def __init__(self, path: Path, plan: Plan) -> None:
        self._folder, self._plan = path, plan
        self._loop = Loop()
        self._control = Control(self._loop, self._requested, self._attachment)
        self._children = Children(self._loop, self._exited)
        self._report = Report(plan.instance_id, isolated=plan.isolation != "none")
        self._report.pids["keeper"] = [os.getpid(), linux.start_time(os.getpid()) or 0]
        self._report.waits, self._report.ports = plan.waits, plan.ports
        self._shares_memory = self._has_streamer = False
        self._deadlines = Deadlines(self._loop)
        self._restarts = 0
        self._sweeps = 0
        self._is_over = self._are_servers_told = False
        self._log = Output(path / "keeper.log", [])
        self._room = Room(path, self._deadlines, self._report.pids, self._end)
        parts = (self._loop, self._deadlines, self._spawn, self._log.write)
        self._display, self._sound = DisplayServer(*parts), SoundServer(*parts)
        secrets = folder.secrets_of(path)
        self._app_log = Output(path / "app.log", secrets)
        self._streamer_log = Output(path / "streamer.log", secrets)
        self._hook_log = Output(path / "hooks.log", secrets) if plan.hooks else self._log
        self._hooks = Hooks(plan, path, self._spawn, self._deadlines, self._hook_log)
        self._report.last_hooks_s = self._hooks.last_s
        self._application = Application(
            plan,
            self._children,
            self._spawn,
            self._deadlines,
            Contained(path, self._report, self._publish, self._log.write),
            log=self._app_log.write,
            keeper_log=self._log.write,
        )
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
            self._shares_memory, has_mounts = folder.leave_host(self._plan, self._log.write)
            folder.prepare(self._folder, self._plan, has_mounts=has_mounts)
        except OSError as error:
            self._end("start-failed", f"The instance's folder cannot be prepared: {error}.")
            return
        if not has_mounts and self._plan.isolation != "none":
            self._room.start()
        self._sound.start(
            self._folder / "pulse", self._start_streamer_if_ready, is_wanted=self._plan.audio
        )
        if self._plan.display_kind == "x11":
            self._progress("display")
            self._display.start(
                self._folder / "xauthority",
                self._plan.screen,
                self._start_streamer_if_ready,
                lambda detail: self._end("display-failed", detail),
            )

    def _start_streamer_if_ready(self) -> None:
        report = self._report
        report.audio_reason = self._sound.reason
        is_x11 = self._plan.display_kind == "x11"
        if (is_x11 and not self._display.is_ready) or report.phase != "starting":
            return
        if not self._sound.is_settled:
            self._progress("audio")
            return
        try:
            wayland, pulse = None if is_x11 else self._wayland, self._sound.socket
            folder.complete_streamer_config(
                self._folder, self._plan, report, wayland=wayland, pulse=pulse
            )
        except (OSError, ValueError) as error:
            self._end("streamer-failed", f"streamer.json cannot be completed: {error}.")
            return
        self._progress("streamer")
        self._start_streamer()

    @property
    def _wayland(self) -> Path:
        return self._folder / "wayland" / "application"

    def _start_streamer(self) -> None:
        environment = dict(self._plan.streamer_environment)
        environment["XDG_RUNTIME_DIR"] = str(self._folder / "wayland")
        if self._plan.display_kind == "x11":
            environment["XAUTHORITY"] = str(self._folder / "xauthority")
        if self._sound.socket is not None:
            environment["PULSE_SERVER"] = f"unix:{self._sound.socket}"
        (self._folder / "media.sock").unlink(missing_ok=True)
        self._has_streamer = False
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
        self._deadlines.set("streamer", STREAMER_S, lambda: self._end("streamer-failed", detail))

    def _streamer_said(self, line: str) -> None:
        self._streamer_log.write(line)
        if line == "DISPLAY-READY":
            self._deadlines.cancel("streamer")
            self._has_streamer = True
            if self._plan.waits and not self._report.waits:
                self._nudge()  # what it read at its start may be older than its session
            is_idle = not self._application.is_running and not self._hooks.is_running
            if self._report.phase == "starting" and is_idle:
                self._progress("application")
                self._hooks.run("pre-start", self._start_application, self._hook_failed)
        elif line == "FIRST-PICTURE" and self._report.phase == "starting":
            self._deadlines.cancel("picture")
            if not self._hooks.is_running:
                self._hooks.run("post-start", self._is_up, self._hook_failed)

    def _is_up(self) -> None:
        self._report.phase = "running"
        self._progress("running")

    def _hook_failed(self, detail: str) -> None:
        self._end("hook-failed", detail[:MAX_DETAIL])

    def _start_application(self) -> None:
        plan = self._plan
        seams = sandbox.Seams(
            folder=self._folder,
            display=self._report.display,
            wayland=self._wayland if plan.display_kind == "wayland" else None,
            cookie=self._folder / "xauthority" if self._report.display else None,
            pulse=self._sound.socket,
            shares_memory=self._shares_memory,
            channels=self._folder / "channels",
        )
        if plan.is_other_user and seams.wayland is not None:
            os.chown(seams.wayland, plan.uid, plan.gid)
        try:
            self._application.start(seams)
        except OSError as error:
            what = plan.application[0] if plan.application else "The application"
            self._end("start-failed", f"{what} cannot be started: {error.strerror}.")
            return
        self._deadlines.set("picture", plan.start_deadline_s, self._never_drew)

    def _never_drew(self) -> None:
        detail = f"The application drew nothing within {self._plan.start_deadline_s:g} s."
        self._end("never-drew", self._with_output(detail, self._app_log))

    # While it runs

    def _exited(self, child: Child, code: int) -> None:
        self._report.pids.pop(child.name, None)
        self._log.write(f"{child.name} ended with {code}")
        if child.name == "application":
            self._application.clean_up()
            self._hooks.exit_code = self._application.outcome(code, has_drawn=True).exit_code
        elif child.name == "hook":
            self._hooks.exited(code)
        if self._report.phase in ("ending", "ended"):
            self._end_more()
        elif child.name == "application":
            self._application_exited(code)
        elif child.name == "streamer":
            self._streamer_exited(code)
        elif child.name == "display":
            reason = "display-died" if self._display.is_ready else "display-failed"
            detail = f"The display server ended with {code}."
            self._end(reason, self._with_output(detail, self._log))
        elif child.name == "sound":
            self._sound.settle(f"PulseAudio ended with {code}.")

    def _application_exited(self, code: int) -> None:
        outcome = self._application.outcome(code, has_drawn=self._report.phase == "running")
        detail = self._with_output(outcome.detail, self._app_log)
        self._end(outcome.reason, detail, outcome.exit_code)

    def _streamer_exited(self, code: int) -> None:
        self._deadlines.cancel("streamer")
        has_run = self._application.is_running
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
            case {"do": "adopt", "streamer": {"session_id": str()}}:
                self._adopt(request)
            case {"do": "kill"}:
                self._end("stopped", None)
                self._hooks.kill()
                self._kill("application", "streamer")
            case _:
                self._log.write("a request was not understood")

    def _adopt(self, request: dict[str, Any]) -> None:
        if not self._report.waits:
            self._log.write("a second session asked for this instance")
            return
        try:
            secrets = adoption.adopt(self._folder, self._plan, request)
        except (OSError, ValueError) as error:
            self._end("not-adopted", f"It could not be given to its session: {error}.")
            return
        for log in (self._app_log, self._streamer_log, self._hook_log):
            log.mask(secrets)
        self._report.waits = False
        self._publish()
        if self._has_streamer:
            self._nudge()

    def _nudge(self) -> None:
        """Have the streamer read its configuration again."""
        streamer = self._children.get("streamer")
        if streamer is not None:
            streamer.signal_itself(signal.SIGHUP)

    def _attachment(self, is_attached: bool) -> None:
        self._deadlines.cancel("attach")
        if self._report.phase == "ended":
            self._is_over = True
        elif not is_attached:
            detail = "The platform went away and did not come back in time."
            seconds = self._plan.attach_deadline_s
            self._deadlines.set("attach", seconds, lambda: self._end("abandoned", detail))

    # Ending

    def _end(self, reason: str, detail: str | None, exit_code: int | None = None) -> None:
        if self._report.phase in ("ending", "ended"):
            return
        report = self._report
        report.phase, report.reason = "ending", reason
        report.detail, report.exit_code = detail, exit_code
        self._deadlines.cancel_all()
        self._publish()
        self._hooks.stop()
        self._application.ask_to_end()
        streamer = self._children.get("streamer")
        if streamer is not None:
            streamer.signal(signal.SIGTERM)
        grace = self._plan.stop_grace_s
        self._deadlines.set("application", grace, lambda: self._kill("application"))
        self._deadlines.set("streamer", STREAMER_GRACE_S, lambda: self._kill("streamer"))
        self._end_more()

    def _kill(self, *names: str) -> None:
        for name in names:
            child = self._children.get(name)
            if name == "application":
                self._application.kill()
            elif child is not None:
                child.signal(signal.SIGKILL)

    def _end_more(self) -> None:
        names = {child.name for child in self._children.living()}
        if names & {"application", "streamer", "remover", "hook"}:
            return
        if self._hooks.run_last(self._end_more):
            return
        if names and not self._are_servers_told:
            self._are_servers_told = True
            for child in self._children.living():
                child.signal(signal.SIGTERM)
            self._deadlines.set("servers", SERVER_GRACE_S, lambda: self._kill("display", "sound"))
        elif not names:
            self._sweep()

    def _sweep(self) -> None:
        if self._report.phase == "ended":
            return
        self._sweeps += 1
        if not self._children.kill_strays() and self._sweeps < MAX_SWEEPS:
            self._deadlines.set("sweep", SWEEP_S, self._sweep)
            return
        if not self._children.has_none:
            self._log.write("something of this instance cannot be killed")
        self._finish()

    def _finish(self) -> None:
        folder.clear(self._folder)
        self._display.give_back()
        self._report.phase = "ended"
        self._publish()
        self._deadlines.set("last", LAST_WORD_S, self._leave)
        if self._control.has_told:
            self._leave()

    def _leave(self) -> None:
        self._is_over = True

    # Telling

    def _spawn(
        self, name: str, command: list[str], environment: dict[str, str], **options: Any
    ) -> Child:
        marked = {**environment, "DOWNSTAGE_INSTANCE": self._plan.instance_id}
        child = self._children.spawn(name, command, marked, **options)
        self._report.pids[name] = [child.pid, child.started]
        self._report.display = self._display.name
        self._save()
        return child

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
