"""A session of an application that writes down what reaches it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from downstage.testing.platform import PlatformProcess

__all__ = ["APPLICATIONS", "Witness"]

APPLICATIONS = Path(__file__).parent / "viewer"
"""The folder in which a platform finds it."""
DEADLINE_S = 20.0


class Witness:
    """One such session, for many tests: each forgets what came before.

    Args:
        platform: one that was started with `APPLICATIONS`.
        display: the picture it draws.
    """

    def __init__(self, platform: PlatformProcess, display: dict[str, int]) -> None:
        self._platform = platform
        before = set((platform.data / "run").glob("*/app.log"))
        self.session: str = platform.create("witness", display=display)["id"]
        (self._log,) = set((platform.data / "run").glob("*/app.log")) - before
        self._seen = 0

    def forget(self) -> None:
        """Only what comes from now on counts."""
        self._seen = len(self._log.read_text().splitlines())

    def events(self, kind: str) -> list[list[Any]]:
        """Everything of *kind* so far, without that word."""
        lines = self._log.read_text().splitlines()[self._seen :]
        words = (json.loads(line) for line in lines if line.startswith("["))
        return [said[1:] for said in words if said[0] == kind]

    async def until(self, kind: str, *wanted: list[Any], seconds: float = DEADLINE_S) -> None:
        """Until the newest events of *kind* are *wanted*."""
        try:
            async with asyncio.timeout(seconds):
                while self.events(kind)[-len(wanted) :] != list(wanted):
                    await asyncio.sleep(0.03)
        except TimeoutError:
            pytest.fail(f"wanted {kind} {wanted}, came {self.events(kind)[-8:]}")

    def end(self) -> None:
        """Let it draw no more."""
        self._platform.call("DELETE", f"/v1/sessions/{self.session}")
        self._platform.wait_state(self.session, "ended")
