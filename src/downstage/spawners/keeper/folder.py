"""The instance's folder: made ready before anything starts, cleared when all has ended."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from downstage.spawners.container.plan import PLAN, SEAMS
from downstage.spawners.keeper import display, linux, sandbox
from downstage.spawners.plan import Plan, Report, write_private

__all__ = ["clear", "complete_streamer_config", "leave_shared_memory", "prepare", "secrets_of"]


def prepare(folder: Path, plan: Plan) -> None:
    """Make what display, sound and application will need; hand the application what is its own."""
    app = folder / "app"
    for name in ("app", "wayland", "pulse"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    channels = folder / "channels"
    channels.mkdir(exist_ok=True)
    channels.chmod(0o755)  # the application may be another user, and changes nothing in it
    if plan.isolation == "none":
        (app / "home").mkdir(mode=0o700, exist_ok=True)
    else:
        sandbox.write_accounts(folder / "etc", plan.uid, plan.gid)
    if plan.display_kind == "x11":
        display.write_cookie([folder / "xauthority", app / "xauthority"])
    if plan.is_other_user:
        for path in (app, *app.iterdir()):
            os.chown(path, plan.uid, plan.gid, follow_symlinks=False)


def complete_streamer_config(
    folder: Path, plan: Plan, report: Report, *, wayland: Path | None, pulse: Path | None
) -> None:
    """Tell the streamer where display and sound are, now that they are there.

    Raises:
        OSError, ValueError: ``streamer.json`` cannot be read or written.
    """
    path = folder / "streamer.json"
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    config["display_kind"] = plan.display_kind
    config["media_socket"] = str(folder / "media.sock")
    config["x_display"] = report.display
    config["wayland_socket"] = str(wayland) if wayland else None
    config["pulse_server"] = f"unix:{pulse}" if pulse else None
    config["audio_reason"] = report.audio_reason
    write_private(path, config)


def clear(folder: Path) -> None:
    """Remove everything but the report and the logs: what may hold secrets first of all."""
    for name in ("streamer.json", "plan.json", PLAN, SEAMS, "xauthority", "media.sock"):
        with contextlib.suppress(OSError):
            (folder / name).unlink()
    for name in ("app", "channels", "wayland", "pulse", "etc"):
        shutil.rmtree(folder / name, ignore_errors=True)


def secrets_of(folder: Path) -> list[str]:
    """What must never come into a log of this instance."""
    found = [_read(folder / "app" / "token")]
    with contextlib.suppress(ValueError):
        config: dict[str, Any] = json.loads(_read(folder / "streamer.json"))
        found.append(str(config.get("instance_token", "")))
    return found


def leave_shared_memory() -> None:
    """Give this process, and so its instance, an IPC namespace of its own.

    Display and application then pass pictures by shared memory that no other instance sees.
    Without privileges that takes a user namespace, and a half-made one cannot be left; so a
    child tries first.

    Raises:
        OSError: it is not to be had here; nothing has changed.
    """
    trial = os.fork()
    if trial == 0:
        try:
            _leave()
        except OSError as error:
            os._exit(min(error.errno or 1, 255))
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(trial, 0)[1])
    if code != 0:
        raise OSError(code, os.strerror(code))
    _leave()


def _leave() -> None:
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        linux.unshare(linux.CLONE_NEWIPC)
        return
    linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWIPC)
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
