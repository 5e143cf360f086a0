"""Instances as processes: started, watched, ended on every path, nothing left (S03)."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import anyio
import pytest

from downstage.contracts.manager import PortWish
from downstage.kernel.errors import SetupError
from downstage.spawners.keeper.display import socket_of
from downstage.spawners.plan import Report
from downstage.spawners.probe import IsolationFound
from downstage.spawners.process import run_folder
from downstage.spawners.spawner import SpawnFailed

from .conftest import Launch, gone, make_spawner, make_spec, processes_of, reports_until

pytestmark = [pytest.mark.real, pytest.mark.anyio]

ORDER = ["placed", "display", "audio", "streamer", "application", "running"]
KINDS = pytest.mark.parametrize("isolation", ["auto", "userns", "none"])


def spawner_of(data: Path, isolation: str, **settings: object):
    if isolation == "userns":
        spawner = make_spawner(data, **settings)
        spawner._isolation = IsolationFound("userns", has_size=True)
        return spawner
    return make_spawner(data, isolation=isolation, **settings)


def assert_returned(report: Report) -> None:
    """The display's number can be taken again."""
    assert report.display is not None
    lock = Path(f"/tmp/.X{report.display[1:]}-lock")
    if lock.exists():
        # Somebody else may have taken the number by now; ours would be dead.
        assert Path("/proc", lock.read_text().strip()).exists()


@KINDS
async def test_an_instance_starts_and_stops(launch: Launch, data: Path, isolation: str) -> None:
    handle, spec = await launch("draw", spawner=spawner_of(data, isolation))
    reports = await reports_until(handle, "running")
    stages = [report.stage for report in reports]
    assert stages == sorted(stages, key=ORDER.index)
    assert reports[-1].isolated == (isolation != "none")
    await handle.stop("stopped")
    last = (await reports_until(handle, "ended"))[-1]
    assert (last.reason, last.exit_code, list(last.pids)) == ("stopped", None, ["keeper"])
    await gone(spec.instance_id)
    assert_returned(last)
    left = {path.name for path in (run_folder(data) / spec.instance_id).iterdir()}
    assert left == {"report.json", "keeper.log", "app.log", "streamer.log"}


async def test_a_wayland_application_finds_its_socket(launch: Launch) -> None:
    handle, _ = await launch("draw", display_kind="wayland")
    report = (await reports_until(handle, "running"))[-1]
    assert report.display is None
    await handle.kill()
    assert (await reports_until(handle, "ended"))[-1].reason == "stopped"


@KINDS
async def test_S03_an_application_that_exits_at_once(
    launch: Launch, data: Path, isolation: str
) -> None:
    handle, spec = await launch("exit", "7", spawner=spawner_of(data, isolation))
    last = (await reports_until(handle, "ended"))[-1]
    assert (last.reason, last.exit_code) == ("application-exited", 7)
    assert last.detail is not None
    assert "before it drew anything" in last.detail
    assert "the licence is missing" in last.detail
    assert "abc123secret" not in last.detail
    await gone(spec.instance_id)
    assert_returned(last)


async def test_S03_an_application_that_ends_later(launch: Launch) -> None:
    handle, _ = await launch("leave")
    last = (await reports_until(handle, "ended"))[-1]
    assert (last.reason, last.exit_code) == ("application-exited", 0)


async def test_S03_a_program_that_is_not_there(launch: Launch) -> None:
    handle, _ = await launch(command=("/usr/bin/no-such-program",))
    last = (await reports_until(handle, "ended"))[-1]
    assert last.reason == "application-exited"
    assert last.exit_code in (1, 127)
    assert "no-such-program" in (last.detail or "")


async def test_S03_an_application_that_never_draws(launch: Launch) -> None:
    handle, spec = await launch("hang", start_deadline_s=0.6)
    last = (await reports_until(handle, "ended"))[-1]
    assert last.reason == "never-drew"
    await gone(spec.instance_id)
    assert_returned(last)


@KINDS
async def test_S03_one_that_ignores_sigterm_is_killed(
    launch: Launch, data: Path, isolation: str
) -> None:
    handle, spec = await launch("stubborn", spawner=spawner_of(data, isolation))
    await reports_until(handle, "running")
    await handle.stop("stopped")
    await reports_until(handle, "ended")
    await gone(spec.instance_id)


@KINDS
async def test_S03_a_daemon_that_escapes_is_reaped(
    launch: Launch, data: Path, isolation: str
) -> None:
    handle, spec = await launch("daemon", spawner=spawner_of(data, isolation))
    await reports_until(handle, "running")
    before = len(processes_of(spec.instance_id))
    await handle.stop("stopped")
    await reports_until(handle, "ended")
    assert before >= 4
    await gone(spec.instance_id)


async def test_a_streamer_that_exits_at_once(launch: Launch, data: Path) -> None:
    handle, _ = await launch("draw", spawner=make_spawner(data, streamer="crash"))
    last = (await reports_until(handle, "ended"))[-1]
    assert last.reason == "streamer-failed"
    assert "the encoder is missing" in (last.detail or "")


async def test_a_killed_streamer_comes_back_on_x11(launch: Launch) -> None:
    handle, _ = await launch("draw")
    first = (await reports_until(handle, "running"))[-1]
    os.kill(first.pids["streamer"][0], signal.SIGKILL)
    with anyio.fail_after(20):
        async for report in handle.reports():
            if report.streamer_restarts == 1 and "streamer" in report.pids:
                break
    assert report.phase == "running"
    assert report.pids["streamer"] != first.pids["streamer"]
    assert report.pids["application"] == first.pids["application"]


async def test_a_killed_streamer_is_the_end_on_wayland(launch: Launch) -> None:
    handle, spec = await launch("draw", display_kind="wayland")
    first = (await reports_until(handle, "running"))[-1]
    os.kill(first.pids["streamer"][0], signal.SIGKILL)
    last = (await reports_until(handle, "ended"))[-1]
    assert (last.reason, last.streamer_restarts) == ("streamer-died", 0)
    await gone(spec.instance_id)


async def test_a_streamer_that_keeps_dying_is_given_up(launch: Launch) -> None:
    handle, _ = await launch("draw")
    with anyio.fail_after(20):
        async for report in handle.reports():
            if report.phase == "running" and "streamer" in report.pids:
                os.kill(report.pids["streamer"][0], signal.SIGKILL)
            if report.phase == "ended":
                break
    assert (report.reason, report.streamer_restarts) == ("streamer-died", 5)


async def test_a_killed_display_ends_it(launch: Launch) -> None:
    handle, _ = await launch("draw")
    first = (await reports_until(handle, "running"))[-1]
    os.kill(first.pids["display"][0], signal.SIGKILL)
    last = (await reports_until(handle, "ended"))[-1]
    assert last.reason in ("display-died", "application-exited", "streamer-died")
    assert_returned(first)


@KINDS
async def test_a_killed_keeper_takes_everything_with_it(
    launch: Launch, data: Path, isolation: str
) -> None:
    spawner = spawner_of(data, isolation)
    handle, spec = await launch("daemon", spawner=spawner)
    first = (await reports_until(handle, "running"))[-1]
    os.kill(first.pids["keeper"][0], signal.SIGKILL)
    reports = [report async for report in handle.reports()]
    assert all(report.phase != "ended" for report in reports)
    left = await spawner.clean(spec.instance_id)
    assert left is not None
    assert left.phase == "running"
    await gone(spec.instance_id)
    assert_returned(first)
    assert not (run_folder(data) / spec.instance_id / "app").exists()


@pytest.mark.parametrize("isolation", ["auto", "userns"])
async def test_with_keeper_and_platform_gone_the_kernel_ends_all(
    launch: Launch, data: Path, isolation: str
) -> None:
    """Nobody cleans up here: parent-death signals and the PID namespace do it alone."""
    handle, spec = await launch("daemon", spawner=spawner_of(data, isolation))
    first = (await reports_until(handle, "running"))[-1]
    os.kill(first.pids["keeper"][0], signal.SIGKILL)
    await gone(spec.instance_id)
    assert not socket_of(first.display or "").exists()


async def test_nobody_attached_means_the_end(launch: Launch, data: Path) -> None:
    spawner = make_spawner(data, attach_deadline_s=0.5)
    handle, spec = await launch("draw", spawner=spawner)
    await reports_until(handle, "running")
    await handle.close()
    await gone(spec.instance_id)
    report = await spawner.clean(spec.instance_id)
    assert report is not None
    assert (report.phase, report.reason) == ("ended", "abandoned")


async def test_another_platform_finds_the_same_processes(launch: Launch, data: Path) -> None:
    handle, spec = await launch("draw")
    first = (await reports_until(handle, "running"))[-1]
    await handle.close()
    again = await make_spawner(data).attach(spec.instance_id)
    assert again is not None
    second = (await reports_until(again, "running"))[-1]
    assert second.pids == first.pids
    await again.stop("stopped")
    await reports_until(again, "ended")
    await again.close()


async def test_a_platform_killed_by_force_leaves_nothing(data: Path) -> None:
    """Another process starts an instance and dies by SIGKILL; in time everything is gone."""
    spec = make_spec("daemon")
    program = (
        "import sys, anyio; sys.path.insert(0, sys.argv[1]); import conftest as c, pathlib\n"
        "async def main():\n"
        "    spawner = c.make_spawner(pathlib.Path(sys.argv[2]), attach_deadline_s=1)\n"
        "    handle = await spawner.start(c.make_spec('daemon', instance_id=sys.argv[3]))\n"
        "    await c.reports_until(handle, 'running'); print('up', flush=True)\n"
        "    await anyio.sleep(60)\n"
        "anyio.run(main)"
    )
    command = [sys.executable, "-c", program, str(Path(__file__).parent), str(data)]
    async with await anyio.open_process([*command, spec.instance_id], stderr=None) as platform:
        assert platform.stdout is not None
        said = b""
        with anyio.fail_after(30):
            while b"up\n" not in said:
                said += await platform.stdout.receive()
        platform.kill()
        await platform.wait()
        assert processes_of(spec.instance_id)
        await gone(spec.instance_id)


async def test_a_start_that_fails_leaves_nothing(data: Path) -> None:
    spawner = make_spawner(data)
    spec = make_spec("draw")
    (run_folder(data) / spec.instance_id).write_text("in the way")
    with pytest.raises(Exception, match="keeper did not start"):
        await spawner.start(spec)
    assert not processes_of(spec.instance_id)


async def test_isolation_that_is_demanded_and_absent_is_a_set_up_error(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SetupError, match="bubblewrap is not installed"):
        await make_spawner(data, isolation="bubblewrap").prepare()
    assert (await make_spawner(data).prepare()).mode == "none"


async def test_without_xvfb_the_reason_names_the_remedy(
    launch: Launch, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    handle, _ = await launch("draw", spawner=make_spawner(data, isolation="none"))
    last = (await reports_until(handle, "ended"))[-1]
    assert last.reason == "display-failed"
    assert "apt install xvfb" in (last.detail or "")


async def test_output_is_bounded(launch: Launch, data: Path) -> None:
    handle, spec = await launch("shout")
    await reports_until(handle, "running")
    folder = run_folder(data) / spec.instance_id
    size = sum(path.stat().st_size for path in folder.glob("app.log*"))
    assert 512 * 1024 < size <= 1024 * 1024
    assert (folder / "app.log").read_text().endswith("x\n")


async def test_ports_of_a_process_are_told_as_they_are_or_refused(
    launch: Launch, data: Path
) -> None:
    port = PortWish(name="api", number=8011)
    handle, _ = await launch("draw", network=True, ports=(port,))
    report = (await reports_until(handle, "running"))[-1]
    assert report.ports == [{**port.model_dump(), "host": "127.0.0.1", "published": 8011}]
    for refused in (
        make_spec("draw", ports=(port,)),
        make_spec("draw", network=True, ports=(PortWish(name="any", number=0),)),
        make_spec("draw", image="localhost/some/image"),
    ):
        with pytest.raises(SpawnFailed):
            await make_spawner(data).start(refused)
