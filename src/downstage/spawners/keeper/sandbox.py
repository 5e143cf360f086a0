"""What an application sees: bubblewrap's arguments, and its environment.

Everything is handed to bubblewrap through a descriptor (``--args``), so that neither
variables nor paths stand in the process list.

Inside, ``/run/app`` is the application's own folder (token file, runtime dir),
``/run/display`` holds the sockets of its display and its sound, ``/run/channels`` those of its
data channels, ``/run/content`` the one to the platform's files; ``/home/app`` and ``/tmp`` are its
own and gone with it. ``/usr`` and the Python environment are read-only; of ``/etc`` it sees what
libraries need and nothing that says who else is on this machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from downstage.contracts.channels import ENVIRONMENT as CHANNELS
from downstage.spawners.keeper.display import socket_of
from downstage.spawners.plan import CONTENT_SOCKET, Isolation, Plan

__all__ = ["Seams", "environment_of", "memory_file", "options", "wrap", "write_accounts"]

ETC = [
    "alternatives",
    "fonts",
    "gtk-3.0",
    "gtk-4.0",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "pki",
    "ssl/certs",
    "ssl/openssl.cnf",
    "ca-certificates",
    "glvnd",
    "vulkan",
    "OpenCL",
    "X11",
    "xdg/gtk-3.0",
    "drirc",
]
ETC_NETWORK = ("hosts", "resolv.conf", "services", "protocols", "gai.conf")
SCRATCH_BYTES = 1024**3
"""Bound of each scratch folder; it is memory, and given back with the instance."""


@dataclass(frozen=True, slots=True)
class Seams:
    """The host's files through which an instance's parts meet."""

    folder: Path
    """The instance's own."""
    display: str | None
    wayland: Path | None
    cookie: Path | None
    pulse: Path | None
    shares_memory: bool
    """The keeper left the host's IPC namespace, so that X server and application may share one."""
    channels: Path | None = None
    """Where the sockets of data channels are; to be looked at, not changed."""

    @property
    def app(self) -> Path:
        """What the application may read and write."""
        return self.folder / "app"


def environment_of(plan: Plan, seams: Seams) -> dict[str, str]:
    """Every variable the application gets; ours win over those of the caller."""
    inside = plan.isolation != "none"
    app = Path("/run/app") if inside else seams.app
    found = {
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/games",
        **plan.environment,
        "HOME": "/home/app" if inside else str(app / "home"),
        "XDG_RUNTIME_DIR": str(app),
        "DOWNSTAGE_INSTANCE": plan.instance_id,
    }
    if seams.channels is not None:
        found[CHANNELS] = "/run/channels" if inside else str(seams.channels)
    for name, variable in (("token", "TOKEN"), ("user-data", "USER_DATA")):
        if plan.waits or (seams.app / name).exists():
            found[f"DOWNSTAGE_{variable}_FILE"] = str(app / name)
    if plan.content_folder is not None:
        content = "/run/content" if inside else plan.content_folder
        found["DOWNSTAGE_CONTENT_SOCKET"] = f"{content}/{CONTENT_SOCKET}"
        found["DOWNSTAGE_CONTENT_HOST"] = plan.content_host or ""
    if seams.display is not None:
        found["DISPLAY"] = seams.display
        found["XAUTHORITY"] = str(app / "xauthority")
        found.setdefault("GDK_BACKEND", "x11")
        if not plan.gpu:
            # Presenting through software GL costs SDL 8 ms; on Wayland it knows no other way.
            found.setdefault("SDL_FRAMEBUFFER_ACCELERATION", "0")
    if seams.wayland is not None:
        found["WAYLAND_DISPLAY"] = "/run/display/wayland-0" if inside else str(seams.wayland)
        found["XDG_SESSION_TYPE"] = "wayland"
        found.setdefault("SDL_VIDEODRIVER", "wayland")
    if seams.pulse is not None:
        found["PULSE_SERVER"] = "unix:" + ("/run/display/pulse" if inside else str(seams.pulse))
    return found


def write_accounts(folder: Path, uid: int, gid: int) -> None:
    """Write the user and group tables that the sandbox shows in place of the host's."""
    folder.mkdir(mode=0o700)
    tables = {
        "passwd": f"root:x:0:0:root:/:/bin/sh\napp:x:{uid}:{gid}:app:/home/app:/bin/sh\n",
        "group": f"root:x:0:\napp:x:{gid}:\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    }
    for name, text in tables.items():
        path = folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)


def options(plan: Plan, seams: Seams, environment: Mapping[str, str]) -> list[str]:
    """Bubblewrap's options for *plan*, in order."""
    return [
        *_namespaces(plan, shares_memory=seams.shares_memory),
        *_places("/etc", "/var", "/var/cache", "/home"),
        *_system(network=plan.network),
        *_scratch(has_size=plan.has_size),
        *_places("/run/display", "/tmp/.X11-unix"),  # noqa: S108 - its own
        *_folders(plan),
        *_sockets(plan, seams),
        *_accounts(seams.folder / "etc"),
        *("--chdir", plan.application_folder or "/home/app", "--clearenv"),
        *(part for key, value in environment.items() for part in ("--setenv", key, value)),
    ]


def _namespaces(plan: Plan, *, shares_memory: bool) -> list[str]:
    found = ["--die-with-parent", "--new-session", "--unshare-pid", "--unshare-uts"]
    found += ["--unshare-cgroup-try", "--cap-drop", "ALL"]
    if not shares_memory:
        found.append("--unshare-ipc")
    if not plan.network:
        found.append("--unshare-net")
    if plan.isolation == "userns":
        found += ["--unshare-user", "--uid", str(plan.uid), "--gid", str(plan.gid)]
    else:  # only until setpriv has taken the other user id, see `wrap`
        for name in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
            found += ["--cap-add", name]
    return found


def _places(*folders: str) -> list[str]:
    """Make *folders* so that another user id may pass; bubblewrap's own would be 0700."""
    return [part for folder in folders for part in ("--perms", "0755", "--dir", folder)]


def _system(*, network: bool) -> list[str]:
    found = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            found += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            found += ["--ro-bind", str(path), str(path)]
    for name in (*ETC, *(ETC_NETWORK if network else ("hosts",))):
        found += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    found += ["--ro-bind-try", "/var/cache/fontconfig", "/var/cache/fontconfig"]
    return [*found, "--proc", "/proc", "--dev", "/dev"]


def _scratch(*, has_size: bool) -> list[str]:
    found = list[str]()
    for folder in ("/tmp", "/home/app", "/dev/shm", "/run", "/var/tmp"):  # noqa: S108
        mode = "0755" if folder == "/run" else "1777"
        size = ("--size", str(SCRATCH_BYTES)) if has_size else ()
        found += ["--perms", mode, *size, "--tmpfs", folder]
    return found


def _folders(plan: Plan) -> list[str]:
    found = list[str]()
    own = [plan.application_folder] if plan.application_folder else []
    for folder in dict.fromkeys([*plan.python, *own, *plan.read_only]):
        if not folder.startswith("/usr/"):
            found += _places(*(str(path) for path in reversed(Path(folder).parents[:-1])))
            found += ["--ro-bind", folder, folder]
    if plan.gpu:
        for folder in ("/dev/dri", "/sys/dev/char", "/sys/devices"):
            found += ["--dev-bind-try", folder, folder]
        found += [
            part
            for name in ("nvidia0", "nvidiactl", "nvidia-uvm", "nvidia-modeset")
            for part in ("--dev-bind-try", f"/dev/{name}", f"/dev/{name}")
        ]
    return found


def _sockets(plan: Plan, seams: Seams) -> list[str]:
    found = ["--bind", str(seams.app), "/run/app"]
    if seams.channels is not None:
        found += ["--ro-bind", str(seams.channels), "/run/channels"]
    if seams.display is not None:
        path = str(socket_of(seams.display))
        found += ["--bind", path, path]
    if seams.wayland is not None:
        found += ["--bind", str(seams.wayland), "/run/display/wayland-0"]
    if seams.pulse is not None:
        found += ["--bind", str(seams.pulse), "/run/display/pulse"]
    if plan.content_folder is not None:
        found += ["--ro-bind", plan.content_folder, "/run/content"]
    return found


def _accounts(folder: Path) -> list[str]:
    names = ("passwd", "group", "nsswitch.conf")
    return [part for name in names for part in ("--ro-bind", str(folder / name), f"/etc/{name}")]


def memory_file(parts: Sequence[str]) -> int:
    """An unnamed file with *parts*, each ended by NUL, at its start; for ``--args``."""
    handle = os.memfd_create("bubblewrap")
    with os.fdopen(os.dup(handle), "wb") as file:
        file.write(b"".join(os.fsencode(part) + b"\0" for part in parts))
    os.lseek(handle, 0, os.SEEK_SET)
    return handle


def wrap(
    isolation: Isolation, uid: int, gid: int, handle: int, command: Sequence[str]
) -> list[str]:
    """The argument vector that runs *command* inside; options are read from *handle*."""
    step = list[str]()
    if isolation == "drop":
        step = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
        step += ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"]
    return ["bwrap", "--args", str(handle), "--", *step, *command]
