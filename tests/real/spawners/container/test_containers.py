"""Applications in containers of real Podman: started, watched, ended on every path."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import anyio
import pytest
from pydantic import SecretStr
from tests.real.spawners.conftest import reports_until

from downstage.contracts.manager import Needs
from downstage.spawners import leftovers
from downstage.spawners.container.plan import name_of
from downstage.spawners.exec import CannotExec, Exec

from .conftest import Launch, Podman, gone, make_spawner, make_spec, said

pytestmark = [pytest.mark.real, pytest.mark.anyio]


async def test_a_container_starts_and_stops(launch: Launch, data: Path, podman: Podman) -> None:
    handle, spec = await launch("draw")
    reports = await reports_until(handle, "running", 60)
    assert "container" in reports[-1].pids
    assert reports[-1].isolated
    assert podman.containers()[name_of(spec.instance_id)] == "running"
    await handle.stop("stopped")
    last = (await reports_until(handle, "ended", 60))[-1]
    assert (last.reason, last.exit_code, list(last.pids)) == ("stopped", None, ["keeper"])
    assert name_of(spec.instance_id) not in podman.containers()
    await gone(spec.instance_id)
    left = {path.name for path in (data / "run" / spec.instance_id).iterdir()}
    assert left <= {"report.json", "keeper.log", "app.log", "streamer.log", "hooks.log"}


async def test_S03_a_container_that_ends_by_itself(launch: Launch, podman: Podman) -> None:
    handle, spec = await launch("exit", "7")
    last = (await reports_until(handle, "ended", 60))[-1]
    assert (last.reason, last.exit_code) == ("application-exited", 7)
    assert name_of(spec.instance_id) not in podman.containers()
    with pytest.raises(CannotExec):  # nothing is started where nothing runs
        await handle.exec(Exec(("/usr/bin/python3",)))


async def test_S03_a_program_that_the_image_lacks(launch: Launch, podman: Podman) -> None:
    handle, spec = await launch(command=("/no/such/program",))
    last = (await reports_until(handle, "ended", 60))[-1]
    assert last.reason == "start-failed"
    assert "/no/such/program" in (last.detail or "")
    assert name_of(spec.instance_id) not in podman.containers()


async def test_S01_the_walls_of_a_container(launch: Launch, data: Path, podman: Podman) -> None:
    handle, spec = await launch(
        *("look", "; rm -rf /", "$(id)", "/usr/x", "/etc/passwd", "/x", "/proc/sys/kernel/x"),
        *("/run/app/mine", "/tmp/mine", "/dev/shm/mine", "unix:" + str(podman.socket)),
        "tcp:127.0.0.1:22",
        environment={"SPECIAL": "a b; $(id)"},
        labels={"team": "blue", "org.downstage.instance": "i-forged"},
        access_token=SecretStr("a-content-token"),
        user_data='{"level": 3}',
        needs=Needs(cpus=0.5, memory_mb=200, pids=64),
    )
    await reports_until(handle, "running", 60)
    seen = await said(data, spec.instance_id)
    assert seen["uid"] >= 1000
    assert set(seen["capabilities"]) == {"0"}
    assert (seen["no_new_privileges"], seen["seccomp"]) == ("1", "2")
    assert seen["interfaces"] == ["lo"]
    assert seen["processes"] < 5
    assert len(seen["x11"]) == 1
    assert seen["environment"]["SPECIAL"] == "a b; $(id)"
    assert seen["handed"] == "[redacted]"  # in the log; the application had it
    assert seen["data"] == '{"level": 3}'
    assert not {"the-instance-token", "a-content-token"} & set(seen["environment"].values())
    written = seen["written"]
    for path in ("/usr/x", "/etc/passwd", "/x", "/proc/sys/kernel/x"):
        assert written[path] in {"EROFS", "EACCES", "EPERM", "ENOENT"}, path
    for path in ("/run/app/mine", "/tmp/mine", "/dev/shm/mine"):
        assert written[path] == "written", path
    assert set(seen["reached"].values()).isdisjoint({"reached"})
    found = json.loads(podman.run("inspect", name_of(spec.instance_id)).stdout)[0]
    host, labels = found["HostConfig"], found["Config"]["Labels"]
    assert labels["org.downstage.user.team"] == "blue"
    assert labels["org.downstage.instance"] == spec.instance_id
    assert labels["org.downstage.user.org.downstage.instance"] == "i-forged"
    assert found["Config"]["Cmd"][-2:] != []
    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"]) == (200 << 20, 200 << 20, 64)
    assert host["NanoCpus"] == 500_000_000
    assert host["ReadonlyRootfs"]
    assert not host["Privileged"]
    sources = [mount["Source"] for mount in found["Mounts"] if mount["Type"] == "bind"]
    inside = (str(data / "run" / spec.instance_id), "/tmp/.X11-unix/X")
    assert all(source.startswith(inside) for source in sources), sources


async def test_a_keeper_that_is_killed_takes_its_container_along(
    launch: Launch, data: Path, podman: Podman
) -> None:
    spawner = make_spawner(data, podman)
    handle, spec = await launch("draw", spawner=spawner)
    report = (await reports_until(handle, "running", 60))[-1]
    os.kill(report.pids["keeper"][0], signal.SIGKILL)
    await leftovers.gone(report.pids["keeper"][0])
    assert await spawner.attach(spec.instance_id) is None
    await spawner.clean(spec.instance_id)
    assert name_of(spec.instance_id) not in podman.containers()
    assert spec.instance_id not in await spawner.known()
    await gone(spec.instance_id)


async def test_a_runner_that_is_killed_leaves_no_container(launch: Launch, podman: Podman) -> None:
    handle, spec = await launch("draw")
    report = (await reports_until(handle, "running", 60))[-1]
    os.kill(report.pids["application"][0], signal.SIGKILL)
    last = (await reports_until(handle, "ended", 60))[-1]
    assert last.reason == "application-exited"
    assert name_of(spec.instance_id) not in podman.containers()


async def test_a_container_is_known_by_its_label_and_removed_as_an_orphan(
    data: Path, podman: Podman
) -> None:
    spawner = make_spawner(data, podman)
    spec = make_spec("draw")
    labels = {"org.downstage.instance": spec.instance_id, "org.downstage.place": spawner._place}
    options = [part for key, value in labels.items() for part in ("--label", f"{key}={value}")]
    name = name_of(spec.instance_id)
    made = podman.run(
        *("run", "--detach", "--network=none", "--log-driver=none", *options, "--name", name),
        *(str(spec.image), "/usr/bin/python3", "-c", "import time; time.sleep(600)"),
    )
    assert made.returncode == 0, made.stderr
    assert await spawner.known() == [spec.instance_id]
    await spawner.clean(spec.instance_id)
    assert await spawner.known() == []
    assert name not in podman.containers()


async def test_an_instance_is_found_again_by_another_manager(
    launch: Launch, data: Path, podman: Podman
) -> None:
    handle, spec = await launch("draw")
    await reports_until(handle, "running", 60)
    await handle.close()
    again = await make_spawner(data, podman).attach(spec.instance_id)
    assert again is not None
    assert (await reports_until(again, "running"))[-1].phase == "running"
    await again.stop("stopped")
    assert (await reports_until(again, "ended", 60))[-1].reason == "stopped"
    await again.close()


async def test_programs_run_inside_a_container(launch: Launch) -> None:
    handle, _ = await launch("draw")
    await reports_until(handle, "running", 60)
    program = (
        "import os, sys; print(os.getuid(), os.environ['MORE'], sys.stdin.read()); sys.exit(5)"
    )
    stream = await handle.exec(
        Exec(("/usr/bin/python3", "-c", program), environment={"MORE": "yes"})
    )
    await stream.send(b"hello")
    await stream.end_input()
    out = b""
    with anyio.fail_after(30):
        async for which, piece in stream.output():
            assert which == 1, piece
            out += piece
        code = await stream.wait()
    await stream.close()
    uid, more, text = out.decode().split()
    assert (more, text, code) == ("yes", "hello", 5)
    assert int(uid) >= 1000


async def test_a_terminal_inside_a_container_has_a_size(launch: Launch) -> None:
    handle, _ = await launch("draw")
    await reports_until(handle, "running", 60)
    program = (
        "import os, signal; s = lambda *_: print(*os.get_terminal_size(), flush=True); s()\n"
        "signal.signal(signal.SIGWINCH, s)\nwhile input() != 'bye': pass"
    )
    stream = await handle.exec(Exec(("/usr/bin/python3", "-c", program), tty=True, size=(101, 33)))
    seen, is_resized = b"", False
    with anyio.fail_after(30):
        async for _, piece in stream.output():
            seen += piece
            if b"\n" in seen and not is_resized:
                is_resized = True
                await stream.resize(102, 44)
            if b"102 44" in seen and b"bye" not in seen:
                await stream.send(b"bye\n")
        assert await stream.wait() == 0
    await stream.close()
    assert b"102 44" in seen
