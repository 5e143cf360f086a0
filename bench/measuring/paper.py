"""A platform whose machine runs nothing: all of Downstage, and instances on paper.

As a program it is ``python -m downstage`` with one change, made before anything starts: what would
start processes is a `downstage.testing.spawners.PaperSpawner`. It notes each start in a file, so
that whoever measures can play the streamer, and finds again what another file says that runs.

`paper_platform` starts it: the platform's own code, its databases and its sockets are real.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from downstage.spawners.plan import Report
from downstage.spawners.spawner import InstanceSpec
from downstage.testing.platform import PlatformProcess
from downstage.testing.spawners import PaperHandle, PaperSpawner

__all__ = ["Notes", "paper_platform"]

NOTES, LIVING = "BENCH_PAPER_NOTES", "BENCH_PAPER_LIVING"
SETTINGS = {
    "DOWNSTAGE_GATEWAY__START_DEADLINE": "3600",
    "DOWNSTAGE_GATEWAY__SIGNALLING_RATE": "1000000",
    "DOWNSTAGE_MANAGER__CPUS": "1000000",
    "DOWNSTAGE_MANAGER__MEMORY_MB": "1000000000",
}


def paper_platform(
    data: Path, *, capacity: int, settings: Mapping[str, str] | None = None
) -> PlatformProcess:
    """A platform on *data* whose instances are on paper; not started yet."""
    environment = {
        **SETTINGS,
        "DOWNSTAGE_MANAGER__CAPACITY": str(capacity),
        NOTES: str(notes_of(data)),
        LIVING: str(living_of(data)),
        **(settings or {}),
    }
    return PlatformProcess(data, environment=environment, prefix=(sys.executable, __file__))


def notes_of(data: Path) -> Path:
    """Where its starts and ends are noted."""
    return data.with_name(f"{data.name}.notes")


def living_of(data: Path) -> Path:
    """Names what runs already when it starts, as a JSON list of ids."""
    return data.with_name(f"{data.name}.living")


class Notes:
    """Reads what the paper machine noted: every start and end, in their order."""

    def __init__(self, data: Path) -> None:
        self._path = notes_of(data)
        self._at = 0

    def new(self) -> list[dict[str, Any]]:
        """Notes since the last look."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._at)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._at += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


class Paper(PaperSpawner):
    """Notes what it does; its arguments are those of the spawner whose place it takes."""

    def __init__(self, *_: object) -> None:
        super().__init__()
        self._notes = Path(os.environ[NOTES]).open("a", buffering=1)  # noqa: SIM115 - until the end
        living = Path(os.environ[LIVING])
        for instance_id in json.loads(living.read_text()) if living.exists() else []:
            handle = PaperHandle(self, instance_id)
            handle.tell(Report(instance_id, phase="running", stage="running"))
            self.handles[instance_id] = handle
            self.living.add(instance_id)

    async def prepare(self) -> None:
        """There is nothing to prepare."""

    async def start(self, spec: InstanceSpec) -> PaperHandle:
        """It runs, and is noted."""
        token = spec.instance_token.get_secret_value() if spec.instance_token else None
        self._note("start", spec.instance_id, session=spec.session_id, token=token)
        return await super().start(spec)

    async def clean(self, instance_id: str) -> Report | None:
        """It is gone, and that is noted."""
        self._note("clean", instance_id)
        return await super().clean(instance_id)

    def end(self, instance_id: str, reason: str, exit_code: int | None = None) -> None:
        """It has ended, and that is noted."""
        self._note("end", instance_id)
        super().end(instance_id, reason, exit_code)

    def _note(self, what: str, instance_id: str, **more: object) -> None:
        note = {"what": what, "instance": instance_id, "at": time.time(), **more}
        self._notes.write(json.dumps(note) + "\n")


def main() -> None:
    """Be ``python -m downstage`` with the words after it."""
    from downstage.cli.main import main as downstage
    from downstage.manager import extension

    extension.ProcessSpawner = Paper  # type: ignore[misc, assignment]
    sys.argv = ["downstage", *sys.argv[sys.argv.index("downstage") + 1 :]]
    downstage()


if __name__ == "__main__":
    main()
