"""The socket's parts without a network: signatures, tickets, frames, readers who are slow."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from downstage.auth.principal import Principal
from downstage.content.dialects import connection
from downstage.content.dialects.arguments import Args
from downstage.content.dialects.calls import Asked, NoArgs, Ops
from downstage.content.dialects.connection import Closing, Connection
from downstage.content.dialects.signing import Signer
from downstage.content.dialects.tickets import Tickets
from downstage.content.model import Caller
from downstage.kernel.clock import ManualClock
from downstage.kernel.errors import Conflict, NotFound, SetupError

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

ANN = Caller("ann", "Ann")


def test_a_signature_holds_for_its_parts_and_two_lives_of_its_key(tmp_path: Path) -> None:
    clock = ManualClock()
    signer = Signer(tmp_path / "key", clock)
    signature = signer.sign("a", "b")
    assert signer.is_signed(signature, "a", "b")
    for parts in (("ab",), ("a", "b", ""), ("b", "a"), ('a", "b',)):
        assert not signer.is_signed(signature, *parts)
    assert not signer.is_signed("", "a", "b")
    assert not signer.is_signed("ü", "a", "b")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert Signer(tmp_path / "key", clock).is_signed(signature, "a", "b")
    clock.advance(timedelta(days=31).total_seconds())
    assert signer.sign("a", "b") != signature
    assert signer.is_signed(signature, "a", "b")  # by the key before
    clock.advance(timedelta(days=31).total_seconds())
    signer.sign("a")
    assert not signer.is_signed(signature, "a", "b")


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    Signer(path, ManualClock()).sign("a")
    path.chmod(0o644)
    with pytest.raises(SetupError, match="chmod"):
        Signer(path, ManualClock())
    path.write_text("[1")
    path.chmod(0o600)
    with pytest.raises(SetupError):
        Signer(path, ManualClock())


def test_a_ticket_opens_once_and_within_a_minute() -> None:
    clock = ManualClock()
    tickets, ann = Tickets(clock), Principal("ann", "Ann", "user")
    ticket = tickets.mint(ann)
    assert tickets.redeem(ticket) is ann
    assert tickets.redeem(ticket) is None
    late = tickets.mint(ann)
    clock.advance(61)
    assert tickets.redeem(late) is None
    assert tickets.redeem("x" * 10_000) is None


class Wire:
    """The other side of a connection."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.frames: list[bytes] = []
        self.open = asyncio.Event()
        self.open.set()

    def call(self, *calls: list[Any]) -> None:
        self.incoming.put_nowait(
            {"type": "websocket.receive", "bytes": msgspec.msgpack.encode(calls)}
        )

    def leave(self) -> None:
        self.incoming.put_nowait({"type": "websocket.disconnect"})

    async def receive(self) -> Any:
        return await self.incoming.get()

    async def send(self, message: Any) -> None:
        self.frames.append(message["bytes"])
        await self.open.wait()

    @property
    def answers(self) -> list[Any]:
        return [item for frame in self.frames for item in msgspec.msgpack.decode(frame)]

    async def until(self, count: int) -> list[Any]:
        async with asyncio.timeout(5):
            while len(self.answers) < count:
                await asyncio.sleep(0.001)
        return self.answers


def line(ops: Ops, wire: Wire) -> Connection:
    return Connection(ops, lambda _id: ANN, "c-1", receive=wire.receive, send=wire.send)


class SizeArgs(Args, frozen=True):
    size: int


def some_ops() -> Ops:
    ops = Ops()

    async def later(asked: Asked) -> object:
        await asyncio.sleep(0)
        return asked.caller.subject

    async def flood(asked: Asked) -> object:
        asked.opened("begun")
        while True:
            await asked.push("event", bytes(asked.args.size))

    async def keep(asked: Asked) -> object:
        asked.opened(None, keep=asked)
        await asyncio.Event().wait()
        return None

    async def find(asked: Asked) -> object:
        return asked.find(asked.args.size, Asked).id

    async def fail(_asked: Asked) -> object:
        raise RuntimeError("never told")

    ops.register("now", NoArgs, lambda asked: asked.id)
    ops.register("bytes", SizeArgs, lambda asked: bytes(asked.args.size))
    for name, args, run in (
        ("later", NoArgs, later), ("flood", SizeArgs, flood), ("keep", NoArgs, keep),
        ("find", SizeArgs, find), ("fail", NoArgs, fail),
    ):  # fmt: skip
        ops.register(name, args, run)
    with pytest.raises(Conflict):
        ops.register("now", NoArgs, lambda asked: None)
    return ops


async def test_what_needs_no_waiting_leaves_in_one_frame() -> None:
    wire = Wire()
    serving = asyncio.create_task(line(some_ops(), wire).serve())
    empty = list[Any]()
    wire.call(*[[n, "now", empty] for n in range(1, 101)])
    assert await wire.until(100) == [[n, 200, n] for n in range(1, 101)]
    assert len(wire.frames) == 1
    wire.call(*[[n, "later", empty] for n in range(1, 101)])
    await wire.until(200)
    assert len(wire.frames) < 5
    wire.leave()
    await serving


async def test_what_is_kept_open_is_found_until_it_ends() -> None:
    wire = Wire()
    open_line = line(some_ops(), wire)
    serving = asyncio.create_task(open_line.serve())
    wire.call([1, "keep", []], [2, "find", [1]])
    answers = await wire.until(2)
    assert [2, 200, 1] in answers
    assert await open_line.cancel(1)
    assert not await open_line.cancel(1)
    wire.call([3, "find", [1]], [4, "fail", []])
    answers = await wire.until(4)
    status = {answer[0]: answer[1] for answer in answers}
    assert (status[3], status[4]) == (404, 500)
    assert b"never told" not in b"".join(wire.frames)
    wire.leave()
    await serving
    assert open_line.held == {}


async def test_T03_a_reader_who_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SLOW_S", 0.05)
    wire = Wire()
    wire.open.clear()
    serving = asyncio.create_task(line(some_ops(), wire).serve())
    wire.call([1, "flood", [10_000]])
    with pytest.raises(Closing) as told:
        await asyncio.wait_for(serving, 5)
    assert (told.value.code, told.value.reason) == (1013, "slow-reader")


async def test_T03_no_more_waits_for_a_reader_than_fits_in_the_bound() -> None:
    wire = Wire()
    wire.open.clear()
    slow = line(some_ops(), wire)
    serving = asyncio.create_task(slow.serve())
    wire.call([1, "flood", [10_000]])
    await wire.until(1)
    for _ in range(100):
        await asyncio.sleep(0)
    assert slow.unsent < 2 * connection.FRAME  # who pushes waits
    wire.call(*[[n, "bytes", [1_000_000]] for n in range(2, 60)])
    with pytest.raises(Closing, match="slow-reader"):
        await asyncio.wait_for(serving, 5)


async def test_an_answer_over_the_limit_says_so() -> None:
    wire = Wire()
    serving = asyncio.create_task(line(some_ops(), wire).serve())
    wire.call([1, "bytes", [5_000_000]])
    assert (await wire.until(1))[0][1] == 413
    wire.leave()
    await serving


async def test_find_tells_nothing_of_other_kinds() -> None:
    asked = Asked(1, None, line(some_ops(), Wire()))
    asked.line.held[7] = "text"
    with pytest.raises(NotFound):
        asked.find(7, int)


async def test_T04_a_frame_of_many_calls_holds_nobody_else_up() -> None:
    wire, turns = Wire(), 0
    ops = some_ops()
    ops.register("busy", NoArgs, lambda asked: time.sleep(0.001))
    serving = asyncio.create_task(line(ops, wire).serve())
    wire.call(*[[n, "busy", []] for n in range(1, 201)])
    begun = asyncio.get_running_loop().time()
    while len(wire.answers) < 200:
        await asyncio.sleep(0)
        turns += 1
        assert asyncio.get_running_loop().time() < begun + 10
    assert turns >= 5
    assert [answer[0] for answer in wire.answers] == list(range(1, 201))
    wire.leave()
    await serving


async def test_T04_a_frame_of_many_calls_begins_no_more_than_may_run() -> None:
    wire, running, most = Wire(), 0, 0
    ops = some_ops()

    async def work(_asked: Asked) -> object:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return None

    ops.register("work", NoArgs, work)
    serving = asyncio.create_task(line(ops, wire).serve())
    wire.call(*[[n, "work", []] for n in range(1, 1001)])
    await wire.until(1000)
    assert most <= connection.MAX_RUNNING
    wire.call(*[[n, "now", []] for n in range(1, connection.MAX_CALLS + 2)])
    with pytest.raises(Closing) as told:
        await asyncio.wait_for(serving, 5)
    assert (told.value.code, told.value.reason) == (1007, "bad-message")


async def test_more_calls_may_stay_open_than_may_run() -> None:
    wire = Wire()
    serving = asyncio.create_task(line(some_ops(), wire).serve())
    count = connection.MAX_RUNNING + 50
    wire.call(*[[n, "keep", []] for n in range(1, count + 1)])
    await wire.until(count)
    wire.call([count + 1, "now", []])
    await wire.until(count + 1)
    wire.leave()
    await serving


@pytest.mark.usefixtures("leaping_clock")
async def test_T03_a_reader_who_takes_much_for_long_is_not_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "SLOW_S", 0.3)
    wire = Wire()

    async def send(message: Any) -> None:
        wire.frames.append(message["bytes"][:8])
        await asyncio.sleep(0.01)

    wire.send = send  # type: ignore[method-assign]
    much = line(some_ops(), wire)
    serving = asyncio.create_task(much.serve())
    until = asyncio.get_running_loop().time() + 0.7
    while asyncio.get_running_loop().time() < until:
        while much.unsent < 2 * connection.FRAME:
            much.answer(1, 200, bytes(300_000))
        await asyncio.sleep(0.005)
    assert not serving.done()
    wire.leave()
    await asyncio.wait_for(serving, 5)
