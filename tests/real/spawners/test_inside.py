"""Programs started beside an application, behind its walls; and its log as it comes."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

from downstage.spawners.exec import CannotExec, Exec, ExecStream

from .conftest import Launch, make_spawner, make_spec, processes_of, reports_until

pytestmark = [pytest.mark.real, pytest.mark.anyio]

LOOK = """
import json, os
status = open("/proc/self/status").read()
print(json.dumps({
    **{name: os.readlink("/proc/self/ns/" + name) for name in ("mnt", "pid", "net")},
    "uid": os.getuid(), "more": os.environ.get("MORE"),
    "display": os.environ.get("DISPLAY"), "privileges": "NoNewPrivs:\\t1" in status,
    "capabilities": [line.split()[1] for line in status.splitlines() if line.startswith("CapBnd")],
}))
"""


async def read_all(stream: ExecStream) -> tuple[bytes, bytes]:
    found = {1: b"", 2: b""}
    with anyio.fail_after(20):
        async for which, data in stream.output():
            found[which] += data
    return found[1], found[2]


@pytest.mark.parametrize("isolation", ["auto", "none"])
async def test_a_program_runs_behind_the_application_s_walls(
    launch: Launch, data: Path, isolation: str
) -> None:
    handle, spec = await launch("draw", spawner=make_spawner(data, isolation=isolation))
    report = (await reports_until(handle, "running"))[-1]
    stream = await handle.exec(Exec((*spec.command[:1], "-c", LOOK), environment={"MORE": "yes"}))
    out, err = await read_all(stream)
    code = await stream.wait()
    await stream.close()
    assert (code, err) == (0, b"")
    seen = json.loads(out)
    assert seen["more"] == "yes"
    assert seen["display"] == report.display
    here = {name: str(Path("/proc/self/ns", name).readlink()) for name in ("mnt", "pid", "net")}
    if isolation == "auto":
        assert all(seen[name] != here[name] for name in here)
        assert seen["uid"] != 0
        assert seen["privileges"]
        assert set(seen["capabilities"]) == {"0" * 16}


async def test_S01_variables_of_the_application_choose_nothing_that_runs_on_this_side(
    launch: Launch, data: Path, tmp_path: Path
) -> None:
    """It starts itself anew with a PATH of its own, and waits for an operator to look in."""
    trap, caught = tmp_path / "trap", tmp_path / "caught"
    trap.mkdir()
    for name in ("nsenter", "setpriv", "setsid"):
        program = trap / name
        program.write_text(f'#!/bin/sh\ntouch {caught}\nexec /usr/bin/{name} "$@"\n')
        program.chmod(0o755)
    again = f'PATH={trap}:/usr/bin:/bin exec "$@"'
    spec = make_spec("draw")
    handle, _ = await launch(
        "draw",
        spawner=make_spawner(data),
        command=("/bin/sh", "-c", again, "sh", *spec.command),
    )
    await reports_until(handle, "running")
    for asked in (
        Exec(("/bin/sh", "-c", "echo $PATH")),
        Exec(("/bin/sh", "-c", "test -t 0 && echo keys"), tty=True),
    ):
        stream = await handle.exec(asked)
        out, _ = await read_all(stream)
        await stream.close()
        assert out.startswith((str(trap).encode(), b"keys")), "they count for the program itself"
    assert not caught.exists()


async def test_bytes_go_both_ways_and_the_code_comes_back(launch: Launch) -> None:
    handle, _ = await launch("draw")
    await reports_until(handle, "running")
    stream = await handle.exec(Exec(("/bin/sh", "-c", "cat; echo bad >&2; exit 7")))
    sent = b"x" * 200_000
    async with anyio.create_task_group() as tasks:

        async def feed() -> None:
            await stream.send(sent)
            await stream.end_input()

        tasks.start_soon(feed)
        out, err = await read_all(stream)
    assert (out, err, await stream.wait()) == (sent, b"bad\n", 7)
    await stream.close()


async def test_a_terminal_has_a_size_and_keys(launch: Launch) -> None:
    handle, _ = await launch("draw")
    await reports_until(handle, "running")
    stream = await handle.exec(Exec(("/bin/sh",), tty=True, size=(101, 33)))
    seen, is_resized = b"", False
    await stream.send(b"stty size; tty\n")
    with anyio.fail_after(20):
        async for _, piece in stream.output():
            seen += piece
            if b"33 101" in seen and not is_resized:
                is_resized = True
                await stream.resize(102, 44)
                await stream.send(b"stty size; exit 3\n")
    assert b"33 101" in seen
    assert b"44 102" in seen
    assert await stream.wait() == 3, seen
    await stream.close()


async def test_closing_ends_what_still_runs(launch: Launch) -> None:
    handle, spec = await launch("draw")
    await reports_until(handle, "running")
    before = len(processes_of(spec.instance_id))
    stream = await handle.exec(Exec(("/bin/sh", "-c", "echo here; sleep 600 & sleep 600")))
    async for _, piece in stream.output():
        assert piece == b"here\n"
        break
    assert len(processes_of(spec.instance_id)) > before
    await stream.close()
    with anyio.fail_after(20):
        while len(processes_of(spec.instance_id)) > before:
            await anyio.sleep(0.05)


async def test_nothing_is_started_where_nothing_runs(launch: Launch) -> None:
    handle, _ = await launch("exit", "0")
    await reports_until(handle, "ended")
    with pytest.raises(CannotExec, match="does not run"):
        await handle.exec(Exec(("true",)))


async def test_a_log_is_read_whole_by_its_end_and_as_it_comes(launch: Launch) -> None:
    handle, _ = await launch("shout")
    await reports_until(handle, "running")
    last = [piece async for piece in handle.logs(tail=1)]
    assert b"".join(last).startswith(b"59999 ")
    whole = b"".join([piece async for piece in handle.logs()])
    numbers = [int(line.split()[0]) for line in whole.splitlines()]
    assert numbers == list(range(numbers[0], 60_000)), "lines are missing"
    assert len(whole) < 2 * 512 * 1024
    followed = list[bytes]()
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:

            async def follow() -> None:
                async for piece in handle.logs(follow=True, tail=1):
                    followed.append(piece)

            tasks.start_soon(follow)
            while not followed:
                await anyio.sleep(0.01)
            await handle.stop("stopped")
            with anyio.fail_after(20):
                await reports_until(handle, "ended")
    assert b"".join(followed).startswith(b"59999 ")
