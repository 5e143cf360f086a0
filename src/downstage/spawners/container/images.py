"""Images of one engine: what a reference means there, and how it comes there.

A tag is looked up at its registry once, when the image is pulled; from then on it means what the
engine has, and a container is made from that image's id, never from a name.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import aiodocker
import anyio
import anyio.to_thread

from downstage.spawners.container.client import Way, engine
from downstage.spawners.container.registries import login_for, registry_of
from downstage.spawners.spawner import SpawnFailed

__all__ = ["Image", "Images", "Progress", "PullFailed"]

NOT_FOUND = 404
MAX_WORD = 300
LOOK_S = 1.0


class PullFailed(SpawnFailed):
    """An image could not be had from its registry."""

    code = "pull-failed"


@dataclass(frozen=True, slots=True)
class Image:
    """An image that the engine has."""

    id: str
    digests: tuple[str, ...] = ()
    """``registry/name@sha256:…``, by which the very same can be asked for elsewhere."""
    volumes: tuple[str, ...] = ()
    """Folders that it declares as volumes."""


@dataclass(slots=True)
class Progress:
    """How far a pull has come."""

    layers: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """Bytes here and bytes in all, by layer; in all 0: not told yet."""
    done: set[str] = field(default_factory=set[str])

    def learn(self, item: dict[str, Any]) -> None:
        """Take one line of what the engine says."""
        layer, status = item.get("id"), str(item.get("status", "")).lower()
        if not isinstance(layer, str):
            return
        detail: object = item.get("progressDetail")
        sizes = cast("dict[str, Any]", detail) if isinstance(detail, dict) else {}
        here, whole = self.layers.get(layer, (0, 0))
        if status.startswith("download") or "total" in sizes:
            here, whole = int(sizes.get("current") or here), int(sizes.get("total") or whole)
        self.layers[layer] = (here, whole)
        if status.startswith(("download complete", "pull complete", "already exists")):
            self.done.add(layer)

    @property
    def percent(self) -> int | None:
        """0 to 100, or None where the engine has told nothing to reckon with."""
        if not self.layers:
            return None
        whole = sum(size for _, size in self.layers.values())
        if whole == 0:
            return 100 * len(self.done) // len(self.layers)
        here = sum(
            size if layer in self.done else min(come, size)
            for layer, (come, size) in self.layers.items()
        )
        return 100 * here // whole


class Images:
    """The images of one engine.

    Args:
        way: to the engine.
        registries: file of log-ins (`manager.registries`).
        deadline_s: how long a pull may take.
    """

    def __init__(self, way: Way | str, registries: Path | None, deadline_s: float) -> None:
        self._way, self._registries, self._deadline_s = way, registries, deadline_s
        self._logins: dict[str, dict[str, str]] = {}
        self._pulls: dict[str, anyio.Event] = {}
        """Set when that pull is over; no lock, since a generator may move between tasks."""

    def know(self, reference: str, login: dict[str, str]) -> None:
        """Show *login* at the registry of *reference*, whatever the file of log-ins says."""
        self._logins[reference] = login

    async def find(self, reference: str) -> Image | None:
        """The image, if it is here.

        Raises:
            NodeUnreachable: the engine does not answer.
        """
        async with engine(self._way) as docker:
            try:
                found = await docker.images.inspect(reference)
            except aiodocker.DockerError as error:
                if error.status == NOT_FOUND:
                    return None
                raise SpawnFailed(f"The image {reference}: {_word(error)}") from error
        config = cast("dict[str, Any]", found.get("Config") or {})
        return Image(
            str(found["Id"]),
            tuple(cast("list[str]", found.get("RepoDigests") or [])),
            tuple(cast("dict[str, Any]", config.get("Volumes") or {})),
        )

    async def resolve(self, reference: str) -> str:
        """``registry/name@sha256:…`` of an image, pulled where it is not here yet.

        An image that was made here and never pushed has no such name: it is known by its id.

        Raises:
            SpawnFailed: it cannot be had.
            NodeUnreachable: the engine does not answer.
        """
        async for _ in self.pull(reference):
            pass
        image = await self.find(reference)
        if image is None:
            raise SpawnFailed(f"The image {reference} is not there after it was pulled.")
        head, slash, last = reference.partition("@")[0].rpartition("/")
        name = f"{head}{slash}{last.partition(':')[0]}@"
        return next((one for one in image.digests if one.startswith(name)), image.id)

    async def pull(self, reference: str) -> AsyncGenerator[int | None]:
        """Get the image where it is not here; its percents as they change. One at a time.

        Raises:
            PullFailed: it cannot be had; the detail says why.
            NodeUnreachable: the engine does not answer.
        """
        until = anyio.current_time() + self._deadline_s
        while (other := self._pulls.get(reference)) is not None:
            with anyio.move_on_after(LOOK_S):
                await other.wait()
            self._check(until, reference)
            yield None
        over = self._pulls[reference] = anyio.Event()
        try:
            if await self.find(reference) is not None:
                return
            login = self._logins.pop(reference, None) or await anyio.to_thread.run_sync(
                login_for, self._registries, reference
            )
            async for percent in self._pulling(reference, login, until):
                yield percent
        finally:
            del self._pulls[reference]
            over.set()

    async def _pulling(
        self, reference: str, login: dict[str, str] | None, until: float
    ) -> AsyncGenerator[int | None]:
        progress, last = Progress(), -1
        async with contextlib.AsyncExitStack() as held:
            docker = await held.enter_async_context(engine(self._way, silent_s=None))
            lines = docker.images.pull(
                reference if registry_of(reference) != "docker.io" else _whole(reference),
                auth=login,
                stream=True,
                timeout=None,
            )
            held.push_async_callback(cast("AsyncGenerator[Any]", lines).aclose)
            while (item := await self._next(lines, until, reference)) is not None:
                progress.learn(item)
                if progress.percent is not None and progress.percent != last:
                    last = progress.percent
                    yield last

    async def _next(self, lines: Any, until: float, reference: str) -> dict[str, Any] | None:
        try:
            with anyio.fail_after(until - anyio.current_time()):
                item = cast("dict[str, Any]", await anext(lines))
        except StopAsyncIteration:
            return None
        except TimeoutError:
            self._check(0, reference)
            raise
        except aiodocker.DockerError as error:
            raise _failed(reference, _word(error)) from error
        if "error" in item:
            raise _failed(reference, str(item["error"])[:MAX_WORD])
        return item

    def _check(self, until: float, reference: str) -> None:
        if anyio.current_time() >= until:
            seconds = f"within {self._deadline_s:g} s (manager.pull_deadline)"
            raise _failed(reference, f"it was not here {seconds}")


def _failed(reference: str, why: str) -> PullFailed:
    return PullFailed(f"The image {reference} cannot be pulled: {why.strip().rstrip('.')}.")


def _whole(reference: str) -> str:
    """With the registry that Docker means where none is named."""
    if reference.startswith("docker.io/"):
        return reference
    return "docker.io/" + (reference if "/" in reference else f"library/{reference}")


def _word(error: aiodocker.DockerError) -> str:
    text = str(error.message)
    with contextlib.suppress(ValueError, TypeError, KeyError):
        text = str(json.loads(text)["message"])
    return text[:MAX_WORD]
