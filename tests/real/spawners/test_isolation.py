"""What an application can see and reach: as little as it needs (S02, A16)."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from downstage.spawners.plan import CONTENT_SOCKET
from downstage.spawners.probe import python_folders
from downstage.spawners.process import run_folder
from downstage.testing.instances import own_folder

from .conftest import Launch, make_spawner, processes_of, reports_until
from .test_process import KINDS, spawner_of

pytestmark = [pytest.mark.real, pytest.mark.anyio]

SECRET = "a-very-secret-access-token-0123456789"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A listener on loopback, as the platform's public port is one."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, _hang_up)
        yield listener.extra(anyio.abc.SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


async def _hang_up(stream: anyio.abc.SocketStream) -> None:
    await stream.aclose()


def seen(data: Path, instance_id: str) -> dict[str, Any]:
    return json.loads((run_folder(data) / instance_id / "app.log").read_text().splitlines()[0])


async def test_S02_an_application_reaches_nothing_of_the_platform(
    launch: Launch, data: Path, port: int
) -> None:
    other, other_spec = await launch("draw")
    other_display = (await reports_until(other, "running"))[-1].display
    assert other_display is not None
    keeper = run_folder(data) / other_spec.instance_id / "keeper.sock"
    handle, spec = await launch(
        "look",
        f"reach:inet:{port}",
        f"reach:unix:{keeper}",
        f"reach:unix:/tmp/.X11-unix/X{other_display[1:]}",
        f"reach:unix:\0/tmp/.X11-unix/X{other_display[1:]}".replace("\0", "@"),
        "reach:unix:/run/podman/podman.sock",
        "reach:unix:/run/docker.sock",
        f"reach:unix:{data / 'run' / 'platform.sock'}",
        f"read:{data}",
        "read:/etc/shadow",
        "read:/root/.bashrc",
        "read:/proc/1/root/etc/shadow",
    )
    await reports_until(handle, "running")
    found = seen(data, spec.instance_id)
    assert "reached" not in found["reached"]
    assert found["reached"][0] == "ConnectionRefusedError"
    assert found["read"] == [False] * 4
    assert len(found["x11"]) == 1
    # A checkout below /tmp is there too, read-only: the application's Python lies in it.
    needed = {Path(f).parts[2] for f in python_folders() if f.startswith("/tmp/")}
    assert set(found["tmp"]) - needed == {".X11-unix"}
    assert found["processes"] <= 4
    assert found["writable"] is False
    assert found["home"] is True
    assert found["uid"] >= 1000
    assert not {"shadow", "hostname", "machine-id", "sudoers"} & set(found["etc"])


async def test_an_application_with_network_may_call_out(
    launch: Launch, data: Path, port: int
) -> None:
    handle, spec = await launch("look", f"reach:inet:{port}", network=True)
    await reports_until(handle, "running")
    assert seen(data, spec.instance_id)["reached"] == ["reached"]


@KINDS
async def test_files_are_reached_by_a_socket_and_no_network(
    launch: Launch, data: Path, port: int, isolation: str
) -> None:
    place = data / "content"
    place.mkdir(mode=0o755)
    earlier = socket.socket(socket.AF_UNIX)
    earlier.bind(str(place / CONTENT_SOCKET))
    earlier.close()
    inside = place if isolation == "none" else Path("/run/content")
    arguments = ["look", f"reach:unix:{inside / CONTENT_SOCKET}", f"reach:inet:{port}"]
    with listening(place / CONTENT_SOCKET):
        handle, spec = await launch(
            *arguments, spawner=spawner_of(data, isolation), content_folder=place
        )
        await reports_until(handle, "running")
    found = seen(data, spec.instance_id)
    assert found["reached"][0] == "reached"
    assert found["environment"]["DOWNSTAGE_CONTENT_SOCKET"] == str(inside / CONTENT_SOCKET)
    if isolation != "none":
        assert found["reached"][1] == "ConnectionRefusedError"


@contextmanager
def listening(path: Path) -> Iterator[None]:
    """A socket as the platform leaves it: made anew, for whoever can see its folder."""
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen()
        yield


@KINDS
async def test_A16_the_access_token_is_in_one_file_alone(
    launch: Launch, data: Path, isolation: str
) -> None:
    spawner = spawner_of(data, isolation)
    handle, spec = await launch(
        "look", "an argument", spawner=spawner, access_token=SecretStr(SECRET)
    )
    await reports_until(handle, "running")
    folder = run_folder(data) / spec.instance_id
    for pid in processes_of(spec.instance_id):
        for name in ("cmdline", "environ"):
            assert SECRET.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
    files = [path for path in folder.rglob("*") if path.is_file()]
    holders = [path for path in files if SECRET in path.read_text(errors="replace")]
    token = own_folder(folder) / "token"
    assert holders == ([folder / "app" / "token"] if isolation == "none" else [])
    assert token.read_text() == SECRET
    assert token.stat().st_mode & 0o777 == 0o600
    found = seen(data, spec.instance_id)
    assert found["handed_mode"] == "0o600"
    assert found["handed"] == "[redacted]"
    await handle.stop("stopped")
    await reports_until(handle, "ended")
    assert not token.exists()
    assert not (folder / "app").exists()
    assert not (folder / "streamer.json").exists()


async def test_the_environment_is_what_was_asked_for_and_no_more(
    launch: Launch, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLATFORM_PASSWORD", "x")
    handle, spec = await launch(
        "look", "--odd", "a b", "$(id)", "; rm -rf /", environment={"COLOUR": "blue", "HOME": "/x"}
    )
    await reports_until(handle, "running")
    found = seen(data, spec.instance_id)
    assert found["arguments"] == ["--odd", "a b", "$(id)", "; rm -rf /"]
    assert found["environment"]["COLOUR"] == "blue"
    assert found["environment"]["HOME"] == "/home/app"
    assert "PLATFORM_PASSWORD" not in found["environment"]
    assert not any(b"COLOUR" in command(pid) for pid in processes_of(spec.instance_id))


def command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


async def test_each_instance_has_its_own_user_id(launch: Launch, data: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only where the platform runs as root")
    ids = set[int]()
    for _ in range(2):
        handle, spec = await launch("look", spawner=make_spawner(data))
        await reports_until(handle, "running")
        ids.add(seen(data, spec.instance_id)["uid"])
    assert len(ids) == 2
    assert 0 not in ids


@pytest.mark.parametrize("isolation", ["auto", "userns"])
async def test_shared_memory_is_the_displays_and_nobody_elses(
    launch: Launch, data: Path, isolation: str
) -> None:
    handle, spec = await launch("look", spawner=spawner_of(data, isolation))
    report = (await reports_until(handle, "running"))[-1]
    inside = seen(data, spec.instance_id)["ipc"]
    assert inside == str(Path(f"/proc/{report.pids['display'][0]}/ns/ipc").readlink())
    assert inside != str(Path("/proc/self/ns/ipc").readlink())


async def test_limits_are_set(launch: Launch, data: Path) -> None:
    handle, spec = await launch("look", memory_mb=700)
    await reports_until(handle, "running")
    found = seen(data, spec.instance_id)
    assert found["data_limit"] == 700 * 1024 * 1024
    assert found["core_limit"] == 0


@KINDS
async def test_an_application_has_sound_of_its_own(
    launch: Launch, data: Path, isolation: str
) -> None:
    """The card is the null sink, and nobody can load another module."""
    handle, spec = await launch(
        command=("/usr/bin/pactl", "info"), spawner=spawner_of(data, isolation, audio=True)
    )
    last = (await reports_until(handle, "ended"))[-1]
    log = (run_folder(data) / spec.instance_id / "app.log").read_text()
    assert (last.reason, last.exit_code, last.audio_reason) == ("application-exited", 0, None)
    assert "Default Sink: downstage\n" in log
    assert "Default Source: downstage.monitor\n" in log


async def test_without_a_sound_server_there_is_a_picture_and_a_reason(
    launch: Launch, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = data / "tools"
    tools.mkdir()
    for name in ("Xvfb", "bwrap", "setpriv", "xkbcomp"):
        (tools / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setenv("PATH", str(tools))
    handle, _ = await launch("draw", spawner=make_spawner(data, audio=True))
    last = (await reports_until(handle, "running"))[-1]
    assert "apt install pulseaudio" in (last.audio_reason or "")


async def test_a_sound_server_that_hangs_is_given_up(
    launch: Launch, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = data / "tools"
    tools.mkdir()
    (tools / "pulseaudio").write_text("#!/bin/sh\nexec sleep 60\n")
    (tools / "pulseaudio").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    handle, _ = await launch("draw", spawner=make_spawner(data, audio=True))
    last = (await reports_until(handle, "running"))[-1]
    assert "did not come up within 3 s" in (last.audio_reason or "")
    assert "sound" not in last.pids
