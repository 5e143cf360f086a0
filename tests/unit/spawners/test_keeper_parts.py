"""Parts of the keeper that need no process: records, output, sandbox options, cookies."""

from __future__ import annotations

import os
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from downstage.spawners.keeper import display, linux, sandbox
from downstage.spawners.keeper.loop import Lines, Loop
from downstage.spawners.keeper.output import Output
from downstage.spawners.plan import Plan, Report, read_json, record_of, write_private

pytestmark = pytest.mark.unit


def make_plan(**changes: object) -> Plan:
    values: dict[str, object] = {
        "instance_id": "i-1",
        "display_kind": "x11",
        "streamer": ["streamer"],
        "streamer_environment": {},
        "application": ["app"],
        "environment": {},
        "isolation": "drop",
    }
    return Plan(**{**values, **changes})  # type: ignore[arg-type]


def seams_of(folder: Path, **changes: object) -> sandbox.Seams:
    values: dict[str, object] = {
        "display": ":7",
        "wayland": None,
        "cookie": None,
        "pulse": None,
        "shares_memory": True,
    }
    return sandbox.Seams(folder=folder, **{**values, **changes})  # type: ignore[arg-type]


def test_records_survive_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_private(path, make_plan(environment={"A": "ü"}))
    assert read_json(path, Plan).environment == {"A": "ü"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "{"])
def test_a_broken_record_is_a_value_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(ValueError, match=r"Expect|holds no|missing"):
        read_json(tmp_path / "report.json", Report)


def test_a_record_of_a_newer_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"instance_id": "i-1", "mood": "good"}')
    assert read_json(tmp_path / "report.json", Report) == Report("i-1")


def test_a_report_of_a_newer_keeper_is_understood() -> None:
    line = b'{"instance_id": "i-1", "phase": "running", "what_comes_later": [1]}\n'
    assert record_of(line, Report).phase == "running"
    with pytest.raises(ValueError, match="no object"):
        record_of(b"[]", Report)


def test_S10_secrets_are_kept_out_of_the_output(tmp_path: Path) -> None:
    output = Output(tmp_path / "log", ["hush-hush"])
    output.write("here is hush-hush, Authorization: Bearer abc.def and password=letmein")
    output.write("jwt eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln")
    output.close()
    text = (tmp_path / "log").read_text() + output.tail()
    for secret in ("hush-hush", "abc.def", "letmein", "eyJ"):
        assert secret not in text
    assert text.count("[redacted]") >= 4


def test_output_keeps_within_its_bound(tmp_path: Path) -> None:
    output = Output(tmp_path / "log", [])
    for number in range(400):
        output.write(f"{number:04d}" + "x" * 8000)
    output.close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1024 * 1024
    assert "0399" in (tmp_path / "log").read_text()


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


@pytest.mark.parametrize("is_held", [False, True])
def test_a_last_line_without_its_end_is_not_lost(loop: Loop, is_held: bool) -> None:
    seen = list[str]()
    read, write = os.pipe()
    lines = Lines(loop, read, seen.append)
    os.write(write, b"first\nlast")
    if not is_held:  # else something that the program left running has the pipe still
        os.close(write)
    lines.drain()
    lines.close()
    assert seen == ["first", "last"]
    if is_held:
        os.close(write)


def test_output_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="log"):
        Output(tmp_path / "log", [])


@pytest.mark.parametrize("network", [False, True])
def test_the_network_is_off_unless_asked_for(tmp_path: Path, network: bool) -> None:
    options = sandbox.options(make_plan(network=network), seams_of(tmp_path), {})
    assert ("--unshare-net" in options) is not network
    assert ("/etc/resolv.conf" in options) is network


def test_the_sandbox_holds_what_it_must(tmp_path: Path) -> None:
    options = sandbox.options(make_plan(), seams_of(tmp_path), {"A": "b"})
    for option in ("--die-with-parent", "--new-session", "--unshare-pid", "--clearenv"):
        assert option in options
    assert "--unshare-ipc" not in options
    unshared = sandbox.options(make_plan(), seams_of(tmp_path, shares_memory=False), {})
    assert "--unshare-ipc" in unshared
    binds = [options[i + 1] for i, option in enumerate(options) if option == "--bind"]
    assert binds == [str(tmp_path / "app"), "/tmp/.X11-unix/X7"]
    user = sandbox.options(make_plan(isolation="userns"), seams_of(tmp_path), {})
    assert "--unshare-user" in user
    assert "--cap-add" not in user


def test_nothing_but_the_program_stands_in_the_process_list() -> None:
    line = sandbox.wrap("drop", 61184, 61184, 5, ["app", "--x"])
    assert line[:4] == ["bwrap", "--args", "5", "--"]
    assert line[-2:] == ["app", "--x"]
    assert "--no-new-privs" in line
    assert sandbox.wrap("userns", 1, 1, 5, ["app"]) == ["bwrap", "--args", "5", "--", "app"]


def test_ours_win_over_the_callers_variables(tmp_path: Path) -> None:
    asked = {"DISPLAY": ":0", "DOWNSTAGE_INSTANCE": "x", "SDL_FRAMEBUFFER_ACCELERATION": "1"}
    found = sandbox.environment_of(make_plan(environment=asked), seams_of(tmp_path))
    assert found["DISPLAY"] == ":7"
    assert found["DOWNSTAGE_INSTANCE"] == "i-1"
    assert found["SDL_FRAMEBUFFER_ACCELERATION"] == "1"
    assert "DOWNSTAGE_TOKEN_FILE" not in found
    assert "PULSE_SERVER" not in found


def test_arguments_travel_in_a_file_without_a_name() -> None:
    handle = sandbox.memory_file(["--setenv", "A", "b c"])
    with os.fdopen(handle, "rb") as file:
        assert file.read() == b"--setenv\0A\0b c\0"


def test_a_cookie_is_the_same_everywhere_and_private(tmp_path: Path) -> None:
    display.write_cookie([tmp_path / "a", tmp_path / "b"])
    body = (tmp_path / "a").read_bytes()
    assert body == (tmp_path / "b").read_bytes()
    assert struct.unpack(">H", body[:2]) == (65535,)
    assert body.count(b"MIT-MAGIC-COOKIE-1") == 2
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_displays_are_reserved_by_their_lock_and_given_back() -> None:
    one, other = display.reserve(), display.reserve()
    try:
        assert one != other
        assert int(Path(f"/tmp/.X{one[1:]}-lock").read_text()) == os.getpid()
        display.clean_display(one, os.getpid() + 1)
        assert Path(f"/tmp/.X{one[1:]}-lock").exists()
    finally:
        for name in (one, other):
            display.clean_display(name, os.getpid())
    assert not Path(f"/tmp/.X{one[1:]}-lock").exists()


def test_a_lock_of_the_dead_is_taken_over_and_one_of_the_living_is_not() -> None:
    name = display.reserve()
    lock = Path(f"/tmp/.X{name[1:]}-lock")
    other = ""
    try:
        other = display.reserve()
        assert other != name
        lock.chmod(0o644)
        lock.write_text(f"{2**22 + 1:10d}\n")
        assert display._reclaim(name)
        assert not lock.exists()
        assert not display._reclaim(other)
    finally:
        for taken in (name, other):
            display.clean_display(taken, os.getpid())


def test_a_display_that_answers_is_passed_over() -> None:
    name = display.reserve()
    folder = display.socket_of(name).parent
    if not folder.exists():  # the first X server of a machine makes it
        folder.mkdir()
        folder.chmod(0o1777)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(display.socket_of(name)))
        server.listen()
        display._lock(name).unlink()
        other = display.reserve()
    display.socket_of(name).unlink()
    display.clean_display(other, os.getpid())
    assert other != name


def test_start_time_tells_processes_apart() -> None:
    assert linux.start_time(os.getpid()) is not None
    assert linux.start_time(2**22 + 1) is None
    assert os.getpid() in linux.children_of(os.getppid())


def test_the_keeper_loads_the_standard_library_alone() -> None:
    program = (
        "import sys, downstage.spawners.keeper.life as _\n"
        "print([n for n in sys.modules if n.split('.')[0] in "
        "('anyio', 'asyncio', 'pydantic', 'structlog', 'ssl')])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert result.stdout.strip() == b"[]"
