"""Stages on a content server, by the client: loaded for them alone, a local file waits for none."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from downstage.apps.usd_viewer.following import Link, LiveStage
from downstage.apps.usd_viewer.problem import StageProblem
from downstage.apps.usd_viewer.scene.reader import open_stage
from downstage.client import usd
from downstage.client.client import default_client

__all__ = ["Live", "Still", "fetch", "follow", "problem_of"]


class Live:
    """A stage that is followed, see `LiveStage`; all calls on the thread that draws."""

    def __init__(self, live: Any) -> None:
        self.stage = live.stage
        self._live = live

    @property
    def link(self) -> Link:
        """How it stands."""
        layer = self._live.live
        if layer.problem is not None:
            return Link(problem=layer.problem.detail or "It is live no more.")
        if not layer.session.is_joined:
            return Link()
        return Link(max(1, len(layer.people)))

    def process(self) -> None:
        """Apply what others did."""
        self._live.process()

    def close(self) -> None:
        """Leave."""
        self._live.close()


class Still:
    """A stage that the server gives, but lets nobody follow."""

    def __init__(self, stage: Any, why: str) -> None:
        self.stage = stage
        self.link = Link(problem=why)

    def process(self) -> None:
        """Nothing comes."""

    def close(self) -> None:
        """Nobody was there."""


def fetch(url: str) -> tuple[Path, Sequence[str]]:
    """Copy the stage at *url*, or one checkpoint of it, with all that it refers to.

    Returns:
        Its path, and what it refers to and is not there.

    Raises:
        StageProblem: it could not be had.
    """
    found = _fetch(url)
    return found.path, [problem.asset for problem in found.problems]


def follow(url: str, on_arrival: Callable[[], None]) -> tuple[LiveStage, Sequence[str]]:
    """Open the stage at *url* together with whoever edits it.

    Args:
        url: of the stage.
        on_arrival: called on another thread when there is something to `Live.process`.

    Returns:
        The stage, and what it refers to and is not there.

    Raises:
        StageProblem: it could not be had, or not be opened.
    """
    found = _fetch(url)
    missing = [problem.asset for problem in found.problems]
    try:
        return Live(usd.open_live(url, fetched=found, on_arrival=on_arrival)), missing
    except usd.PlatformError as error:
        return Still(open_stage(found.path), f"Not followed: {error.detail}"), missing


def problem_of(error: usd.PlatformError, url: str) -> StageProblem:
    """*error* in words for a picture."""
    parts = urlsplit(url)
    match error.code:
        case "not-found" | "gone":
            return StageProblem(
                "This stage is not there",
                f"{parts.hostname} has no {parts.path}."[:300],
                "Look for it among the files: it may have been moved or deleted.",
            )
        case "forbidden" | "unauthenticated" | "invalid-token":
            return StageProblem(
                "You may not read this stage",
                f"{parts.hostname}: {error.detail}"[:300],
                "Ask its owner for access, or sign in where the content is.",
            )
        case "unavailable" | "deadline" | "too-many":
            return StageProblem(
                "The content server does not answer",
                f"{parts.netloc}: {error.detail}"[:300],
                "Check the address, and that this machine may reach it; then open it again.",
            )
        case _:
            return StageProblem(
                "This stage cannot be had", error.detail[:300], "Check the address."
            )


def _fetch(url: str) -> usd.Fetched:
    if os.environ.get("DOWNSTAGE_INSTANCE"):
        # In a sandbox, where the home is memory and nobody opens anything twice.
        default_client().options.cache_bytes = 0
    try:
        return usd.localize(url)
    except usd.PlatformError as error:
        raise problem_of(error, url) from error
    except OSError as error:
        raise StageProblem(
            "There is no room for this stage",
            error.strerror or str(error),
            "Ask for an instance with more memory, or split the stage.",
        ) from error
