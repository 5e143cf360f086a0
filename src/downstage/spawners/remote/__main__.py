"""``python -m downstage.spawners.remote``: a manager's half, on standard input and output."""

from __future__ import annotations

import os
import sys

import anyio

from downstage.kernel.logging import configure
from downstage.kernel.settings import Log
from downstage.spawners.remote.pipes import Pipes
from downstage.spawners.remote.server import serve

__all__ = ["main"]


def main() -> int:
    """Serve until the manager goes."""
    configure(Log(json_lines=True))
    reads, writes = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)  # whatever prints, prints to where it disturbs nobody
    anyio.run(serve, Pipes(reads, writes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
