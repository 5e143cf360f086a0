"""User ids of applications: each living instance of a machine has one that no other has.

What lives is told by the folders of the instances, so it is known after a restart, too; what is
about to start, by a table that all spawners of this process share.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from threading import Lock

from downstage.spawners import probe
from downstage.spawners.plan import Plan, read_json
from downstage.spawners.spawner import SpawnFailed

__all__ = ["give_back", "take"]

FIRST, COUNT = probe.UID + 1, probe.UIDS - 1
"""The very first is errands'."""
_lock = Lock()
_taken: dict[Path, dict[str, int]] = {}


def take(runs: Path, instance_id: str) -> int:
    """A user id for an instance, its own until `give_back`. Blocks.

    Raises:
        SpawnFailed: every one is taken.
    """
    with _lock:
        taken = _taken.setdefault(runs, {})
        used = {uid for other, uid in taken.items() if other != instance_id}
        used |= _living(runs, instance_id)
        digest = hashlib.blake2s(instance_id.encode(), digest_size=4).digest()
        start = int.from_bytes(digest, "big")
        for step in range(COUNT):
            uid = FIRST + (start + step) % COUNT
            if uid not in used:
                taken[instance_id] = uid
                return uid
    raise SpawnFailed(f"All {COUNT} user ids of applications are taken on this machine.")


def give_back(runs: Path, instance_id: str) -> None:
    """Nothing of it runs any more."""
    with _lock:
        _taken.get(runs, {}).pop(instance_id, None)


def _living(runs: Path, but: str) -> set[int]:
    found = set[int]()
    for socket in runs.glob("i-*/keeper.sock"):
        if socket.parent.name != but:
            try:
                found.add(read_json(socket.parent / "plan.json", Plan).uid)
            except (OSError, ValueError):
                continue
    return found
