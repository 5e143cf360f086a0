"""What becomes of recordings: filed with content, stopped from elsewhere, gaps written down."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcap.reader import make_reader
from PIL import Image

from downstage.kernel.clock import SystemClock
from downstage.streams.model import AUTO, Caller
from downstage.streams.recordings import recorder
from downstage.streams.recordings.service import Recordings, open_recordings
from downstage.streams.recordings.states import State
from downstage.testing.streams import StreamsServer, streams_server

pytestmark = [pytest.mark.real, pytest.mark.anyio]


@pytest.fixture
async def server(anyio_backend: str) -> AsyncIterator[StreamsServer]:
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    services = ("identity", "content", "streams")
    overrides = {"streams.keep_count": 2000, "streams.buffer": 64 << 10}
    async with streams_server(folder / "d", services=services, overrides=overrides) as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def alice(server: StreamsServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=server.url, headers=server.headers("alice"), timeout=30
    ) as client:
        yield client


@asynccontextmanager
async def opened(server: StreamsServer, folder: Path) -> AsyncIterator[Recordings]:
    """As another process has them: the same folder, the same catalogue."""
    client_of = server.extension.context.client
    async with AsyncExitStack() as stack:
        recordings = await stack.enter_async_context(
            open_recordings(server.streams, folder, client_of, SystemClock(), to_content=False)
        )
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        await tasks.start(recordings.run)
        yield recordings


async def push(server: StreamsServer, caller: Caller, stream: str, *payloads: bytes) -> None:
    await server.streams.append(caller, [(stream, AUTO, data) for data in payloads])


async def test_a_finished_recording_is_filed_and_comes_back_when_its_copy_is_gone(
    server: StreamsServer, alice: httpx.AsyncClient
) -> None:
    caller = await server.caller("alice")
    await alice.post("/v1/recordings", json={"name": "kept", "streams": ["cam"]})
    await push(server, caller, "cam", b"1", b"2")
    await alice.post("/v1/recordings/kept/stop")

    async def view(name: str = "kept") -> dict[str, Any]:
        return dict((await alice.get(f"/v1/recordings/{name}")).json())

    with anyio.fail_after(20):
        while (await view())["stored_in"] != "content":
            await anyio.sleep(0.02)
    assert (await view())["content_path"] == "/Recordings/kept.mcap"
    filed = await alice.get("/v1/files/Recordings/kept.mcap")
    found = [m.data for _, _, m in make_reader(BytesIO(filed.content)).iter_messages()]
    assert found == [b"1", b"2"]
    entry = (await alice.get("/v1/files/Recordings/kept.mcap?stat")).json()
    assert entry["created_by"] == caller.subject

    folder = server.extension.context.data / "streams" / "recordings"
    assert list(folder.glob("*.mcap"))
    cleared = (await alice.delete("/recordings/cache")).json()
    assert cleared == {"kept": 1}
    assert not list(folder.glob("*.mcap"))
    again = await alice.get("/v1/recordings/kept/entries", params={"streams": "cam", "count": 9})
    assert again.content == b"12"
    assert list(folder.glob("*.mcap"))

    await alice.patch("/v1/recordings/kept", json={"name": "moved"})
    assert (await view("moved"))["content_path"] == "/Recordings/moved.mcap"
    assert (await alice.delete("/v1/recordings/moved")).status_code == 204
    assert (await alice.get("/v1/files/Recordings/moved.mcap")).status_code == 404


async def test_another_process_stops_a_recording_and_mends_one_that_was_left(
    server: StreamsServer, data: Path
) -> None:
    caller = await server.caller("alice")
    async with opened(server, data / "r") as there:
        async with opened(server, data / "r") as here:
            await here.start(caller, "shared", ["cam"])
            await push(server, caller, "cam", b"1")
            done = await there.stop(caller, "shared")
            assert (done.life.state, done.facts["cam"].count) == (State.STORED, 1)
            await here.start(caller, "left", ["cam"])
        assert (await there.get(caller, "left")).life.reason == "shutdown"


async def test_what_was_dropped_before_it_was_read_is_written_down_as_a_gap(
    server: StreamsServer, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = await server.caller("alice")
    holding, released = anyio.Event(), anyio.Event()
    write = recorder.Recorder._write

    async def stuck(self: recorder.Recorder) -> None:
        """A disk that stands still until it is told to go on."""
        if self.size and self._pending_bytes >= recorder.CHUNK_BYTES:
            holding.set()
            await released.wait()
        await write(self)

    monkeypatch.setattr(recorder.Recorder, "_write", stuck)
    async with opened(server, data / "r") as recordings:
        await recordings.start(caller, "slow", ["fast"])
        payload = bytes(60_000)
        with anyio.fail_after(30):
            while not holding.is_set():
                await push(server, caller, "fast", payload, payload, payload)
        last = ""
        for _ in range(300):  # far more than the store keeps
            receipt = await server.streams.append(caller, [("fast", AUTO, b"x" * 3000)] * 20)
            last = receipt.ids[-1].decode()
        released.set()
        done = await recordings.stop(caller, "slow")
        assert done.life.state is State.STORED
        assert done.gaps >= 1
        assert str(done.facts["fast"].last) == last
        _, path = await recordings.file(caller, "slow")
        with path.open("rb") as file:
            notes = [n for n in make_reader(file).iter_metadata() if n.name == recorder.GAP]
        assert [n.metadata["stream"] for n in notes] == ["fast"] * done.gaps
        assert set(notes[0].metadata) == {"stream", "after", "before"}


def picture(shade: int) -> bytes:
    made = BytesIO()
    Image.new("RGB", (65, 48), (shade, 10, 10)).save(made, "JPEG")
    return made.getvalue()


async def test_films_and_sound_are_made_of_what_was_recorded(
    server: StreamsServer, alice: httpx.AsyncClient
) -> None:
    import wave

    import av

    caller = await server.caller("alice")
    streams = server.streams
    await streams.describe(caller, "cam", {"content_type": "image/jpeg"})
    await streams.describe(caller, "mic", {"content_type": "audio/pcm; rate=16000; channels=1"})
    await alice.post("/v1/recordings", json={"name": "film", "streams": ["cam", "mic"]})
    ids = [b"%d-0" % (10_000 + 40 * n) for n in range(25)]
    await streams.append(caller, [("cam", id_, picture(8 * n)) for n, id_ in enumerate(ids)])
    await push(server, caller, "mic", bytes(1600), bytes(1600))
    await alice.post("/v1/recordings/film/stop")
    names = (await alice.get("/v1/recordings/film/files")).json()["items"]
    assert {"cam.mp4", "mic.wav", "film.mcap"} <= set(names)

    film = await alice.get("/recordings/static/film/cam.mp4")
    assert (film.status_code, film.headers["content-type"]) == (200, "video/mp4")
    with av.open(BytesIO(film.content)) as opened_film:
        frames = [float(frame.time or 0) for frame in opened_film.decode(video=0)]
    assert len(frames) == 25
    assert frames[-1] - frames[0] == pytest.approx(0.96, abs=0.05)
    sound = await alice.get("/recordings/static/film/mic.wav")
    with wave.open(BytesIO(sound.content)) as opened_sound:
        assert (opened_sound.getframerate(), opened_sound.getnframes()) == (16_000, 1600)
    part = await alice.get("/recordings/static/film/cam.mp4", headers={"range": "bytes=4-7"})
    assert part.content == b"ftyp"
    motion = await alice.get("/recordings/static/film/cam.mjpeg")
    assert motion.content == b"".join(picture(8 * n) for n in range(25))
    assert (await alice.get("/recordings/static/film/mic.mp4")).status_code == 415
