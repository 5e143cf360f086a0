"""``python -m downstage.media.probe CHOICE``: encode one frame and say by what, and why.

For the doctor, as a process of its own: a driver that crashes takes nobody with it. It captures
the empty screen of our own compositor, so it needs no display.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import anyio

from downstage.kernel.errors import SetupError
from downstage.media.encoder import EncoderInfo, as_choice
from downstage.media.frame import Cursor, EncodedFrame, Size
from downstage.media.source import SourceEvents, WaylandSource

__all__ = ["encode_one", "main"]

DEADLINE_S = 20.0


async def encode_one(choice: str, folder: Path) -> EncoderInfo:
    """The encoder that made the first frame.

    Raises:
        SetupError: the compositor did not start, or no frame came in time.
    """
    framed = anyio.Event()

    def on_frame(_: EncodedFrame) -> None:
        framed.set()

    def ignore(*_: Cursor | str) -> None:
        return

    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    source = WaylandSource(
        folder / "probe.sock",
        Size(640, 360),
        fps=30,
        bitrate_kbps=2000,
        encoder=as_choice(choice),
        events=SourceEvents(on_frame, ignore, ignore),
    )
    await source.open()
    try:
        with anyio.fail_after(DEADLINE_S):
            await framed.wait()
            info = await source.info()
    except TimeoutError as error:
        raise SetupError(f"No frame was encoded within {DEADLINE_S:g} s.") from error
    finally:
        await source.close()
    if info is None:
        raise SetupError("The encoder ended at once.")
    return info


def main() -> None:
    """Print one line: the encoder, and the reason where it is a fall-back."""
    choice = sys.argv[1] if len(sys.argv) > 1 else "auto"
    with tempfile.TemporaryDirectory(prefix="ds-probe-", ignore_cleanup_errors=True) as folder:
        try:
            info = anyio.run(encode_one, choice, Path(folder))
        except SetupError as error:
            print(error.detail)  # noqa: T201 - a program's own output
            sys.exit(1)
        kind = "hardware" if info.hardware else "software"
        reason = f"; {info.reason}" if info.reason else ""
        print(f"{info.name} ({kind}){reason}", flush=True)  # noqa: T201 - a program's own output
        os._exit(0)  # the compositor's threads would keep the process


if __name__ == "__main__":
    main()
