"""``python -m downstage.spawners.keeper <instance folder>``: keep one instance."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from downstage.spawners.keeper.life import Life
from downstage.spawners.plan import Plan, read_json

__all__ = ["main"]


def main() -> int:
    """Run the keeper; ``KEEPER-READY`` on standard output once its socket is there."""
    folder = Path(sys.argv[1]).resolve()
    os.chdir(folder)
    os.umask(0o077)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    life = Life(folder, read_json(folder / "plan.json", Plan))
    sys.stdout.write("KEEPER-READY\n")
    sys.stdout.flush()
    null = os.open(os.devnull, os.O_RDWR)
    for handle in (0, 1):
        os.dup2(null, handle)
    life.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
