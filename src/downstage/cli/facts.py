"""What a running platform leaves for the commands of its user: process, addresses, a token."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Facts", "find_platform"]


@dataclass(frozen=True, slots=True)
class Facts:
    """A platform that runs: its process, addresses and the operator's token."""

    pid: int
    url: str
    operator_url: str
    token: str


def find_platform(data: Path) -> Facts | None:
    """The platform that runs on *data*; None where none does."""
    folder = data.absolute() / "run"
    try:
        found = json.loads((folder / "platform.json").read_text(encoding="utf-8"))
        token = (folder / "operator.token").read_text(encoding="ascii").strip()
        alive = Path(f"/proc/{int(found['pid'])}").exists()
        facts = Facts(int(found["pid"]), found["url"], found["operator_url"], token)
    except (OSError, ValueError, KeyError):
        return None
    return facts if alive else None
