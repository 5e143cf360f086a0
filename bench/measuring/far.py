"""One browser start at the far end of a cable: a page as JSON on standard input, figures out.

`look` starts this program there; glass to glass stays true, because both ends have one clock.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from measuring.measure import Page, measure

__all__ = ["look"]


def look(enter: Sequence[str], page: Page, **how: object) -> dict[str, Any]:
    """What a browser there sees; ``ok`` False with ``fail`` where it sees nothing.

    Args:
        enter: words before a command that is to run there.
        page: what to open.
        how: further arguments of `measure`.
    """
    asked = {
        "url": page.url,
        "size": page.size,
        "groups": {name: sorted(pids) for name, pids in page.groups.items()},
        "flags": page.flags,
        "how": how,
    }
    done = subprocess.run(
        [*enter, sys.executable, __file__],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    if done.returncode:
        return {"ok": False, "fail": done.stderr.strip()[-800:]}
    return json.loads(done.stdout)


def main() -> None:
    """Measure what standard input asks for."""
    asked = json.load(sys.stdin)
    groups = {name: set(pids) for name, pids in asked["groups"].items()}
    page = Page(asked["url"], tuple(asked["size"]), groups, flags=tuple(asked["flags"]))
    print(json.dumps(asyncio.run(measure(page, **asked["how"]))))


if __name__ == "__main__":
    main()
