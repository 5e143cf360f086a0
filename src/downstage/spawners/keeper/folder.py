"""The instance's folder: made ready before anything starts, cleared when all has ended."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from downstage.spawners.container.plan import PLAN, SEAMS
from downstage.spawners.keeper import display, linux, room, sandbox
from downstage.spawners.plan import Plan, Report, write_private

__all__ = ["clear", "complete_streamer_config", "leave_host", "prepare", "secrets_of"]

BOUNDED = ("drop", "userns")
"""Kinds of isolation whose folder the kernel can bound, see `room`."""


def prepare(folder: Path, plan: Plan, *, has_mounts: bool) -> None:
    """Make what display, sound and application will need; hand the application what is its own.

    Args:
        folder: the instance's.
        plan: the instance's.
        has_mounts: what is mounted here is this instance's own, see `leave_host`.
    """
    app = folder / "app"
    for name in ("app", "wayland", "pulse"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    if has_mounts:
        room.bound(app, plan)
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
    with contextlib.suppress(OSError):  # nothing is mounted there, or not where we are
        linux.unmount(folder / "app")
    for name in ("app", "channels", "wayland", "pulse", "etc"):
        shutil.rmtree(folder / name, ignore_errors=True)


def secrets_of(folder: Path) -> list[str]:
    """What must never come into a log of this instance."""
    found = [_read(folder / "app" / "token")]
    with contextlib.suppress(ValueError):
        config: dict[str, Any] = json.loads(_read(folder / "streamer.json"))
        found.append(str(config.get("instance_token", "")))
    return found


def leave_host(plan: Plan, log: Callable[[str], None]) -> tuple[bool, bool]:
    """Give this process, and so its instance, an IPC and a mount namespace of its own.

    By the first, display and application pass pictures by shared memory that no other instance
    sees; in the second the application's folder is bounded, where it is bubblewrap that shows it.
    Without privileges that takes a user namespace, and a half-made one cannot be left; so a
    child tries first.

    Returns:
        Whether it has the one and the other.
    """
    if plan.isolation == "none":
        return False, False
    kinds = [linux.CLONE_NEWIPC]
    if plan.isolation in BOUNDED:
        kinds.insert(0, linux.CLONE_NEWIPC | linux.CLONE_NEWNS)
    for flags in kinds:
        error = _tried(flags)
        if error is None:
            _leave(flags)
            return True, flags & linux.CLONE_NEWNS != 0
        what = "bound of its folder" if flags & linux.CLONE_NEWNS else "shared memory"
        log(f"there is no {what} here: {error}")
    return False, False


def _tried(flags: int) -> str | None:
    """What keeps a child from leaving; None: it could."""
    trial = os.fork()
    if trial == 0:
        try:
            _leave(flags)
            if flags & linux.CLONE_NEWNS:
                linux.mount_memory(Path("/tmp"), "size=4096")  # noqa: S108 - the child's own
        except OSError as error:
            os._exit(min(error.errno or 1, 255))
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(trial, 0)[1])
    return os.strerror(code) if code else None


def _leave(flags: int) -> None:
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        linux.unshare(flags)
    else:
        linux.unshare(linux.CLONE_NEWUSER | flags)
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")
    if flags & linux.CLONE_NEWNS:
        linux.keep_mounts_apart()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
