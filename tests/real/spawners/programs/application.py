"""A tiny application with many bad habits; the first argument says which."""

import json
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path


def draw():
    if "DISPLAY" in os.environ:
        from Xlib import display

        screen = display.Display()
        root = screen.screen().root
        window = root.create_window(0, 0, 64, 64, 0, screen.screen().root_depth)
        window.map()
        screen.sync()
        return screen
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(os.environ["WAYLAND_DISPLAY"])
    return connection


def escape():
    """A daemon as in the book: two forks and a session of its own."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                time.sleep(60)
        os._exit(0)
    os.wait()


def reach(kind, address):
    family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
    target = address if kind == "unix" else ("127.0.0.1", int(address))
    with socket.socket(family) as probe:
        probe.settimeout(2)
        try:
            probe.connect(target)
        except OSError as error:
            return type(error).__name__
        return "reached"


def names(folder):
    path = Path(folder)
    return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []


def can_see(path):
    try:
        return Path(path).exists()
    except PermissionError:
        return False


def look(arguments):
    """Tell what can be seen from here, on standard output."""
    token = os.environ.get("DOWNSTAGE_TOKEN_FILE")
    return {
        "uid": os.getuid(),
        "ipc": str(Path("/proc/self/ns/ipc").readlink()),
        "data_limit": resource.getrlimit(resource.RLIMIT_DATA)[0],
        "core_limit": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "environment": dict(os.environ),
        "arguments": arguments,
        "handed": Path(token).read_text() if token else None,
        "handed_mode": oct(Path(token).stat().st_mode & 0o777) if token else None,
        "tmp": names("/tmp")[:9],
        "x11": names("/tmp/.X11-unix"),
        "processes": sum(name.isdigit() for name in names("/proc")),
        "etc": names("/etc"),
        "writable": os.access("/usr", os.W_OK),
        "home": os.access(os.environ["HOME"], os.W_OK),
        "reached": [
            reach(*argument.removeprefix("reach:").split(":", 1))
            for argument in arguments
            if argument.startswith("reach:")
        ],
        "read": [
            can_see(argument.removeprefix("read:"))
            for argument in arguments
            if argument.startswith("read:")
        ],
    }


def fill(folder):
    """Write as much as goes there, then as many files; some of it into a file without a name."""
    mine = Path(folder)
    handle = os.open(mine / "nameless", os.O_RDWR | os.O_CREAT)
    (mine / "nameless").unlink()
    found = {"bytes": 0, "files": 0}
    try:
        while True:
            found["bytes"] += os.write(handle, bytes(1 << 20))
    except OSError as error:
        found["full"] = error.errno
    os.close(handle)
    try:
        while True:
            (mine / f"file-{found['files']}").touch()
            found["files"] += 1
    except OSError as error:
        found["crowded"] = error.errno
    return found


def main():
    mode, *arguments = sys.argv[1:]
    if mode == "exit":
        print("the licence is missing, token=abc123secret", flush=True)
        sys.exit(int(arguments[0]))
    if mode == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(60)
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode == "daemon":
        escape()
    if mode == "look":
        print(json.dumps(look(arguments)), flush=True)
    if mode == "fill":
        print(json.dumps(fill(os.environ["XDG_RUNTIME_DIR"])), flush=True)
    if mode == "shout":
        for number in range(60_000):
            print(f"{number} " + "x" * 60)
        sys.stdout.flush()
    screen = draw()
    if mode == "leave":
        sys.exit(0)
    while screen is not None:
        time.sleep(60)


main()
