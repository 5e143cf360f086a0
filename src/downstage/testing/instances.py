"""What tests look at of an instance that runs."""

from __future__ import annotations

from pathlib import Path

from downstage.spawners.plan import Report, read_json

__all__ = ["own_folder"]


def own_folder(instance: Path) -> Path:
    """``/run/app`` of the instance whose folder is *instance*, as its keeper sees it.

    Behind bubblewrap that is memory which nobody else on this machine has mounted.
    """
    keeper, _ = read_json(instance / "report.json", Report).pids["keeper"]
    return Path(f"/proc/{keeper}/root{instance.absolute()}/app")
