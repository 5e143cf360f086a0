"""``/instances/{id}/exec``: a program inside an instance, its streams on WebSockets.

The operation that answers holds a secret for each stream: ``0`` (and without a terminal ``1`` and
``2``) for bytes, ``control`` for JSON, ``{"command": "window-resize", "args":
{"width", "height"}}``. The program starts when all streams of
bytes are attached, within half a minute.
"""

from __future__ import annotations

import json
import secrets
from typing import Any

import anyio
from fastapi import APIRouter, Request, Response, WebSocket
from pydantic import BaseModel, ConfigDict, Field
from starlette.websockets import WebSocketDisconnect, WebSocketState

from downstage.kernel.errors import DeadlineExceeded, InvalidField
from downstage.manager.dialects.ams.applications import read_json
from downstage.manager.dialects.ams.found import Found
from downstage.manager.dialects.ams.operations import Operation, accepted
from downstage.manager.dialects.ams.parts import Parts
from downstage.spawners.exec import Exec, ExecStream

__all__ = ["Attachments", "add_exec_routes"]

LOOKS = "instances:exec"
ATTACH_S = 30.0
LONGEST_S = 8 * 3600.0
NOT_FOUND = 4404
MAX_CONTROL = 4096


class ExecAsked(BaseModel):
    """What to run."""

    model_config = ConfigDict(extra="ignore")

    command: list[str] = Field(min_length=1, max_length=256)
    environment: dict[str, str] = Field(default_factory=dict, max_length=64)
    interactive: bool = False
    width: int = Field(default=80, ge=1, le=1000)
    height: int = Field(default=24, ge=1, le=1000)


class Attachments:
    """The sockets of one program, by the secret of their stream.

    Args:
        names: of its streams.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.secrets = {name: secrets.token_urlsafe(24) for name in names}
        self.sockets: dict[str, WebSocket] = {}
        self.over = anyio.Event()
        self._news = anyio.Event()

    def take(self, secret: str, socket: WebSocket) -> str | None:
        """The stream of *secret*, which is taken by this; None: no such one, or it is taken."""
        for name, known in self.secrets.items():
            if secrets.compare_digest(known, secret) and name not in self.sockets:
                self.sockets[name] = socket
                self._news.set()
                return name
        return None

    async def complete(self) -> None:
        """Wait until every stream of bytes is attached."""
        wanted = {name for name in self.secrets if name != "control"}
        while not wanted <= self.sockets.keys():
            await self._news.wait()
            self._news = anyio.Event()


def add_exec_routes(router: APIRouter, parts: Parts) -> None:
    """Begin a program, and attach to it."""
    found, open_ones = Found(parts), dict[str, Attachments]()

    async def execute(key: str, request: Request) -> Response:
        """Run a program inside an instance."""
        caller = await parts.callers.need(request, LOOKS)
        view = await found.view(key, caller)
        try:
            asked = ExecAsked.model_validate(await read_json(request))
        except ValueError as error:
            raise InvalidField("command", "command is a list of texts.") from error
        await parts.instances.inside(view.id)
        streams = Attachments(("0", "control") if asked.interactive else ("0", "1", "2", "control"))
        path = f"/instances/{view.id}"
        operation = Operation(
            caller.tenant,
            caller.subject,
            "Executing command",
            {"instances": [path], "containers": [path]},
            "websocket",
            metadata={"fds": streams.secrets},
        )

        async def work(mine: Operation) -> None:
            try:
                await _run(parts, view.id, asked, streams, mine)
            finally:
                streams.over.set()
                open_ones.pop(mine.id, None)

        begun = parts.operations.begin(operation, work)
        open_ones[operation.id] = streams  # nothing waited since: its work has not begun
        return accepted(request, begun)

    async def attach(operation_id: str, socket: WebSocket) -> None:
        """One stream of a program."""
        streams = open_ones.get(operation_id)
        name = streams and streams.take(socket.query_params.get("secret", ""), socket)
        if streams is None or name is None:
            await socket.close(NOT_FOUND, "no such stream")
            return
        await socket.accept()
        await streams.over.wait()
        if socket.application_state is WebSocketState.CONNECTED:
            await socket.close()

    for kind in ("instances", "containers"):
        router.add_api_route(f"/{kind}/{{key}}/exec", execute, methods=["POST"])
    router.add_api_websocket_route("/operations/{operation_id}/websocket", attach)


async def _run(
    parts: Parts, instance_id: str, asked: ExecAsked, streams: Attachments, operation: Operation
) -> None:
    with anyio.move_on_after(ATTACH_S) as patience:
        await streams.complete()
    if patience.cancelled_caught:
        raise DeadlineExceeded(f"Nobody attached within {ATTACH_S:g} s.")
    inside = await parts.instances.inside(instance_id)
    program = await inside.exec(
        Exec(asked.command, asked.environment, asked.interactive, (asked.width, asked.height))
    )
    try:
        with anyio.move_on_after(LONGEST_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_input, streams.sockets["0"], program)
                tasks.start_soon(_control, streams, program)
                await _output(streams, program)
                operation.metadata = {**operation.metadata, "return": await program.wait()}
                tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await program.close()
    operation.metadata = {key: item for key, item in operation.metadata.items() if key != "fds"}


async def _output(streams: Attachments, program: ExecStream) -> None:
    """What the program writes, to the sockets of its streams."""
    only = streams.sockets["0"]
    async for number, data in program.output():
        socket = streams.sockets.get(str(number), only)
        try:
            await socket.send_bytes(data)
        except (RuntimeError, WebSocketDisconnect):
            return


async def _input(socket: WebSocket, program: ExecStream) -> None:
    """What comes in, to the program; a text frame, or the end, closes its input."""
    try:
        while True:
            message = await socket.receive()
            data: bytes | None = message.get("bytes")
            if message["type"] != "websocket.receive" or data is None:
                break
            await program.send(data)
    except (RuntimeError, WebSocketDisconnect):
        pass
    await program.end_input()


async def _control(streams: Attachments, program: ExecStream) -> None:
    """Follow the size of the caller's terminal."""
    while (socket := streams.sockets.get("control")) is None:
        await anyio.sleep(0.1)
    try:
        async for text in socket.iter_text():
            size = _size(text)
            if size is not None:
                await program.resize(*size)
    except (RuntimeError, KeyError):
        return


def _size(text: str) -> tuple[int, int] | None:
    if len(text) > MAX_CONTROL:
        return None
    try:
        said: Any = json.loads(text)
        args: Any = said.get("args", said)
        return int(args["width"]), int(args["height"])
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
