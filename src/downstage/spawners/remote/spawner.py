"""Instances of an engine on another machine: what a manager has of such a node.

One stream is kept to the node container and opened again whenever it breaks. While there is none,
every call says so (`NodeUnreachable`), and nothing of what runs there is called lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.to_thread

from downstage import __version__
from downstage.kernel.errors import PlatformError
from downstage.kernel.logging import get_logger
from downstage.services.supervisor import supervise
from downstage.spawners.container.client import Way
from downstage.spawners.container.images import Images
from downstage.spawners.container.registries import login_for
from downstage.spawners.kept import KeptLog
from downstage.spawners.plan import Report
from downstage.spawners.remote.content import serve_door
from downstage.spawners.remote.frames import PROTOCOL, Kind, object_of
from downstage.spawners.remote.handle import RemoteHandle
from downstage.spawners.remote.line import Channel, Line, value_of
from downstage.spawners.remote.node import NodeContainer, NodeSettings, Speech
from downstage.spawners.remote.reach import Reach, why_not_elsewhere
from downstage.spawners.remote.ways import address_of, way_to
from downstage.spawners.remote.wire import HalfSettings, packed, report_of
from downstage.spawners.spawner import InstanceSpec, NodeUnreachable, SpawnFailed

__all__ = ["RemoteSettings", "RemoteSpawner"]

HELLO_S = 60.0
CHECK_S = 1.8
HEARD_S = 6.0
"""A node that gave a sign of life since then is busy rather than cut off."""
ANSWER_S = 15.0
RETIRE_S = 20.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """An engine elsewhere, and what runs on it."""

    engine: str
    """``tcp://…``, ``https://…``, ``ssh://…``."""
    node: NodeSettings
    half: HalfSettings
    certificates: Path | None = None
    registries: Path | None = None
    content: Path | None = None
    """Folder of the socket by which applications reach files; None: they do not."""


class RemoteSpawner:
    """See the module.

    Args:
        settings: the engine, and what is the same for all that runs there.

    Raises:
        NodeUnreachable: the engine's address is not acceptable.
    """

    def __init__(self, settings: RemoteSettings) -> None:
        self._settings = settings
        try:
            self._address = address_of(settings.engine)
        except ValueError as error:
            raise NodeUnreachable(str(error)) from error
        self._line: Line | None = None
        self._task: asyncio.Task[None] | None = None
        self._why = "The node is being looked for."
        self._is_retired = False

    # What a spawner does

    async def start(self, spec: InstanceSpec) -> RemoteHandle:
        """Start one; answers as soon as somebody keeps it, or its image begins to come.

        Raises:
            SpawnFailed: it could not be started, or needs something of the manager's machine.
            NodeUnreachable: the node is cut off.
        """
        why = why_not_elsewhere(spec)
        if why is not None:
            raise SpawnFailed(f"It cannot run on another machine: {why}.")
        line = self._reach()
        image = spec.image or ""
        login = await anyio.to_thread.run_sync(login_for, self._settings.registries, image)
        others = Reach(spec.link_url, spec.link_urls).others
        # Paths of the manager's machine mean nothing there; of this one, the half has its own.
        content = None if self._settings.content is None else spec.content_folder
        spec = dataclasses.replace(spec, folder=None, content_folder=content, link_urls=others)
        found = await self._held(line, "start", spec=packed(spec), login=login)
        if found is None:
            raise SpawnFailed("The node did not start it.")
        return found

    async def attach(self, instance_id: str) -> RemoteHandle | None:
        """Find one that was started earlier; None where nobody keeps it any more."""
        return await self._held(self._reach(), "attach", instance=instance_id)

    async def clean(self, instance_id: str) -> Report | None:
        """End whatever an instance without a keeper left, and answer its last report."""
        found = await self._ask("clean", instance=instance_id)
        return None if found is None else report_of(found)

    async def forget(self, instance_id: str) -> None:
        """An ended instance is on record: what it left on disk may go."""
        await self._ask("forget", instance=instance_id)

    async def known(self) -> list[str]:
        """Ids of instances of which something may still run there."""
        return cast("list[str]", await self._ask("known"))

    async def check(self) -> None:
        """Return if instances can be started there just now; begins to reach out at the first call.

        Raises:
            NodeUnreachable: they cannot; the detail says why, or how far it is.
        """
        if self._task is None and not self._is_retired:
            staying = supervise(f"node.{self._address.netloc}", self._stay)
            self._task = asyncio.get_running_loop().create_task(staying)
        line = self._reach()
        try:
            with anyio.fail_after(CHECK_S):
                async with self._asked("check") as channel:
                    await channel.result()
        except TimeoutError as error:
            if anyio.current_time() - line.heard_at >= HEARD_S:
                raise NodeUnreachable("The node gives no sign of life.") from error

    async def kept(self, instance_id: str) -> list[KeptLog]:
        """The logs that are left of one, ended or not."""
        found = cast("list[dict[str, Any]]", await self._ask("kept", instance=instance_id))
        return [KeptLog(**one) for one in found]

    async def read(self, instance_id: str, name: str, most: int) -> bytes | None:
        """The last *most* bytes of one of them; None: there is no such log."""
        text = bytearray()
        async with self._asked("read", instance=instance_id, name=name, most=most) as channel:
            while (frame := await channel.next()).kind is Kind.DATA:
                text += frame.payload
        return bytes(text) if value_of(frame) else None

    # How long it is one

    async def close(self) -> None:
        """Let go of the node; what runs there goes on for a while."""
        self._is_retired = True
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def retire(self) -> None:
        """The node is removed: end what runs there, and take the node container away."""
        try:
            with anyio.fail_after(RETIRE_S):
                await self._ask("retire", seconds=RETIRE_S)
        except (PlatformError, TimeoutError) as error:
            log.warning("node.not_emptied", engine=self._settings.engine, reason=str(error))
        await self.close()
        try:
            async with way_to(self._address, self._settings.certificates) as way:
                await NodeContainer(way, self._settings.node, self._tell).remove()
        except NodeUnreachable as error:
            log.warning("node.left", engine=self._settings.engine, reason=error.detail)

    # The line

    def _reach(self) -> Line:
        line = self._line
        if line is None or line.fault is not None:
            raise NodeUnreachable(self._why)
        return line

    async def _ask(self, do: str, *, seconds: float = ANSWER_S, **fields: Any) -> Any:
        try:
            with anyio.fail_after(seconds):
                async with self._asked(do, **fields) as channel:
                    return await channel.result()
        except TimeoutError as error:
            raise NodeUnreachable(f"The node did not answer within {seconds:g} s.") from error

    @asynccontextmanager
    async def _asked(self, do: str, **fields: Any) -> AsyncGenerator[Channel]:
        channel = await self._reach().call(do, **fields)
        try:
            yield channel
        finally:
            await channel.leave()

    async def _held(self, line: Line, do: str, **fields: Any) -> RemoteHandle | None:
        channel = await line.call(do, **fields)
        is_held = False
        try:
            frame = await channel.next()
            is_held = frame.kind is Kind.ITEM and bool(object_of(frame).get("held"))
            if frame.kind is Kind.END:
                value_of(frame)
        finally:
            if not is_held:
                await channel.leave()
        return RemoteHandle(line, channel) if is_held else None

    def _tell(self, word: str) -> None:
        self._why = word

    async def _stay(self) -> None:
        """Keep a line, until cancelled."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                await self._talk()
                pause = FIRST_PAUSE_S
            except* (PlatformError, OSError, TimeoutError) as errors:
                word = _first_of(errors)
                if word != self._why:
                    log.warning("node.not_reached", engine=self._settings.engine, reason=word)
                self._tell(word)
            await anyio.sleep(pause)
            pause = min(LONGEST_PAUSE_S, pause * 2)

    async def _talk(self) -> None:
        """One line, from the first word to its end."""
        async with way_to(self._address, self._settings.certificates) as way:
            node = NodeContainer(way, self._settings.node, self._tell)
            await node.ready(self._images(way))
            async with node.entered() as speech:
                line = Line(speech, self._files)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(line.run)
                    try:
                        await self._greet(line, speech)
                        self._line = line
                        log.info("node.reached", engine=self._settings.engine)
                        if node.is_stale:
                            await self._renew(node)
                        await line.ended.wait()
                    finally:
                        self._line = None
                        line.give_up("The line to the node was closed.")
                self._tell(line.fault.detail if line.fault else self._why)
                log.warning("node.cut_off", engine=self._settings.engine, reason=self._why)

    async def _files(self, channel: Channel, asked: dict[str, Any]) -> None:
        await serve_door(channel, asked, self._settings.content)

    async def _greet(self, line: Line, speech: Speech) -> None:
        image = self._settings.node.image
        try:
            with anyio.fail_after(HELLO_S):
                hello = await line.greeting()
        except TimeoutError as error:
            raise NodeUnreachable(f"The node said nothing within {HELLO_S:g} s.") from error
        except NodeUnreachable as error:
            words = speech.last_words or error.detail
            raise NodeUnreachable(f"{image} does not speak as a node: {words}") from error
        if hello.get("protocol") != PROTOCOL:
            raise NodeUnreachable(
                f"{image} holds Downstage {hello.get('version')}, which speaks version "
                f"{hello.get('protocol')} of the nodes' protocol; this manager ({__version__}) "
                f"speaks {PROTOCOL}. Set manager.node_image to an image of this version."
            )
        await line.greet(
            protocol=PROTOCOL, version=__version__, settings=packed(self._settings.half)
        )

    async def _renew(self, node: NodeContainer) -> None:
        """Its settings or its image have changed: made anew, as soon as nothing runs in it."""
        if await self._ask("known"):
            log.warning("node.outdated", engine=self._settings.engine)
            return
        await node.remove()
        raise NodeUnreachable("The node container is made anew.")

    def _images(self, way: Way) -> Images:
        half = self._settings.half
        return Images(way, self._settings.registries, half.pull_deadline_s)


def _first_of(errors: BaseExceptionGroup[Any]) -> str:
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = cast("BaseExceptionGroup[BaseException]", found).exceptions[0]
    return found.detail if isinstance(found, PlatformError) else f"{type(found).__name__}: {found}"
