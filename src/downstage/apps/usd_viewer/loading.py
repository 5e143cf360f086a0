"""Fetches and reads a stage beside the event loop; the window stays alive meanwhile."""

from __future__ import annotations

import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import pygame

from downstage.apps.usd_viewer.problem import StageProblem
from downstage.apps.usd_viewer.scene.reader import Scene, open_scene
from downstage.apps.usd_viewer.source import fetch_stage, parse_source

__all__ = ["LOADED", "LOADING", "Loaded", "load_in_background"]

LOADED = pygame.event.custom_type()
"""Posted once, with ``result``: a `Loaded`."""
LOADING = pygame.event.custom_type()
"""Posted now and then, with ``count``: bytes that have been downloaded."""
_TELL_EVERY = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Loaded:
    """How it ended: a scene, or a problem."""

    scene: Scene | None = None
    problem: StageProblem | None = None


def load_in_background(stage: str) -> None:
    """Start to load *stage*; the outcome comes as an event."""
    threading.Thread(target=_run, args=(stage,), name="loading", daemon=True).start()


def _run(stage: str) -> None:
    try:
        result = Loaded(scene=_load(stage))
    except StageProblem as problem:
        result = Loaded(problem=problem)
    except Exception as error:  # noqa: BLE001 the edge: whatever a file does, it is told on the picture
        reason = f"{type(error).__name__}: {error}"[:300]
        remedy = "The file may be damaged: usdchecker tells more."
        result = Loaded(problem=StageProblem("This stage cannot be read", reason, remedy))
    pygame.event.post(pygame.event.Event(LOADED, result=result))


def _load(stage: str) -> Scene:
    source = parse_source(stage)
    folder = Path(tempfile.mkdtemp(prefix="downstage-stage-"))
    told = 0

    def progress(count: int) -> None:
        nonlocal told
        if count - told >= _TELL_EVERY:
            told = count
            pygame.event.post(pygame.event.Event(LOADING, count=count))

    try:
        return open_scene(fetch_stage(source, folder, progress=progress), source.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
