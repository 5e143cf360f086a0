"""One more program in a running container, by the engine's exec."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal, cast

import aiodocker
import aiohttp
import anyio
import anyio.to_thread
from aiodocker.execs import Exec as EngineExec
from aiodocker.stream import Stream

from downstage.spawners.container.client import Way, drop, engine
from downstage.spawners.container.plan import PLAN, ContainerPlan, name_of
from downstage.spawners.exec import NO_ANSWER, CannotExec, Exec, ExecStream
from downstage.spawners.plan import read_json
from downstage.spawners.spawner import NodeUnreachable

__all__ = ["ContainerExec", "enter_container"]

END_OF_FILE = b"\x04"
SETTLE_S = 5.0


async def enter_container(folder: Path, asked: Exec) -> ExecStream:
    """Start a program inside the container of the instance in *folder*.

    Raises:
        CannotExec: no application runs there, or the program cannot be started.
    """
    try:
        plan = await anyio.to_thread.run_sync(read_json, folder / PLAN, ContainerPlan)
    except (OSError, ValueError) as error:
        raise CannotExec("The application of this instance does not run.") from error
    return await ContainerExec.start(f"unix://{plan.engine}", name_of(plan.instance_id), asked)


class ContainerExec:
    """See `ExecStream`; holds the connection to the engine as long as it is open."""

    def __init__(
        self,
        held: contextlib.AsyncExitStack,
        program: EngineExec,
        stream: Stream,
        *,
        tty: bool,
        is_here: bool,
    ) -> None:
        self._held, self._program, self._stream = held, program, stream
        self._tty, self._is_here = tty, is_here

    @classmethod
    async def start(cls, way: Way | str, container: str, asked: Exec) -> ContainerExec:
        """Start it, by the engine that *way* leads to.

        Raises:
            CannotExec: the container does not run, or has no such program.
            NodeUnreachable: the engine does not answer.
        """
        way = Way.of(way)
        async with contextlib.AsyncExitStack() as held:
            docker = await held.enter_async_context(engine(way, silent_s=None))
            variables = {"TERM": "xterm-256color"} if asked.tty else {}
            try:
                program: EngineExec = (
                    await cast("Any", docker.containers)
                    .container(container)
                    .exec(
                        list(asked.command),
                        stdin=True,
                        tty=asked.tty,
                        environment={**variables, **asked.environment},
                    )
                )
                stream = program.start(detach=False)
                held.push_async_callback(stream.close)
                await stream.__aenter__()
                if asked.tty:
                    await _resize(program, *asked.size)
            except aiodocker.DockerError as error:
                raise CannotExec(
                    f"{asked.command[0]} cannot be started: {error.message}"
                ) from error
            return cls(held.pop_all(), program, stream, tty=asked.tty, is_here=way.is_here)
        raise AssertionError

    async def output(self) -> AsyncIterator[tuple[Literal[1, 2], bytes]]:
        """What it writes, as it comes."""
        while True:
            try:
                message = await self._stream.read_out()
            except (aiodocker.DockerError, aiohttp.ClientError, OSError):
                return
            if message is None:
                return
            if message.data:
                yield (2 if message.stream == 2 else 1), message.data  # noqa: PLR2004

    async def send(self, data: bytes) -> None:
        """Hand it *data*."""
        with contextlib.suppress(OSError, RuntimeError, AssertionError):
            await self._stream.write_in(data)

    async def end_input(self) -> None:
        """Close its standard input, or type the end of file."""
        if self._tty:
            await self.send(END_OF_FILE)
            return
        response = self._stream._resp  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        connection = response.connection if response is not None else None
        if connection is not None and connection.transport is not None:
            connection.transport.write_eof()

    async def resize(self, columns: int, rows: int) -> None:
        """Tell the terminal's new size."""
        if self._tty:
            await _resize(self._program, columns, rows)

    async def wait(self) -> int:
        """Its exit code, once the engine knows it."""
        while True:
            state = await self._state()
            if state is None:
                return NO_ANSWER
            if not state.get("Running"):
                code = state.get("ExitCode")
                return code if isinstance(code, int) else NO_ANSWER
            await anyio.sleep(0.1)

    async def close(self) -> None:
        """Let go of it, and kill it where its process is one of this machine."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(SETTLE_S):
            state = await self._state() if self._is_here else None
            response = self._stream._resp  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
            if not self._is_here and response is not None:
                drop(response)
            await self._held.aclose()
            pid = int((state or {}).get("Pid") or 0)
            if state is not None and state.get("Running") and pid > 1:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)

    async def _state(self) -> dict[str, Any] | None:
        with contextlib.suppress(aiodocker.DockerError, OSError, NodeUnreachable):
            return await self._program.inspect()
        return None


async def _resize(program: EngineExec, columns: int, rows: int) -> None:
    with contextlib.suppress(aiodocker.DockerError, OSError):  # it has ended meanwhile
        await program.resize(h=rows, w=columns)
