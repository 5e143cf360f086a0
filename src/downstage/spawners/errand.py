"""One program, run to its end inside the same walls as an application, without a display.

For work on what people bring (a picture of a stage): it may be hostile, so it gets a user id of its
own, no network, bounded memory and time, and one folder to leave its result in.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL, PIPE

import anyio
import anyio.abc
import anyio.to_thread

from downstage.kernel.errors import DeadlineExceeded, PlatformError
from downstage.spawners import probe
from downstage.spawners.keeper import sandbox
from downstage.spawners.plan import Plan

__all__ = ["Errand", "ErrandFailed", "Errands"]

INSIDE = Path("/run/app")
GONE_S = 5.0
MOST_SAID = 4096
"""Bytes of its output that are kept, from the end."""


class ErrandFailed(PlatformError):
    """The program ended without its result; `detail` is the last line it wrote."""

    code = "errand-failed"
    status = 502


@dataclass(frozen=True, slots=True)
class Errand:
    """What to run; ``{out}`` in an argument becomes the path of the result."""

    command: Sequence[str]
    result: str
    """Name of the file that it leaves."""
    most_bytes: int
    """Of the result."""
    deadline_s: float = 30.0
    memory_mb: int = 2048
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    token: str | None = None
    """For `DOWNSTAGE_TOKEN_FILE`."""
    content_folder: str | None = None
    content_host: str | None = None


class Errands:
    """Runs errands; see the module.

    Args:
        isolation: how this machine shuts programs in; None finds out at the first errand, and
            refuses to run anything where it cannot.
    """

    def __init__(self, isolation: probe.IsolationFound | None = None) -> None:
        self._isolation = isolation

    async def run(self, errand: Errand) -> bytes:
        """The bytes of its result.

        Raises:
            ErrandFailed: it left none, or none that is acceptable.
            DeadlineExceeded: it took too long, and was ended.
        """
        if self._isolation is None:
            found = await probe.find_isolation()
            if found.mode == "none":  # nobody chose that, and nobody sees this program start
                raise ErrandFailed(f"programs cannot be shut in here: {found.reason}")
            self._isolation = found
        folder = Path(await anyio.to_thread.run_sync(tempfile.mkdtemp, "", "downstage-errand-"))
        try:
            return await self._run_in(folder, errand, self._isolation)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(shutil.rmtree, folder, True)

    async def _run_in(self, folder: Path, errand: Errand, isolation: probe.IsolationFound) -> bytes:
        plan = _plan(folder, errand, isolation)
        await anyio.to_thread.run_sync(_prepare, folder, plan, errand.token)
        seams = sandbox.Seams(folder, None, None, None, None, shares_memory=False)
        environment = sandbox.environment_of(plan, seams)
        command, handle = list(plan.application), -1
        if plan.isolation != "none":
            handle = sandbox.memory_file(sandbox.options(plan, seams, environment))
            command = sandbox.wrap(plan.isolation, plan.uid, plan.gid, handle, command)
            environment = {"PATH": os.environ.get("PATH", os.defpath)}
        limits = ["prlimit", "--core=0", f"--data={errand.memory_mb * 1024 * 1024}"]
        try:
            code, said = await _output([*limits, *command], environment, errand.deadline_s, handle)
        finally:
            if handle >= 0:
                os.close(handle)
        if code != 0:
            raise ErrandFailed(_last_line(said) or f"It ended with code {code}.", exit_code=code)
        return await anyio.to_thread.run_sync(_result, seams.app, errand)


def _plan(folder: Path, errand: Errand, isolation: probe.IsolationFound) -> Plan:
    inside = INSIDE if isolation.mode != "none" else folder / "app"
    own = os.getuid() or 1000
    uid = probe.UID if isolation.mode == "drop" else own
    return Plan(
        instance_id="errand",
        display_kind="x11",
        streamer=[],
        streamer_environment={},
        application=[part.replace("{out}", str(inside / errand.result)) for part in errand.command],
        environment=dict(errand.environment),
        python=probe.python_folders(),
        content_folder=errand.content_folder,
        content_host=errand.content_host,
        isolation=isolation.mode,
        has_size=isolation.has_size,
        uid=uid,
        gid=uid if isolation.mode == "drop" else (os.getgid() or 1000),
    )


def _prepare(folder: Path, plan: Plan, token: str | None) -> None:
    app = folder / "app"
    app.mkdir(mode=0o700)
    if token is not None:
        handle = os.open(app / "token", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(token)
    if plan.isolation == "none":
        (app / "home").mkdir(mode=0o700)
    else:
        sandbox.write_accounts(folder / "etc", plan.uid, plan.gid)
    if plan.isolation == "drop":
        for path in (app, *app.iterdir()):
            os.chown(path, plan.uid, plan.gid, follow_symlinks=False)


async def _output(
    command: Sequence[str], environment: Mapping[str, str], deadline_s: float, handle: int
) -> tuple[int, bytes]:
    """Exit code and the end of its standard error; it is gone afterwards, whatever happens."""
    process = await anyio.open_process(
        command,
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=PIPE,
        env=environment,
        cwd="/",
        start_new_session=True,
        pass_fds=() if handle < 0 else (handle,),
    )
    said = b""
    try:
        with anyio.fail_after(deadline_s):
            assert process.stderr is not None  # noqa: S101 - a pipe was asked for
            async for piece in process.stderr:
                said = (said + piece)[-MOST_SAID:]
            return await process.wait(), said
    except TimeoutError as error:
        detail = f"It was not done within {deadline_s:g} s."
        raise DeadlineExceeded(detail, deadline_s=deadline_s) from error
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)


async def _end(process: anyio.abc.Process) -> None:
    """Kill what is left: with bubblewrap goes the first process of its namespace, and so all."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    with anyio.move_on_after(GONE_S):
        async for _ in process.stderr or ():  # ends when nobody is left who could write to it
            pass
    await process.aclose()


def _result(app: Path, errand: Errand) -> bytes:
    """What it left: a plain file, and no larger than was said. It chose what lies there."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        handle = os.open(app / errand.result, flags)
    except OSError as error:
        raise ErrandFailed("It left no result.") from error
    try:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode) or state.st_size > errand.most_bytes:
            raise ErrandFailed("Its result is no file, or too large.")
        with os.fdopen(os.dup(handle), "rb") as file:
            return file.read(errand.most_bytes)
    finally:
        os.close(handle)


def _last_line(said: bytes) -> str:
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else ""
