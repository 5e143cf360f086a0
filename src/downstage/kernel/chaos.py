"""Places where a test may have this process killed, as a power cut would.

``DOWNSTAGE_CHAOS="content.blob.renamed:3"`` kills the process at the third pass of that point.
Without the variable a point costs one comparison.
"""

from __future__ import annotations

import os
import signal

__all__ = ["VARIABLE", "point"]

VARIABLE = "DOWNSTAGE_CHAOS"


def _planned() -> dict[str, int]:
    plan = dict[str, int]()
    for item in filter(None, os.environ.get(VARIABLE, "").split(",")):
        name, _, count = item.partition(":")
        plan[name] = int(count or 1)
    return plan


_plan = _planned()


def point(name: str) -> None:
    """Die here without warning, if that is planned for this pass."""
    if not _plan or name not in _plan:
        return
    _plan[name] -= 1
    if _plan[name] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
