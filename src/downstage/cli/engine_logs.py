"""Copies of an engine's log while it writes: the files that one and the same list names."""

from __future__ import annotations

import shutil
from pathlib import Path

from downstage.kernel.errors import SetupError

__all__ = ["copy_engine_logs", "is_in_log"]

LIST = "entries.manifest"
TRIES = 20


def is_in_log(path: Path) -> bool:
    """Whether *path* is a file of an engine's log."""
    return (path.parent / LIST).exists()


def copy_engine_logs(data: Path, scratch: Path) -> list[tuple[Path, Path]]:
    """Copy every engine's log below *data* into *scratch*; returns copies and names in *data*.

    An engine may begin new files at any moment and remove the old ones; what was copied then does
    not fit together and is copied anew. An entry at the end may be cut in half: the engine leaves
    that one out when it reads its log.

    Raises:
        SetupError: one of them does not hold still for long enough.
    """
    found = list[tuple[Path, Path]]()
    for number, listed in enumerate(sorted(data.rglob(LIST))):
        target = scratch / f"engine-{number}"
        for _ in range(TRIES):
            if _copy(listed, target):
                break
        else:
            raise SetupError(f"The engine of streams begins new files all the time in {listed}.")
        name = listed.parent.relative_to(data)
        found += [(path, name / path.name) for path in sorted(target.iterdir())]
    return found


def _copy(listed: Path, target: Path) -> bool:
    """Whether the same files are named before and after."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    try:
        named = listed.read_bytes()
        for line in named.decode("utf-8", "replace").splitlines():
            words = line.split()
            name = Path(words[1]).name if len(words) > 1 and words[0] == "file" else ""
            if name:
                shutil.copy(listed.parent / name, target / name)
        (target / LIST).write_bytes(named)
        return listed.read_bytes() == named
    except FileNotFoundError:
        return False
