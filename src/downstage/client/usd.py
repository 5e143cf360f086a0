"""Stages at ``omniverse://`` addresses, opened by USD as it is: no resolver, no plugin.

::

    from downstage.client import usd

    stage = usd.open("omniverse://localhost/Projects/scene.usda")

    with usd.open_live("omniverse://localhost/Projects/scene.usda") as live:
        live.stage.GetPrimAtPath("/World").SetActive(False)
        live.settle()

The file and all that it refers to (sublayers, references, payloads, textures, clips, in every
variant) is copied into a folder of the cache, in parallel, and opened there. Needs ``usd-core`` and
NumPy.
"""

# ruff: noqa: A001 - ``open`` is what it does

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from downstage.client.client import Client, default_client
from downstage.client.live.layers import key, registry
from downstage.client.places import Place
from downstage.client.stages.fetching import Fetched, Fetcher, Problem
from downstage.client.stages.places import Mirror
from downstage.kernel.errors import NotSupported, PlatformError, SetupError

__all__ = ["Fetched", "PlatformError", "Problem", "localize", "open", "open_live"]

FOLDER = "stages"


def localize(url: str) -> Fetched:
    """Copy a stage and what it refers to to this machine.

    Args:
        url: of the stage; with ``?&N`` that checkpoint of it, and what it refers to as that is
            now. A ``file:`` URL is its own copy.

    Returns:
        `Fetched.path` to open, `Fetched.problems` for what it refers to and is not there.

    Raises:
        NotFound, Forbidden, Unauthenticated: of the file itself.
        Unavailable: the server cannot be reached.
        TooLarge: it refers to more than one stage may.
        SetupError: ``usd-core`` is not installed.
    """
    client = default_client()
    place = client.place(url)
    if place.scheme == "file":
        return Fetched(Path(place.path))
    return client.run(_localize, place)


def open(url: str, *, load: bool = True) -> Any:
    """Open the stage at *url*; live, where that is its mode (`usd_live_set_mode_for_url`).

    Args:
        url: of the stage.
        load: with its payloads.

    Returns:
        A ``Usd.Stage``. Edits go to its copy, which the next `open` replaces.

    Raises:
        NotFound, Forbidden, Unauthenticated, Unavailable, TooLarge, SetupError: see `localize`.
    """
    usd = _usd()
    path = localize(url).path
    rule = usd.Stage.LoadAll if load else usd.Stage.LoadNone
    stage = usd.Stage.Open(str(path), rule)
    place = default_client().place(url)
    if place.scheme != "file" and not place.checkpoint:
        _follow_mode(url, path, stage)
    return stage


def open_live(
    url: str,
    *,
    fetched: Fetched | None = None,
    on_arrival: Callable[[], None] | None = None,
    on_change: Callable[[], None] | None = None,
    timeout_s: float = 30.0,
) -> Any:
    """Open the stage at *url* to edit it together with others.

    Args:
        url: of the stage, on a Downstage server.
        fetched: what `localize` just gave for it, so that it is not fetched again.
        on_arrival: called on another thread when there is something to `process`.
        on_change: called from within a USD notice when the live layer was edited here.
        timeout_s: for the first answer.

    Returns:
        A `LiveStage`; close it, or use it as a context manager.

    Raises:
        DeadlineExceeded, Unavailable: the live layer cannot be joined.
        NotSupported: the URL names a checkpoint, which nobody edits.
        NotFound, Forbidden, Unauthenticated, TooLarge, SetupError: see `localize`.
    """
    _usd()
    from downstage.client.stages.live_stage import LiveStage

    if default_client().place(url).checkpoint:
        raise NotSupported("A checkpoint cannot be edited: open the file itself.")
    path = (fetched or localize(url)).path
    live = LiveStage(
        default_client(), url, path, _again, on_arrival=on_arrival, on_change=on_change
    )
    try:
        live.live.settle_until(lambda: True, timeout_s)
    except BaseException:
        live.close()
        raise
    return live


def _follow_mode(url: str, path: Path, stage: Any) -> None:
    """Make *stage* live while the mode of its URL says so."""
    from downstage.client.stages.live_stage import LiveStage

    live: list[LiveStage] = []

    def switch(enabled: bool) -> None:
        if enabled and not live:
            live.append(LiveStage(default_client(), url, path, _again, stage=stage))
        elif not enabled and live:
            live.pop().close()

    registry.opened(url, switch)
    if registry.is_live(key(url)):
        switch(True)


def _again(place: Place) -> Path:
    return default_client().run(_localize, place).path


async def _localize(client: Client, place: Place) -> Fetched:
    _usd()
    from downstage.client.stages.rewriting import rewrite

    mirror = Mirror(client.options.cache_folder.parent / FOLDER)
    return await Fetcher(client, mirror, rewrite).fetch(place)


def _usd() -> Any:
    try:
        from downstage.client.live.pxr import Usd
    except ImportError as error:
        raise SetupError("Stages need usd-core and numpy: pip install usd-core numpy") from error
    return Usd
