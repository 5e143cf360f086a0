"""The half of a manager that runs on a node: a spawner and its handles, offered over a stream.

It ends with the stream. What it started goes on: keepers outlive it as they outlive a manager, and
end by themselves when nobody comes back in time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from downstage import __version__
from downstage.kernel.errors import PlatformError, Unavailable
from downstage.kernel.logging import get_logger
from downstage.spawners.container.spawner import ContainerSettings, ContainerSpawner
from downstage.spawners.exec import Exec, ExecStream
from downstage.spawners.kept import Keep
from downstage.spawners.process import ProcessSettings
from downstage.spawners.remote.content import CONTENT, open_door
from downstage.spawners.remote.frames import MAX_PAYLOAD, MAX_PIECE, PROTOCOL, Kind, object_of
from downstage.spawners.remote.health import Health
from downstage.spawners.remote.line import Channel, Line, Wire
from downstage.spawners.remote.wire import HalfSettings, unpacked
from downstage.spawners.spawner import Adoption, Handle, InstanceSpec, NodeUnreachable

__all__ = ["ENGINE", "Half", "serve"]

ENGINE = "unix:///run/downstage/engine.sock"
"""The engine's own socket, as the node container has it."""
HELLO_S = 30.0
END_S = 10.0
log = get_logger(__name__)

Answer = Callable[[Channel, dict[str, Any]], Awaitable[None]]


async def serve(wire: Wire, make: Callable[[HalfSettings], ContainerSpawner] | None = None) -> None:
    """Say hello, learn the settings, answer until the stream ends.

    Args:
        wire: the stream to the manager.
        make: makes the spawner.
    """
    half = Half(make or spawner_of)
    line = Line(wire, half.answer, is_half=True)
    async with anyio.create_task_group() as tasks:

        async def stay() -> None:
            await line.run()
            tasks.cancel_scope.cancel()

        tasks.start_soon(stay)
        await line.greet(protocol=PROTOCOL, version=__version__)
        try:
            with anyio.fail_after(HELLO_S):
                runs = half.open(await line.greeting())
            tasks.start_soon(half.look)
            await open_door(runs, line)
        except (PlatformError, TimeoutError, OSError) as error:
            log.warning("node.not_begun", reason=str(error))
            line.give_up(str(error))


def spawner_of(settings: HalfSettings) -> ContainerSpawner:
    """The spawner of this machine, as the manager wants it."""
    process = ProcessSettings(
        audio=settings.audio,
        encoder=settings.encoder,
        bitrate_kbps=settings.bitrate_kbps,
        udp_ports=settings.udp_ports,
        attach_deadline_s=settings.attach_deadline_s,
        stop_grace_s=settings.stop_grace_s,
        keep=Keep(settings.keep_s, settings.keep_bytes),
    )
    container = ContainerSettings(
        engine=ENGINE,
        pull_deadline_s=settings.pull_deadline_s,
        user_ports=settings.user_ports,
        host=settings.host,
    )
    settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.folder.chmod(0o700)
    return ContainerSpawner(settings.folder, process, container)


class Half:
    """Answers what a manager asks for.

    Args:
        make: makes the spawner, once the manager has said how.
    """

    def __init__(self, make: Callable[[HalfSettings], ContainerSpawner]) -> None:
        self._make = make
        self._spawner: ContainerSpawner | None = None
        self._handles = dict[int, Handle]()
        self._folder = Path()
        self._fault = "The node's half has not begun."
        self._health = Health()
        self._answers: dict[str, Answer] = {
            "check": self._check,
            "start": self._start,
            "attach": self._attach,
            "adopt": self._adopt,
            "stop": self._stop,
            "kill": self._kill,
            "exec": self._exec,
            "logs": self._logs,
            "clean": self._clean,
            "forget": self._forget,
            "known": self._known,
            "kept": self._kept,
            "read": self._read,
            "retire": self._retire,
        }

    def open(self, hello: dict[str, Any]) -> Path:
        """Begin, with what the manager said; the folder of what runs here.

        Raises:
            PlatformError: it is not what this half understands.
        """
        if hello.get("protocol") != PROTOCOL:
            raise PlatformError("The manager speaks another protocol.")
        settings = unpacked(HalfSettings, hello.get("settings"))
        self._folder = settings.folder
        try:
            self._spawner = self._make(settings)
        except OSError as error:
            self._fault = f"{settings.folder} cannot be used: {error.strerror}."
        return settings.folder

    async def look(self) -> None:
        """Look after the engine, until cancelled."""
        await self._health.watch(self._its)

    async def answer(self, channel: Channel, asked: dict[str, Any]) -> None:
        """Answer one call.

        Raises:
            PlatformError: it cannot be done.
        """
        found = self._answers.get(str(asked.get("do")))
        if found is None:
            raise PlatformError("The node's half knows no such call.")
        await found(channel, asked)

    @property
    def _its(self) -> ContainerSpawner:
        if self._spawner is None:
            raise NodeUnreachable(self._fault)
        return self._spawner

    def _handle(self, asked: dict[str, Any]) -> Handle:
        found = self._handles.get(int(asked["on"]))
        if found is None:
            raise Unavailable("This instance is not held any more.")
        return found

    # Of the node

    async def _check(self, channel: Channel, asked: dict[str, Any]) -> None:
        del asked
        await self._health.told()
        await channel.end()

    async def _known(self, channel: Channel, asked: dict[str, Any]) -> None:
        del asked
        await channel.end(value=await self._its.known())

    async def _clean(self, channel: Channel, asked: dict[str, Any]) -> None:
        report = await self._its.clean(str(asked["instance"]))
        await channel.end(value=None if report is None else dataclasses.asdict(report))

    async def _forget(self, channel: Channel, asked: dict[str, Any]) -> None:
        await self._its.forget(str(asked["instance"]))
        await channel.end()

    async def _kept(self, channel: Channel, asked: dict[str, Any]) -> None:
        found = await self._its.kept(str(asked["instance"]))
        await channel.end(value=[dataclasses.asdict(one) for one in found])

    async def _read(self, channel: Channel, asked: dict[str, Any]) -> None:
        found = await self._its.read(
            str(asked["instance"]), str(asked["name"]), min(int(asked["most"]), 4 * MAX_PAYLOAD)
        )
        await _pieces(channel, found or b"")
        await channel.end(value=found is not None)

    async def _retire(self, channel: Channel, asked: dict[str, Any]) -> None:
        """End all that runs: the node is no more."""
        del asked
        async with anyio.create_task_group() as tasks:
            for instance_id in await self._its.known():
                tasks.start_soon(self._end, instance_id)
        await channel.end()

    async def _end(self, instance_id: str) -> None:
        with anyio.move_on_after(END_S):
            handle = await self._its.attach(instance_id)
            if handle is not None:
                await handle.kill()
                async for _ in handle.reports():
                    pass
                await handle.close()
        await self._its.clean(instance_id)
        await self._its.forget(instance_id)

    # Of an instance

    async def _start(self, channel: Channel, asked: dict[str, Any]) -> None:
        spec = unpacked(InstanceSpec, asked.get("spec"))
        if spec.content_folder is not None:
            spec = dataclasses.replace(spec, content_folder=self._folder / CONTENT)
        login: object = asked.get("login")
        if isinstance(login, dict) and spec.image is not None:
            self._its.images.know(spec.image, login)  # pyright: ignore[reportUnknownArgumentType]
        await self._hold(channel, await self._its.start(spec))

    async def _attach(self, channel: Channel, asked: dict[str, Any]) -> None:
        handle = await self._its.attach(str(asked["instance"]))
        if handle is None:
            await channel.end()
        else:
            await self._hold(channel, handle)

    async def _hold(self, channel: Channel, handle: Handle) -> None:
        """Tell how it stands, until the caller has enough; it is called on meanwhile."""
        self._handles[channel.number] = handle
        try:
            await channel.item(held=True)
            async with aclosing(handle.reports()) as reports:
                async for report in reports:
                    await channel.item(report=dataclasses.asdict(report))
            await channel.item(over=True)
            await anyio.sleep_forever()
        finally:
            del self._handles[channel.number]
            with anyio.CancelScope(shield=True), anyio.move_on_after(END_S):
                await handle.close()

    async def _adopt(self, channel: Channel, asked: dict[str, Any]) -> None:
        await self._handle(asked).adopt(unpacked(Adoption, asked.get("adoption")))
        await channel.end()

    async def _stop(self, channel: Channel, asked: dict[str, Any]) -> None:
        await self._handle(asked).stop(str(asked["reason"]))
        await channel.end()

    async def _kill(self, channel: Channel, asked: dict[str, Any]) -> None:
        await self._handle(asked).kill()
        await channel.end()

    async def _logs(self, channel: Channel, asked: dict[str, Any]) -> None:
        tail: object = asked.get("tail")
        pieces = self._handle(asked).logs(
            follow=bool(asked.get("follow")), tail=tail if isinstance(tail, int) else None
        )
        async for piece in pieces:
            await _pieces(channel, piece)
        await channel.end()

    async def _exec(self, channel: Channel, asked: dict[str, Any]) -> None:
        program = await self._handle(asked).exec(unpacked(Exec, asked.get("exec")))
        async with _closed(program), anyio.create_task_group() as tasks:
            await channel.item(started=True)
            tasks.start_soon(_feed, channel, program)
            async with anyio.create_task_group() as both:
                both.start_soon(_wait, channel, program)
                both.start_soon(_pass_on, channel, program)
            tasks.cancel_scope.cancel()
        await channel.end()


@asynccontextmanager
async def _closed(program: ExecStream) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(END_S):
            await program.close()


async def _wait(channel: Channel, program: ExecStream) -> None:
    await channel.item(code=await program.wait())


async def _pass_on(channel: Channel, program: ExecStream) -> None:
    async for number, data in program.output():
        await _pieces(channel, data, bytes([number]))
    await channel.item(closed=True)


async def _feed(channel: Channel, program: ExecStream) -> None:
    """What the caller says to the program, until it has enough."""
    while True:
        frame = await channel.next()
        if frame.kind is Kind.DATA:
            await program.send(frame.payload)
        elif frame.kind is Kind.ITEM:
            await _told(program, object_of(frame))
        else:
            return


async def _told(program: ExecStream, said: dict[str, Any]) -> None:
    match said:
        case {"end_input": True}:
            await program.end_input()
        case {"resize": [int(columns), int(rows)]}:
            await program.resize(columns, rows)
        case _:
            log.warning("node.exec_not_understood")


async def _pieces(channel: Channel, data: bytes, head: bytes = b"") -> None:
    for at in range(0, len(data), MAX_PIECE):
        await channel.data(head + data[at : at + MAX_PIECE])
