"""A streamer that streams nothing: it opens the display, and tells when something was drawn.

The first argument is its mode: ``plain``, ``mute`` (never says a word), ``crash`` (exits).
"""

import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def x11(config):
    from Xlib import X, display

    screen = display.Display(config["x_display"])
    screen.screen().root.change_attributes(event_mask=X.SubstructureNotifyMask)
    screen.sync()
    say("DISPLAY-READY")
    if any(w.get_attributes().map_state for w in screen.screen().root.query_tree().children):
        say("FIRST-PICTURE")
    while True:
        if screen.next_event().type == X.MapNotify:
            say("FIRST-PICTURE")


def wayland(config):
    server = socket.socket(socket.AF_UNIX)
    server.bind(config["wayland_socket"])
    server.listen()
    say("DISPLAY-READY")
    while True:
        connection, _ = server.accept()
        connection.close()
        say("FIRST-PICTURE")


def main():
    mode, path = sys.argv[1:]
    config = json.loads(Path(path).read_text(encoding="utf-8"))
    if mode == "crash":
        sys.exit("the encoder is missing")
    if mode == "mute":
        threading.Event().wait()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    (x11 if config["display_kind"] == "x11" else wayland)(config)


main()
