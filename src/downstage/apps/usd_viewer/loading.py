"""Fetches and reads a stage beside the event loop; the window stays alive meanwhile."""

from __future__ import annotations

import shutil
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pygame

from downstage.apps.usd_viewer.following import Arrival, Follower
from downstage.apps.usd_viewer.problem import StageProblem
from downstage.apps.usd_viewer.scene.reader import Scene, nothing_to_see, open_scene
from downstage.apps.usd_viewer.source import StageSource, fetch_stage, parse_source

__all__ = ["ARRIVED", "LOADED", "LOADING", "Loaded", "load_in_background"]

LOADED = pygame.event.custom_type()
"""Posted once, with ``result``: a `Loaded`."""
LOADING = pygame.event.custom_type()
"""Posted now and then, with ``count``: bytes that have been downloaded."""
ARRIVED = pygame.event.custom_type()
"""Posted when somebody edited a live stage."""
_TELL_EVERY = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Loaded:
    """How it ended: a scene, or a problem."""

    scene: Scene | None = None
    problem: StageProblem | None = None
    follower: Follower | None = None
    """Of a stage that others may edit."""


def load_in_background(stage: str) -> None:
    """Start to load *stage*; the outcome comes as an event."""
    threading.Thread(target=_run, args=(stage,), name="loading", daemon=True).start()


def _run(stage: str) -> None:
    try:
        result = _load(parse_source(stage))
    except StageProblem as problem:
        result = Loaded(problem=problem)
    except Exception as error:  # noqa: BLE001 the edge: whatever a file does, it is told on the picture
        reason = f"{type(error).__name__}: {error}"[:300]
        remedy = "The file may be damaged: usdchecker tells more."
        result = Loaded(problem=StageProblem("This stage cannot be read", reason, remedy))
    pygame.event.post(pygame.event.Event(LOADED, result=result))


def _wake() -> None:
    with suppress(pygame.error):  # the window is closed, or events enough wait for the viewer
        pygame.event.post(pygame.event.Event(ARRIVED))


def _load(source: StageSource) -> Loaded:
    if source.is_served and not source.is_checkpoint:
        return _load_live(source)
    folder = Path(tempfile.mkdtemp(prefix="downstage-stage-"))
    told = 0

    def progress(count: int) -> None:
        nonlocal told
        if count - told >= _TELL_EVERY:
            told = count
            pygame.event.post(pygame.event.Event(LOADING, count=count))

    try:
        return Loaded(open_scene(fetch_stage(source, folder, progress=progress), source.name))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _load_live(source: StageSource) -> Loaded:
    from downstage.apps.usd_viewer.served import follow  # loads the client

    arrival = Arrival(_wake)
    live, missing = follow(source.url, arrival)
    scene = Scene(live.stage, source.name)
    follower = Follower(live, scene, arrival, missing=missing)
    if not scene.parts:
        return Loaded(problem=nothing_to_see(source.name), follower=follower)
    return Loaded(scene, follower=follower)
