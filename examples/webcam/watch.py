"""Watch a stream of pictures: how many come a second, how old they are, what is in them."""

from __future__ import annotations

import argparse
import contextlib
import time

from downstage.streams import Client


def main() -> None:
    """Say something every second, until there is nothing more."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("server", nargs="?", help="http(s)://host:port; else the one running here")
    words.add_argument("--stream", default="webcam")
    words.add_argument("--count", type=int, help="end after so many pictures")
    asked = words.parse_args()

    with Client(asked.server) as client:
        told, seen = time.monotonic(), 0
        # Rather skip pictures than fall behind; an analysis that needs each one leaves that away.
        for entry in client.pull(asked.stream, latest=True, count=asked.count, timeout=30):
            frame = entry.array("BGR")  # as OpenCV wants it; entry.value is RGB
            seen += 1
            now = time.monotonic()
            if now - told >= 1:
                height, width = frame.shape[:2]
                age = time.time() * 1000 - entry.ms
                rate = seen / max(now - told, 1e-3)
                bright = frame.mean() / 2.55
                print(
                    f"{width}x{height}  {rate:.0f}/s  {age:.0f} ms old  {bright:.0f} % bright",
                    flush=True,
                )
                told, seen = now, 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
