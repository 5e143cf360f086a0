"""``kill -9`` while recording: what was on the disk is whole, and the next start mends the file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcap.exceptions import EndOfFile
from mcap.reader import make_reader
from mcap.records import Message
from mcap.stream_reader import StreamReader

from downstage.testing.streams import StreamsProcess

pytestmark = pytest.mark.chaos

PAYLOAD = bytes(range(256)) * 256


@pytest.fixture
def server(data: Path) -> Iterator[StreamsProcess]:
    with StreamsProcess(data / "d", overrides={"streams.keep_count": 100_000}) as process:
        yield process


class Api:
    def __init__(self, server: StreamsProcess) -> None:
        self._server = server
        self._client = httpx.Client(timeout=30)

    def __call__(self, method: str, path: str, expect: int = 200, **more: Any) -> Any:
        headers = self._server.headers("alice")
        answer = self._client.request(method, self._server.url + path, headers=headers, **more)
        assert answer.status_code == expect, answer.text
        return answer

    def close(self) -> None:
        self._client.close()

    def push(self, n: int) -> str:
        answer = self("POST", "/v1/streams/cam/entries", 201, content=b"%08d" % n + PAYLOAD)
        return str(answer.json()["ids"][0])

    def on_disk(self, name: str) -> int:
        streams = self("GET", f"/v1/recordings/{name}").json()["streams"]
        return sum(one["entries"] for one in streams)


@pytest.fixture
def api(server: StreamsProcess) -> Iterator[Api]:
    made = Api(server)
    yield made
    made.close()


def until(check: Any, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)
    return found


def is_recovered(api: Api, name: str) -> bool:
    return bool(api("GET", f"/v1/recordings/{name}").json()["state"] == "recovered")


def test_what_was_on_the_disk_survives_the_process(server: StreamsProcess, api: Api) -> None:
    api("POST", "/v1/recordings", 201, json={"name": "walk", "streams": ["cam"]})
    ids: list[str] = []
    while api.on_disk("walk") < 60:  # several chunks, and always one that is open
        ids.extend(api.push(n) for n in range(len(ids), len(ids) + 5))
    safe = api.on_disk("walk")
    ids.extend(api.push(n) for n in range(len(ids), len(ids) + 5))
    server.kill()

    (file,) = (server.data / "streams" / "recordings").glob("*.mcap")
    whole = 0
    with file.open("rb") as torn, suppress(EndOfFile):
        for record in StreamReader(torn, validate_crcs=True).records:
            whole += isinstance(record, Message)
    assert whole >= safe

    server.start()
    until(lambda: is_recovered(api, "walk"))
    with file.open("rb") as mended:
        reader = make_reader(mended, validate_crcs=True)
        found = [message for _, _, message in reader.iter_messages()]
    assert len(found) >= whole
    told = [f"{m.log_time // 1_000_000}-{m.sequence}" for m in found]
    assert told == ids[: len(told)]
    assert all(m.data == b"%08d" % n + PAYLOAD for n, m in enumerate(found))
    view = api("GET", "/v1/recordings/walk").json()
    assert view["streams"][0]["entries"] == len(found)
    assert view["size"] == file.stat().st_size


def test_a_quiet_recording_loses_nothing(server: StreamsProcess, api: Api) -> None:
    api("POST", "/v1/recordings", 201, json={"name": "quiet", "streams": ["c*"]})
    ids = [api.push(n) for n in range(3)]
    until(lambda: api.on_disk("quiet") == 3)
    server.kill()
    server.start()
    until(lambda: is_recovered(api, "quiet"))
    view = api("GET", "/v1/recordings/quiet").json()
    held = {one["name"]: one for one in view["streams"]}
    assert (held["cam"]["first_id"], held["cam"]["last_id"]) == (ids[0], ids[2])
    # The engine lived on, and so does everything else.
    api("POST", "/v1/recordings", 201, json={"name": "next", "streams": ["cam"]})
    api.push(3)
    assert api("POST", "/v1/recordings/next/stop").json()["streams"][0]["entries"] == 1


def test_a_server_that_ends_closes_its_files(server: StreamsProcess, api: Api) -> None:
    api("POST", "/v1/recordings", 201, json={"name": "ends", "streams": ["cam"]})
    api.push(0)
    assert server.stop() < 10
    server.start()
    view = api("GET", "/v1/recordings/ends").json()
    assert (view["state"], view["reason"]) == ("failed", "shutdown")
    assert view["streams"][0]["entries"] == 1
