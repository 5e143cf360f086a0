"""Instances on another machine's engine: started, watched, entered, cut off, found again, ended."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.abc
import pytest
from pydantic import SecretStr
from tests.real.spawners.conftest import reports_until

from downstage.kernel.errors import Unavailable
from downstage.spawners.container.plan import name_of
from downstage.spawners.exec import Exec, ExecStream
from downstage.spawners.plan import Hook
from downstage.spawners.remote.handle import RemoteHandle
from downstage.spawners.remote.spawner import RemoteSpawner
from downstage.spawners.spawner import Adoption, InstanceSpec, NodeUnreachable, SpawnFailed

from .conftest import KEY, REFUSED, Managers, gone, make_spec, settings_of, until_there
from .far import HOST, Far

pytestmark = [pytest.mark.real, pytest.mark.anyio, pytest.mark.timeout(300)]

START_S = 90


def spec_of(far: Far, *arguments: str, **changes: object) -> InstanceSpec:
    """What can run there: its gateway is reached from everywhere."""
    values = {"link_url": f"http://{far.outside}:9", "start_deadline_s": 60.0, **changes}
    return make_spec(*arguments, **values)


async def said_by(program: ExecStream) -> tuple[dict[int, bytes], int]:
    found = {1: b"", 2: b""}
    async for number, data in program.output():
        found[number] += data
    return found, await program.wait()


async def until_cut(handle: RemoteHandle) -> None:
    with pytest.raises(NodeUnreachable):
        async for _ in handle.reports():
            pass


async def test_an_instance_runs_there_and_leaves_nothing(
    far: Far, managers: Managers, place: Path
) -> None:
    spawner: RemoteSpawner = await managers()
    spec = spec_of(far, "draw", access_token=SecretStr("the-access-token"))
    handle = await spawner.start(spec)
    report = (await reports_until(handle, "running", START_S))[-1]
    assert {"keeper", "streamer", "display", "container"} <= report.pids.keys()
    assert handle.media_socket == "", "nothing that could be dialled from here"
    assert far.podman.containers()[name_of(spec.instance_id)] == "running"
    assert await spawner.known() == [spec.instance_id]
    # it is on that machine's network, and no token is anywhere but in its own files
    for pid, _ in report.pids.values():
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert b"the-instance-token" not in command + Path(f"/proc/{pid}/environ").read_bytes()
    shown = far.podman.run("inspect", *far.nodes(), name_of(spec.instance_id)).stdout
    assert "the-instance-token" not in shown
    assert "the-access-token" not in shown
    inside = f"/proc/{report.pids['streamer'][0]}/ns/net"
    assert Path(inside).readlink() != Path("/proc/self/ns/net").readlink()

    command = ("/usr/bin/python3", "-c", "import sys; print(sys.stdin.read()); sys.exit(5)")
    program = await handle.exec(Exec(command))
    with anyio.fail_after(60):
        await program.send(b"x" * 200_000)
        await program.end_input()
        found, code = await said_by(program)
        await program.close()
    assert (found[1], code) == (b"x" * 200_000 + b"\n", 5)

    await handle.stop("stopped")
    assert (await reports_until(handle, "ended", 60))[-1].reason == "stopped"
    await handle.close()
    await spawner.forget(spec.instance_id)
    await gone(spec.instance_id)
    assert name_of(spec.instance_id) not in far.podman.containers()
    assert await spawner.known() == []
    assert [log.name for log in await spawner.kept(spec.instance_id)]
    assert await spawner.read(spec.instance_id, "keeper.log", 1000)
    assert await spawner.read(spec.instance_id, "other.log", 1000) is None
    await spawner.retire()
    assert far.nodes() == []


async def test_logs_are_followed_to_their_end(far: Far, managers: Managers) -> None:
    spawner = await managers()
    handle = await spawner.start(spec_of(far, "look"))
    await reports_until(handle, "running", START_S)
    text = b""
    with anyio.fail_after(60):
        async for piece in handle.logs(follow=True):
            text += piece
            if b'"interfaces"' in text:
                await handle.kill()
    said = next(line for line in text.splitlines() if line.startswith(b"{"))
    assert json.loads(said)["interfaces"] == ["lo"]
    assert (await reports_until(handle, "ended", 60))[-1].phase == "ended"


async def while_there(spawner: RemoteSpawner) -> None:
    while True:
        await spawner.check()
        await anyio.sleep(0.2)


ASKING = """
import socket
there = socket.socket(socket.AF_UNIX)
there.connect("/run/content/files.sock")
there.sendall(b"x" * 300_000)
there.shutdown(socket.SHUT_WR)
print(sum(len(piece) for piece in iter(lambda: there.recv(65536), b"")))
"""


async def test_files_are_reached_by_the_managers_own_socket(
    far: Far, managers: Managers, place: Path
) -> None:
    content = place / "content"
    content.mkdir()

    async def echo(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            async for piece in stream:
                await stream.send(piece)

    async with (
        await anyio.create_unix_listener(content / "files.sock") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, echo)
        spawner = await managers(content=content)
        spec = spec_of(far, "draw", content_folder=content)
        handle = await spawner.start(spec)
        await reports_until(handle, "running", START_S)
        program = await handle.exec(Exec(("/usr/bin/python3", "-c", ASKING)))
        with anyio.fail_after(60):
            found, code = await said_by(program)
            await program.close()
        assert (found, code) == ({1: b"300000\n", 2: b""}, 0)
        await handle.kill()
        await reports_until(handle, "ended", 60)
        await handle.close()
        tasks.cancel_scope.cancel()


async def test_a_cable_that_is_pulled_and_put_back_ends_nothing(
    far: Far, managers: Managers
) -> None:
    spawner = await managers()
    spec = spec_of(far, "draw")
    handle = await spawner.start(spec)
    await reports_until(handle, "running", START_S)
    far.networks.cut(HOST)
    try:
        with anyio.fail_after(60), pytest.raises(NodeUnreachable):
            await while_there(spawner)
    finally:
        far.networks.heal(HOST)
    found = await found_again(spawner, spec.instance_id)
    assert (await reports_until(found, "running", 60))[-1].reason is None
    await found.kill()
    await reports_until(found, "ended", 60)
    for held in (handle, found):
        await held.close()


async def found_again(spawner: RemoteSpawner, instance_id: str) -> RemoteHandle:
    """By the same line or by another: which one depends on how long the cable was out."""
    with anyio.fail_after(120):
        while True:
            await until_there(spawner)
            with suppress(NodeUnreachable):
                found = await spawner.attach(instance_id)
                assert found is not None
                return found


async def test_what_is_cut_off_is_not_lost_and_found_again(far: Far, managers: Managers) -> None:
    spawner = await managers()
    spec = spec_of(far, "draw")
    handle = await spawner.start(spec)
    await reports_until(handle, "running", START_S)
    program = await handle.exec(Exec(("/usr/bin/python3", "-c", "import time; time.sleep(600)")))
    far.sever()
    try:
        with anyio.fail_after(60):
            await until_cut(handle)
            assert await said_by(program) == ({1: b"", 2: b""}, -1)
            await program.close()
            await handle.stop("stopped")  # nobody hears it, and nobody is stopped by that
        with pytest.raises(NodeUnreachable):
            await spawner.check()
        with pytest.raises(NodeUnreachable):
            await spawner.attach(spec.instance_id)
        with pytest.raises(NodeUnreachable):
            await spawner.start(spec_of(far, "draw"))
        await handle.close()
        assert far.podman.containers()[name_of(spec.instance_id)] == "running"
    finally:
        far.open()
    await until_there(spawner)
    found = await spawner.attach(spec.instance_id)
    assert found is not None
    assert (await reports_until(found, "running", 60))[-1].reason is None
    await found.stop("stopped")
    await reports_until(found, "ended", 60)


async def test_S04_a_manager_that_was_killed_finds_it_again(far: Far, managers: Managers) -> None:
    first = await managers()
    spec = spec_of(far, "draw")
    handle = await first.start(spec)
    before = (await reports_until(handle, "running", START_S))[-1]
    await first.close()
    second = await managers()
    found = await second.attach(spec.instance_id)
    assert found is not None
    after = (await reports_until(found, "running", 60))[-1]
    assert after.pids["container"] == before.pids["container"]
    assert await second.attach("i-nobody") is None
    await found.kill()
    await reports_until(found, "ended", 60)


async def test_S04_one_whose_manager_never_comes_back_ends(far: Far, managers: Managers) -> None:
    spawner = await managers(attach_deadline_s=0.5)
    spec = spec_of(far, "draw")
    handle = await spawner.start(spec)
    await reports_until(handle, "running", START_S)
    await spawner.close()
    await gone(spec.instance_id)
    assert name_of(spec.instance_id) not in far.podman.containers()
    await managers()


async def test_a_node_that_is_removed_ends_what_runs_there(far: Far, managers: Managers) -> None:
    spawner = await managers()
    spec = spec_of(far, "draw")
    handle = await spawner.start(spec)
    await reports_until(handle, "running", START_S)
    await spawner.retire()
    await gone(spec.instance_id)
    assert name_of(spec.instance_id) not in far.podman.containers()
    assert far.nodes() == []
    with pytest.raises(NodeUnreachable):
        await spawner.check()


async def test_one_that_waits_is_given_to_a_session(far: Far, managers: Managers) -> None:
    spawner = await managers()
    idle = {"session_id": None, "instance_token": None, "link_url": None}
    spec = spec_of(far, "draw", **idle)
    handle = await spawner.start(spec)
    assert (await reports_until(handle, "running", START_S))[-1].waits
    session = Adoption("i-other", "s-2", SecretStr("its-own-token"), "unix:///run/platform.sock")
    with pytest.raises(Unavailable, match=r"gateway\.url"):
        await handle.adopt(session)
    await handle.adopt(replace(session, link_url=f"http://{far.outside}:9"))
    with anyio.fail_after(60):
        async for report in handle.reports():
            if not report.waits:
                break
    await handle.kill()
    await reports_until(handle, "ended", 60)


async def test_S02_the_network_of_an_application_is_bounded_there_too(
    far: Far, managers: Managers
) -> None:
    spawner = await managers()
    places = [f"tcp:{far.outside}:9", f"tcp:{far.address}:2376", "tcp:169.254.169.254:80"]
    handle = await spawner.start(spec_of(far, "look", *places, network=True))
    await reports_until(handle, "running", START_S)
    text = b""
    with anyio.fail_after(60):
        async for piece in handle.logs(follow=True):
            text += piece
            if b'"interfaces"' in text:
                break
    said = json.loads(next(line for line in text.splitlines() if line.startswith(b"{")))
    assert len(said["interfaces"]) == 2
    assert set(said["reached"].values()) == {"ECONNREFUSED"}
    await handle.kill()
    await reports_until(handle, "ended", 60)


async def test_what_needs_the_managers_machine_is_refused(far: Far, managers: Managers) -> None:
    spawner = await managers()
    for changes, word in (
        ({"link_url": "unix:///run/platform.sock"}, "gateway.url"),
        ({"link_url": "http://127.0.0.1:8600"}, "gateway.url"),
        ({"read_only": (Path("/srv/stages"),)}, "/srv/stages"),
        ({"hooks": (Hook("pre-start", "", ["/bin/true"], "/srv"),)}, "hooks"),
    ):
        with pytest.raises(SpawnFailed, match=word):
            await spawner.start(spec_of(far, "draw", **changes))
    handle = await spawner.start(spec_of(far, "draw", image="localhost:1/none/such:1"))
    last = (await reports_until(handle, "ended", 60))[-1]
    assert last.reason == "pull-failed"
    assert "localhost:1/none/such:1" in (last.detail or "")
    await handle.close()
    assert await spawner.known() == []


async def why(far: Far, place: Path, *, until: str, **changes: object) -> str:
    """Why a node that cannot be one is none, once it says *until*."""
    spawner = RemoteSpawner(settings_of(far, place, REFUSED, **changes))
    said = ""
    try:
        with anyio.fail_after(60):
            while until not in said:
                try:
                    await spawner.check()
                except (NodeUnreachable, TimeoutError) as error:
                    said = str(error)
                await anyio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"it says: {said}")
    finally:
        await spawner.close()
    return said


async def test_S01_an_engine_is_spoken_to_by_those_alone_whom_it_trusts(
    far: Far, place: Path
) -> None:
    import trustme

    stranger = trustme.CA()
    theirs = place / "theirs"
    theirs.mkdir()
    shown = stranger.issue_cert("manager@downstage.test")
    for name, text in (
        ("ca.pem", (far.certificates / "ca.pem").read_bytes()),
        ("cert.pem", shown.cert_chain_pems[0].bytes()),
        ("key.pem", shown.private_key_pem.bytes()),
    ):
        (theirs / name).write_bytes(text)
    await why(far, place, until="chmod 600", certificates=theirs)
    (theirs / "key.pem").chmod(0o600)
    await why(far, place, until="does not answer", certificates=theirs)
    stranger.cert_pem.write_to_path(str(theirs / "ca.pem"))
    await why(far, place, until="CERTIFICATE_VERIFY_FAILED", certificates=theirs)
    await why(far, place, until="manager.engine_certificates", certificates=None)
    assert f"downstage-node-{REFUSED}" not in far.nodes()


async def test_an_image_that_is_no_node_says_so(
    far: Far, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = await why(far, place, until="cannot be pulled", image="localhost:1/none/such:1")
    assert "localhost:1/none/such:1" in said
    try:
        await why(far, place, until="does not speak as a node", image=_card())
        remove(far)
        monkeypatch.setattr("downstage.spawners.remote.spawner.PROTOCOL", 99)
        said = await why(far, place, until="Set manager.node_image")
        assert "speaks 99" in said
    finally:
        remove(far)


def remove(far: Far) -> None:
    far.podman.run("rm", "--force", "--time=0", f"downstage-node-{REFUSED}")


def _card() -> str:
    image = make_spec().image
    assert image is not None
    return image


async def test_a_node_container_of_other_settings_is_made_anew_when_nothing_runs(
    far: Far, managers: Managers, place: Path
) -> None:
    first = await managers()
    made = far.podman.run("inspect", "--format", "{{.Id}}", *far.nodes()).stdout
    await first.close()
    settings = settings_of(far, place, KEY)
    node = replace(settings.node, volumes=(*far.volumes, "/opt:/opt:ro"))
    await managers(volumes=node.volumes)
    with anyio.fail_after(90):
        while (names := far.nodes()) == [] or (
            far.podman.run("inspect", "--format", "{{.Id}}", *names).stdout == made
        ):
            await anyio.sleep(0.2)
