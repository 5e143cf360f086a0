"""``/mjpeg``: pictures as a browser shows them."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import httpx
import pytest
from PIL import Image

from downstage.streams.dialects.ptg import mjpeg as module
from downstage.streams.model import AUTO

pytestmark = [pytest.mark.real, pytest.mark.anyio]


def picture(colour: int, form: str = "JPEG") -> bytes:
    made = io.BytesIO()
    Image.new("L", (16, 16), colour).save(made, form)
    return made.getvalue()


def level(data: bytes) -> float:
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    return image.convert("L").resize((1, 1)).getpixel((0, 0))  # type: ignore[return-value]


async def push(demo: Any, stream: str, *data: bytes) -> None:
    await demo.streams.append(await demo.caller("admin"), [(stream, AUTO, item) for item in data])


class Frames:
    """Parts of a multipart answer, one by one."""

    def __init__(self, answer: httpx.Response) -> None:
        self._pieces = answer.aiter_raw()
        self._held = b""

    async def next(self) -> bytes:
        head = await self._until(b"\r\n\r\n")
        lines = head.strip().split(b"\r\n")
        assert lines[0] == b"--frame"
        assert lines[1] == b"Content-Type: image/jpeg"
        size = int(lines[2].partition(b": ")[2])
        while len(self._held) < size + 2:
            self._held += await anext(self._pieces)
        found, self._held = self._held[:size], self._held[size + 2 :]
        return found

    async def _until(self, end: bytes) -> bytes:
        while end not in self._held:
            self._held += await anext(self._pieces)
        found, _, self._held = self._held.partition(end)
        return found


@asynccontextmanager
async def watching(demo: Any, path: str, name: str = "alice") -> AsyncGenerator[Frames]:
    with anyio.fail_after(20):
        async with (
            httpx.AsyncClient(base_url=demo.url, headers=demo.headers(name)) as client,
            client.stream("GET", path) as answer,
        ):
            assert answer.status_code == 200, await answer.aread()
            kind = answer.headers["content-type"]
            assert kind == "multipart/x-mixed-replace;boundary=frame"
            yield Frames(answer)


async def test_black_at_once_then_pictures_as_they_come(demo: Any) -> None:
    async with watching(demo, "/mjpeg/show") as frames:
        first = await frames.next()
        assert Image.open(io.BytesIO(first)).size == (760, 428)
        assert level(first) == pytest.approx(0, abs=2)
        await push(demo, "show", picture(200))
        assert level(await frames.next()) == pytest.approx(200, abs=4)
        await push(demo, "show", picture(90, "PNG"))
        assert level(await frames.next()) == pytest.approx(90, abs=4)
        await push(demo, "show", b"no picture", picture(30))
        while (found := level(await frames.next())) != pytest.approx(30, abs=4):
            assert found == pytest.approx(90, abs=4)


async def test_a_silence_is_told(demo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.SILENCE_S == 3
    monkeypatch.setattr(module, "SILENCE_S", 0.05)
    async with watching(demo, "/mjpeg/silent/") as frames:
        await frames.next()
        standing = Image.open(io.BytesIO(await frames.next())).convert("L")
        assert standing.size == (760, 428)
        assert standing.getextrema()[1] > 150  # type: ignore[operator]
        await push(demo, "silent", picture(200))
        while level(await frames.next()) != pytest.approx(200, abs=4):
            pass


async def test_from_an_id_on_all_are_shown(demo: Any) -> None:
    await push(demo, "all", *[picture(10 * n) for n in range(1, 6)])
    async with watching(demo, "/mjpeg/all?last_entry_id=0&count=2") as frames:
        await frames.next()
        levels = [level(await frames.next()) for _ in range(5)]
        assert levels == pytest.approx([10, 20, 30, 40, 50], abs=4)
    async with watching(demo, "/mjpeg/all?last_entry_id=-") as frames:
        await frames.next()
        assert level(await frames.next()) == pytest.approx(50, abs=4)


@pytest.mark.parametrize(
    ("query", "status"),
    [("input=mp4", 415), ("count=0", 422), ("last_entry_id=x", 422), ("time_sync_id=b", 422),
     ("time_sync_id=7", 422)],
)  # fmt: skip
async def test_what_is_asked_wrongly_is_refused(
    demo: Any, stock: Any, query: str, status: int
) -> None:
    assert (await stock.call("GET", f"mjpeg/a?{query}")).status_code == status


async def test_who_may_not_stay_is_shown_no_more(demo: Any, monkeypatch: Any) -> None:
    token = await demo.program_token("alice", "streams:read")
    headers = {"authorization": f"Bearer {token}"}
    with anyio.fail_after(20):
        async with (
            httpx.AsyncClient(base_url=demo.url, headers=headers) as client,
            client.stream("GET", "/mjpeg/guarded") as answer,
        ):
            frames = Frames(answer)
            await frames.next()
            assert demo.callers.count == 1
            principal = await demo.host.authenticator.principal(token)
            await demo.identity.issue.revoke_program(principal, principal.token_id)
            await demo.host.authenticator.refresh()
            demo.callers.check()
            with suppress(StopAsyncIteration):
                while True:
                    await frames.next()
        while demo.callers.count:
            await anyio.sleep(0.01)


async def test_who_leaves_is_let_go(demo: Any) -> None:
    async with watching(demo, "/mjpeg/left") as frames:
        await frames.next()
        assert demo.callers.count == 1
    with anyio.fail_after(10):
        while demo.callers.count:
            await anyio.sleep(0.01)
