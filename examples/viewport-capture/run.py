"""Start the capture service and call it: in its own process, and over HTTP."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from serving import extension

from downstage.kernel.logging import configure
from downstage.kernel.settings import Log

NAME = "omni.services.example.viewport.capture"


async def main() -> None:
    """Print the answers of three calls by each way."""
    async with extension(HERE / "exts" / NAME) as address:
        import caller  # what it imports is there while the extension runs

        for uri in ("local://", address):
            print(uri)
            for call in (
                caller.capture,
                caller.capture_with_the_model,
                caller.capture_application,
            ):
                print(f"  {call.__name__}: {await call(uri)}")


if __name__ == "__main__":
    configure(Log(level="warning"))
    anyio.run(main)
