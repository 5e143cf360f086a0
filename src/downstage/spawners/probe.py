"""What this machine has for instances: isolation, display, sound; each with its remedy."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE

import anyio
import anyio.to_thread

import downstage
from downstage.spawners.keeper import sandbox
from downstage.spawners.plan import Isolation, Plan

__all__ = ["Fact", "IsolationFound", "facts", "find_isolation", "python_folders"]

PROBE_S = 20.0
UID, UIDS = 61184, 4096
"""First and number of user ids that applications get where we may choose."""

MAX_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of ``downstage doctor``."""

    name: str
    is_ok: bool
    detail: str
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class IsolationFound:
    """How applications can be shut in here, and where not at all, why."""

    mode: Isolation
    has_size: bool
    reason: str | None = None


def python_folders() -> list[str]:
    """Folders that a Python program of this installation must be able to read."""
    source = Path(downstage.__file__).resolve().parent.parent
    base = Path(sys.base_prefix)
    own = Path(sys.executable)
    linked = Path(os.path.realpath(own)).parent.parent
    found = [Path(sys.prefix), base, base.resolve(), linked, source]
    return [
        folder
        for folder in dict.fromkeys(str(path) for path in found)
        if folder != "/" and not folder.startswith("/usr/") and folder != "/usr"
    ]


async def find_isolation() -> IsolationFound:
    """Try bubblewrap with a real Python start; the strongest form that works is answered."""
    if shutil.which("bwrap") is None:
        return IsolationFound("none", has_size=False, reason="bubblewrap is not installed")
    has_size = b"--size" in await _output(["bwrap", "--help"])
    modes: list[Isolation] = ["drop", "userns"] if os.getuid() == 0 else ["userns"]
    reason = ""
    for mode in modes:
        reason = await _try(mode, has_size=has_size)
        if not reason:
            return IsolationFound(mode, has_size=has_size)
    return IsolationFound("none", has_size=has_size, reason=reason)


async def facts() -> list[Fact]:
    """Everything that instances need from this machine."""
    isolation = await find_isolation()
    found = [
        Fact(
            "isolation",
            isolation.mode != "none",
            {
                "drop": "bubblewrap, applications under a user id of their own",
                "userns": "bubblewrap in a user namespace",
                "container": "containers",
                "none": f"applications run as plain processes: {isolation.reason}",
            }[isolation.mode],
            None if isolation.mode != "none" else _isolation_fix(isolation),
        )
    ]
    found.append(_program("display", "Xvfb", "apt install xvfb"))
    found.append(_program("sound", "pulseaudio", "apt install pulseaudio"))
    if os.getuid() == 0:
        fix = "run downstage as a user without privileges"
        found.append(Fact("user", is_ok=False, detail="runs as root", fix=fix))
    return found


def _isolation_fix(found: IsolationFound) -> str:
    if shutil.which("bwrap") is None:
        return "apt install bubblewrap"
    return (
        "allow user namespaces: sysctl -w kernel.unprivileged_userns_clone=1, "
        "sysctl -w user.max_user_namespaces=15000, and on Ubuntu "
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        if found.mode == "none"
        else ""
    )


def _program(name: str, program: str, fix: str) -> Fact:
    path = shutil.which(program)
    if path is None:
        return Fact(name, is_ok=False, detail=f"{program} is not installed", fix=fix)
    return Fact(name, is_ok=True, detail=path)


async def _output(command: list[str]) -> bytes:
    result = await anyio.run_process(command, check=False, stdin=DEVNULL)
    return result.stdout + result.stderr


async def _try(mode: Isolation, *, has_size: bool) -> str:
    """Run Python inside; answer why it failed, or nothing."""
    folder = Path(await anyio.to_thread.run_sync(tempfile.mkdtemp, "", "downstage-probe-"))
    try:
        return await _try_in(folder, mode, has_size=has_size)
    finally:
        await anyio.to_thread.run_sync(shutil.rmtree, folder, True)


async def _try_in(folder: Path, mode: Isolation, *, has_size: bool) -> str:
    app = folder / "app"
    app.mkdir(mode=0o700)
    plan = Plan(
        instance_id="probe",
        display_kind="x11",
        streamer=[],
        streamer_environment={},
        application=[],
        environment={},
        isolation=mode,
        has_size=has_size,
        uid=UID if mode == "drop" else 1000,
        gid=UID if mode == "drop" else 1000,
        python=python_folders(),
    )
    sandbox.write_accounts(folder / "etc", plan.uid, plan.gid)
    seams = sandbox.Seams(folder, None, None, None, None, shares_memory=False)
    environment = sandbox.environment_of(plan, seams)
    handle = sandbox.memory_file(sandbox.options(plan, seams, environment))
    command = [sys.executable, "-c", "import downstage.spawners.plan"]
    try:
        with anyio.fail_after(PROBE_S):
            result = await anyio.run_process(
                sandbox.wrap(mode, plan.uid, plan.gid, handle, command),
                check=False,
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=PIPE,
                pass_fds=(handle,),
            )
    except (OSError, TimeoutError) as error:
        return f"bubblewrap did not run: {error}"
    finally:
        os.close(handle)
    return "" if result.returncode == 0 else _last_line(result.stderr)


def _last_line(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1][:MAX_SHOWN] if lines else "bubblewrap failed without a word"
