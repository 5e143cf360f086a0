"""What applications do that should not be: the first argument says what."""

import errno
import json
import os
import socket
import sys
import time
from pathlib import Path


def say(**what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def show():
    """Draw something, so that the instance counts as running."""
    os.environ["SDL_AUDIODRIVER"] = "dummy"
    import pygame

    pygame.display.init()
    pygame.display.set_mode((64, 64)).fill((9, 99, 9))
    pygame.display.flip()
    return pygame


def reach(address):
    kind, _, rest = address.partition(":")
    try:
        if kind == "unix":
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(rest)
        else:
            host, _, port = rest.rpartition(":")
            with socket.create_connection((host, int(port)), timeout=3):
                pass
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    return "reached"


def write(path):
    try:
        Path(path).write_text("mine")
    except OSError as error:
        return errno.errorcode[error.errno]
    return "written"


def look(arguments):
    status = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines()
    )
    say(
        uid=os.getuid(),
        capabilities=status["CapBnd"] + status["CapEff"],
        no_new_privileges=status["NoNewPrivs"],
        seccomp=status["Seccomp"],
        environment=dict(os.environ),
        interfaces=sorted(name for _, name in socket.if_nameindex()),
        processes=sum(path.name.isdigit() for path in Path("/proc").iterdir()),
        x11=[path.name for path in Path("/tmp/.X11-unix").iterdir()],
        written={path: write(path) for path in arguments if path.startswith("/")},
        reached={path: reach(path) for path in arguments if path.startswith(("unix:", "tcp:"))},
        handed=read("DOWNSTAGE_TOKEN_FILE"),
        data=read("DOWNSTAGE_USER_DATA_FILE"),
    )


def read(variable):
    path = os.environ.get(variable)
    return Path(path).read_text() if path and Path(path).exists() else None


def bomb():
    """Fork until nothing goes any more, and stay."""
    count = 0
    while True:
        try:
            if os.fork() == 0:
                while True:
                    time.sleep(60)
        except OSError as error:
            say(forks=count, error=errno.errorcode[error.errno])
            return
        count += 1


def hog():
    kept = []
    while True:
        kept.append(bytearray(os.urandom(1 << 20)))


def serve():
    """Answer on the port that was given, TCP."""
    port = int(os.environ["DOWNSTAGE_PORT_WEB"])
    with socket.create_server(("0.0.0.0", port)) as server:
        while True:
            connection, _ = server.accept()
            connection.sendall(b"here I am")
            connection.close()


def main():
    what, *arguments = sys.argv[1:]
    pygame = show()
    if what == "exit":
        say(bye=True)
        sys.exit(int(arguments[0]))
    if what == "look":
        look(arguments)
    if what == "bomb":
        bomb()
    if what == "serve":
        serve()
    while not Path("/run/app/go").exists():
        pygame.event.pump()
        time.sleep(0.02)
    if what == "hog":
        hog()
    if what == "fork-late":
        bomb()
    while True:
        pygame.event.pump()
        time.sleep(0.05)


main()
