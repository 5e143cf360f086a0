"""``python -m downstage.streamer /path/to/streamer.json``."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import anyio

# structlog draws tracebacks with rich where it finds it; ours are JSON lines, and rich costs each
# session 10 MB and a tenth of a second.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]

from downstage.kernel.errors import PlatformError  # noqa: E402
from downstage.kernel.logging import configure  # noqa: E402
from downstage.kernel.settings import Log  # noqa: E402
from downstage.streamer.process import KeeperLine, end_with_parent, return_memory  # noqa: E402

ARGUMENTS = 2


def main() -> None:
    """Run one streamer and leave with its status."""
    return_memory()
    line = KeeperLine()
    configure(Log())
    if len(sys.argv) != ARGUMENTS:
        sys.stderr.write("usage: python -m downstage.streamer CONFIG.json\n")
        sys.exit(2)
    if not end_with_parent():
        sys.exit(0)
    # Imported after the line is made: these libraries print to standard output.
    from downstage.streamer.program import Program, leave, load_config, report

    try:
        path = Path(sys.argv[1])
        config = load_config(path)
        # What was loaded stays: the collector never has to look at it again.
        gc.collect()
        gc.freeze()
        program = Program(config, line, lambda: load_config(path))
        status = anyio.run(program.run, backend_options={"use_uvloop": True})
    except PlatformError as error:
        status = report(error)
    leave(status)


if __name__ == "__main__":
    main()
