"""Instances as processes of this machine: a keeper each, the application in bubblewrap.

The keeper is started from the event loop's own thread (a parent-death signal belongs to the
thread that forks) and in a session of its own, so that it survives us. What is left of an
instance whose keeper was killed is found by process id and start time, and by the
``DOWNSTAGE_INSTANCE`` variable that all of its processes carry.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import anyio
import anyio.to_thread

from downstage.contracts.streamer import StreamerConfig
from downstage.kernel.errors import SetupError
from downstage.kernel.logging import get_logger
from downstage.spawners import leftovers, probe, uids
from downstage.spawners.container.plan import PLAN
from downstage.spawners.entering import enter_process
from downstage.spawners.handle import Enter, KeeperHandle, connect
from downstage.spawners.keeper import adoption, linux
from downstage.spawners.kept import Keep, KeptLog, kept_logs, prune, read_kept
from downstage.spawners.plan import Plan, Report, read_json, write_private
from downstage.spawners.spawner import Handle, InstanceSpec, SpawnFailed

__all__ = ["KeeperHandle", "ProcessSettings", "ProcessSpawner", "run_folder"]

READY_S = 10.0
ANSWER_S = 5.0
LONGEST_FOLDER = 57
"""Of the run folder: what lies in it is up to 50 longer, and a socket's path has 107 at most."""

SCREEN = (4096, 2304)
LARGEST_SCREEN = (8192, 4320)
INHERITED = ("PATH", "LANG", "TZ", "LD_LIBRARY_PATH", "XDG_DATA_DIRS", "SSL_CERT_FILE", "HOME")
INHERITED_GROUPS = ("LC_", "LIBVA_", "NVIDIA_", "CUDA_", "__EGL_", "VK_", "DOWNSTAGE_LOG__")
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """What is the same for every instance."""

    streamer: tuple[str, ...] = (sys.executable, "-P", "-m", "downstage.streamer")
    isolation: Literal["auto", "bubblewrap", "none"] = "auto"
    audio: bool = True
    encoder: str = "auto"
    bitrate_kbps: int = 8000
    udp_ports: tuple[int, int] | None = None
    public_ip: str | None = None
    attach_deadline_s: float = 10.0
    stop_grace_s: float = 2.0
    keep: Keep = field(default_factory=Keep)
    """What stays of instances that failed."""


def run_folder(data: Path) -> Path:
    """The folder of running instances: in *data*, or in a short place where that is too deep.

    Raises:
        SetupError: the short place belongs to somebody else.
    """
    folder = data / "run"
    if len(os.fsencode(folder)) <= LONGEST_FOLDER:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder
    import hashlib

    digest = hashlib.blake2s(os.fsencode(data.absolute()), digest_size=6).hexdigest()
    short = Path(f"/tmp/downstage-{os.getuid()}-{digest}")  # noqa: S108 - owner checked below
    short.mkdir(mode=0o700, exist_ok=True)
    state = short.lstat()
    if state.st_uid != os.getuid() or state.st_mode & 0o170077 != 0o040000:  # noqa: PLR2004
        raise SetupError(
            f"{short} exists and is not ours alone. Remove it, or choose another --data."
        )
    return short


class ProcessSpawner:
    """Starts a keeper for each instance; see the module."""

    def __init__(self, runs: Path, settings: ProcessSettings) -> None:
        self._runs, self._settings = runs, settings
        self._isolation: probe.IsolationFound | None = None
        self._keepers: dict[str, tuple[int, int | None]] = {}
        """Process id and start time of those that live, by instance."""

    async def prepare(self) -> probe.IsolationFound:
        """Find out once how applications can be shut in.

        Raises:
            SetupError: bubblewrap is demanded and does not work.
        """
        if self._isolation is None:
            if self._settings.isolation == "none":
                reason = "switched off (manager.isolation)"
                found = probe.IsolationFound("none", has_size=False, reason=reason)
            else:
                found = await probe.find_isolation()
            if found.mode == "none":
                if self._settings.isolation == "bubblewrap":
                    raise SetupError(f"Applications cannot be isolated: {found.reason}.")
                log.warning("isolation.missing", reason=found.reason)
            self._isolation = found
        return self._isolation

    async def start(self, spec: InstanceSpec) -> Handle:
        """Start the keeper and attach to it."""
        if spec.image is not None:
            raise SpawnFailed("This node runs no containers (manager.engine).")
        isolation = await self.prepare()
        uid = os.getuid() or 1000
        if isolation.mode == "drop":
            uid = await self._own_uid(spec.instance_id)
        return await self._launch(spec, self._plan(spec, isolation, uid), enter_process)

    async def _launch(
        self,
        spec: InstanceSpec,
        plan: Plan,
        enter: Enter,
        more: Callable[[Path], None] = lambda _: None,
    ) -> KeeperHandle:
        """Start the keeper on *plan*, with whatever else *more* writes for it."""
        folder = self._folder(spec.instance_id)
        try:
            await anyio.to_thread.run_sync(self._write, folder, plan, spec)
            await anyio.to_thread.run_sync(more, folder)
            await self._start_keeper(folder, spec.instance_id)
            handle = await connect(folder, enter)
        except (OSError, TimeoutError) as error:
            await self.clean(spec.instance_id)
            raise SpawnFailed(f"The instance's keeper did not start: {error}.") from error
        return handle

    async def attach(self, instance_id: str) -> Handle | None:
        """Find a living keeper by its socket."""
        return await self._attach(instance_id, enter_process)

    async def _attach(self, instance_id: str, enter: Enter) -> KeeperHandle | None:
        folder = self._folder(instance_id)
        try:
            report = await anyio.to_thread.run_sync(read_json, folder / "report.json", Report)
            handle = await connect(folder, enter)
        except (OSError, ValueError, TimeoutError):
            return None
        pid, started = report.pids.get("keeper", (0, 0))
        if started and linux.start_time(pid) == started:
            self._keepers[instance_id] = (pid, started)
        return handle

    async def clean(self, instance_id: str) -> Report | None:
        """Kill what is left of an instance without a keeper, give back what it held."""
        folder = self._folder(instance_id)
        try:
            report = await anyio.to_thread.run_sync(read_json, folder / "report.json", Report)
        except (OSError, ValueError):
            report = None
        await leftovers.kill_left(instance_id, report)
        await anyio.to_thread.run_sync(leftovers.clear, folder, report)
        await self._reap(instance_id)
        uids.give_back(self._runs, instance_id)
        return report

    async def forget(self, instance_id: str) -> None:
        """Keep the logs of the last few instances and of those that failed; remove the rest."""
        await self._reap(instance_id)
        uids.give_back(self._runs, instance_id)
        await anyio.to_thread.run_sync(self._prune)

    async def known(self) -> list[str]:
        """Instances whose folder has a keeper's socket."""
        return await anyio.to_thread.run_sync(self._kept, False)

    async def check(self) -> None:
        """This machine is there as long as we are."""

    async def kept(self, instance_id: str) -> list[KeptLog]:
        """The logs that are left of one, ended or not."""
        return await anyio.to_thread.run_sync(kept_logs, self._folder(instance_id))

    async def read(self, instance_id: str, name: str, most: int) -> bytes | None:
        """The last *most* bytes of one of them; None: there is no such log."""
        folder = self._folder(instance_id)
        return await anyio.to_thread.run_sync(read_kept, folder, name, most)

    # How a keeper comes to be

    async def _own_uid(self, instance_id: str) -> int:
        return await anyio.to_thread.run_sync(uids.take, self._runs, instance_id)

    def _kept(self, is_contained: bool) -> list[str]:
        folders = [path.parent for path in self._runs.glob("i-*/keeper.sock")]
        return sorted(folder.name for folder in folders if (folder / PLAN).exists() == is_contained)

    def _folder(self, instance_id: str) -> Path:
        return self._runs / instance_id

    def _plan(self, spec: InstanceSpec, isolation: probe.IsolationFound, uid: int) -> Plan:
        width, height = SCREEN
        if spec.display.width > width or spec.display.height > height:
            width, height = LARGEST_SCREEN
        settings = self._settings
        return Plan(
            instance_id=spec.instance_id,
            display_kind=spec.display_kind,
            streamer=list(settings.streamer),
            streamer_environment=_streamer_environment(spec.instance_id),
            application=list(spec.command),
            environment=dict(spec.environment),
            application_folder=str(spec.folder) if spec.folder else None,
            read_only=[str(path) for path in spec.read_only],
            python=probe.python_folders(),
            waits=spec.session_id is None,
            content_host=spec.content_host,
            content_folder=str(spec.content_folder) if spec.content_folder else None,
            isolation=isolation.mode,
            uid=uid,
            gid=uid if isolation.mode == "drop" else (os.getgid() or 1000),
            has_size=isolation.has_size,
            network=spec.network,
            ports=[] if isolation.mode == "container" else _shared_ports(spec, settings),
            gpu=spec.gpu,
            audio=settings.audio,
            memory_mb=spec.memory_mb,
            screen=(width, height),
            start_deadline_s=spec.start_deadline_s,
            attach_deadline_s=settings.attach_deadline_s,
            stop_grace_s=settings.stop_grace_s,
            hooks=[dataclasses.asdict(hook) for hook in spec.hooks],
            facts=dict(spec.facts),
        )

    def _write(self, folder: Path, plan: Plan, spec: InstanceSpec) -> None:
        folder.mkdir(mode=0o700)
        app = folder / "app"
        app.mkdir(mode=0o700)
        token = spec.access_token.get_secret_value() if spec.access_token else None
        for name, text in ((adoption.TOKEN, token), (adoption.USER_DATA, spec.user_data)):
            if text is not None:
                adoption.hand(app, name, text, plan)
        settings = self._settings
        config = StreamerConfig(
            instance_id=spec.instance_id,
            session_id=spec.session_id,
            instance_token=spec.instance_token,
            link_url=spec.link_url,
            link_urls=list(spec.link_urls),
            media_socket=str(folder / "media.sock"),
            channels=str(folder / "channels"),
            channel_names=list(spec.channels),
            largest=spec.largest,
            display_kind=spec.display_kind,
            display=spec.display,
            encoder=settings.encoder,
            bitrate_kbps=settings.bitrate_kbps,
            udp_ports=settings.udp_ports,
            public_ip=settings.public_ip,
            ice_servers=list(spec.ice_servers),
        )
        body = config.model_dump(mode="json")
        body["instance_token"] = config.bearer or None
        write_private(folder / "streamer.json", body)
        write_private(folder / "plan.json", plan)

    async def _start_keeper(self, folder: Path, instance_id: str) -> None:
        read, write = os.pipe()
        os.set_blocking(read, False)
        command = [sys.executable, "-P", "-m", "downstage.spawners.keeper", str(folder)]
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            # posix_spawn, and in this thread: quick whatever our size, and nothing to collect.
            pid = os.posix_spawn(  # noqa: ASYNC221
                sys.executable,
                command,
                {**_keeper_environment(), "DOWNSTAGE_INSTANCE": instance_id},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, write, 1),
                    (os.POSIX_SPAWN_OPEN, 2, str(folder / "keeper.log"), flags, 0o600),
                ],
                setsid=True,
                setsigmask=(),
            )
            self._keepers[instance_id] = (pid, linux.start_time(pid))
            os.close(write)
            write = -1
            with anyio.fail_after(READY_S):
                await anyio.wait_readable(read)
                if not os.read(read, 64):
                    raise OSError(errno.ECHILD, "it ended at once, see its keeper.log")
        finally:
            os.close(read)
            if write >= 0:
                os.close(write)

    # How one goes

    async def _reap(self, instance_id: str) -> None:
        """Wait for the keeper, which ends right after its last report; collect it if ours."""
        pid, started = self._keepers.pop(instance_id, (None, None))
        if pid is None:
            return
        with anyio.move_on_after(ANSWER_S) as scope:
            await leftovers.gone(pid)
        if scope.cancelled_caught and linux.start_time(pid) == started:
            log.error("keeper.stuck", instance_id=instance_id)
            leftovers.kill(pid)
            await leftovers.gone(pid)
        try:
            os.waitpid(pid, 0)  # noqa: ASYNC222 - it has ended
        except ChildProcessError:
            return

    def _prune(self) -> None:
        prune(self._runs, self._settings.keep, time.time())


def _shared_ports(spec: InstanceSpec, settings: ProcessSettings) -> list[dict[str, Any]]:
    """A process with network listens on this machine itself: its ports are there as they are.

    Raises:
        SpawnFailed: it has no network, or leaves the choice to us, who cannot hold a port for it.
    """
    if spec.ports and not spec.network:
        raise SpawnFailed("Ports are published only of applications that have network.")
    if any(port.number == 0 for port in spec.ports):
        raise SpawnFailed("Only a container can be given a port of our choice (number 0).")
    host = settings.public_ip or "127.0.0.1"
    return [{**port.model_dump(), "host": host, "published": port.number} for port in spec.ports]


def _keeper_environment() -> dict[str, str]:
    return {key: os.environ[key] for key in ("PATH", "LANG", "TZ", "HOME") if key in os.environ}


def _streamer_environment(instance_id: str) -> dict[str, str]:
    found = {
        key: value
        for key, value in os.environ.items()
        if key in INHERITED or key.startswith(INHERITED_GROUPS)
    }
    return {**found, "DOWNSTAGE_INSTANCE": instance_id}
