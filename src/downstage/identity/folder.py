"""A data folder is a demo's or a real one, from its first start to its last."""

from __future__ import annotations

from pathlib import Path

from downstage.kernel.errors import SetupError

__all__ = ["DATABASE", "KEY", "MARK", "claim_folder"]

MARK = "demo"
"""File that marks a demo's data folder."""
DATABASE = "identity.db"
KEY = "identity.key"


def claim_folder(data: Path, *, demo: bool) -> None:
    """Mark *data* at its first use; afterwards refuse the other mode. Blocks briefly.

    Raises:
        SetupError: a demo's folder is to be used for real, or the reverse.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    mark, used = data / MARK, (data / DATABASE).exists()
    if mark.exists() and not demo:
        raise SetupError(
            f"The data folder {data} belongs to a demo and never becomes a real one. "
            "Choose another with --data, or start with --demo."
        )
    if demo and used and not mark.exists():
        raise SetupError(
            f"The data folder {data} belongs to a real installation; a demo would open it to "
            "everybody. Choose another with --data, or start without --demo."
        )
    if demo:
        mark.touch(mode=0o600)
