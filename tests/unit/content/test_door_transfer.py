"""Transfers: whose standing still counts, and bytes that come whole from every kind of place."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from downstage.content.dialects import transfer
from downstage.content.dialects.transfer import CutShort, Idle, body_of, send_file, send_rest
from downstage.content.open_file import Reading
from downstage.kernel.errors import DeadlineExceeded

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def test_T03_waiting_for_the_other_side_has_a_deadline() -> None:
    async def receive() -> Any:
        await asyncio.Event().wait()

    with pytest.raises(DeadlineExceeded), Idle(0.02) as idle:
        async for _ in body_of(receive, idle):
            pass
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_what_we_take_long_for_is_not_counted() -> None:
    """Else a commit that waits for the disk would be cut off, and told as the caller's fault."""

    async def receive() -> Any:
        return {"type": "http.request", "body": b"x", "more_body": False}

    with Idle(0.02) as idle:
        assert [piece async for piece in body_of(receive, idle)] == [b"x"]
        await asyncio.sleep(0.1)


async def test_a_cancellation_of_others_goes_on() -> None:
    async def work() -> None:
        with Idle(10) as idle:
            idle.waits()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_body_that_ends_early_is_no_body() -> None:
    messages: list[Any] = [
        {"type": "http.request", "body": b"x", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Any:
        return messages.pop(0)

    with pytest.raises(CutShort), Idle(5) as idle:
        async for _ in body_of(receive, idle):
            pass


@pytest.mark.parametrize("at_once", [transfer.AT_ONCE, 0x7FFF])
async def test_a_file_comes_whole_from_memory_and_from_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """A kernel that knows no reading at once refuses the flag: then a thread reads."""
    monkeypatch.setattr(transfer, "AT_ONCE", at_once)
    body = bytes(range(256)) * 3000
    path = tmp_path / "a"
    path.write_bytes(body)
    for start, stop in ((0, len(body)), (5, 7), (300_000, len(body)), (9, 9)):
        sent = list[Any]()

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        with Idle(5) as idle:
            await send_file(send, path, start, stop, idle)
        assert b"".join(item["body"] for item in sent) == body[start:stop]
        assert [item["more_body"] for item in sent] == [True] * (len(sent) - 1) + [False]


async def test_a_file_that_became_shorter_is_an_error_not_an_end(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"123")

    async def send(_message: Any) -> None: ...

    with pytest.raises(OSError, match="shorter"), Idle(5) as idle:
        await send_file(send, path, 0, 10, idle)


async def test_T03_nothing_is_read_for_who_went_away(tmp_path: Path) -> None:
    """A server takes what is sent to nobody in silence: a file of any size would be read."""
    path = tmp_path / "a"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    gone, sent, turns = asyncio.Event(), 0, 0

    async def receive() -> Any:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal sent
        sent += len(message["body"])

    async def others() -> None:
        nonlocal turns
        while turns < 3:
            await asyncio.sleep(0)
            turns += 1
        gone.set()

    reading = Reading(ENTRY, None, OneFile(path))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(others())
        await send_rest(send, receive, reading, 0, 1 << 30, idle_s=5)
    assert turns == 3
    assert sent < 16 * transfer.TURN


class OneFile:
    """An open file of the store."""

    def __init__(self, path: Path) -> None:
        self.file = path


ENTRY: Any = None
