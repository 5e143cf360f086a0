"""Programs that are run to their end inside the walls."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio
import pytest

from downstage.kernel.errors import DeadlineExceeded
from downstage.spawners import probe
from downstage.spawners.errand import Errand, ErrandFailed, Errands
from downstage.spawners.probe import IsolationFound, find_isolation

pytestmark = [pytest.mark.real, pytest.mark.anyio]


def errand(program: str, **changes: object) -> Errand:
    values: dict[str, object] = {
        "command": [sys.executable, "-c", program, "{out}"],
        "result": "result.bin",
        "most_bytes": 1000,
        "deadline_s": 20.0,
    }
    return Errand(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
async def walls() -> IsolationFound:
    found = await find_isolation()
    assert found.mode != "none", found.reason
    return found


@pytest.fixture(params=["walls", "none"])
def errands(request: pytest.FixtureRequest, walls: IsolationFound) -> Errands:
    return Errands(walls if request.param == "walls" else IsolationFound("none", has_size=False))


WRITE = "import sys; open(sys.argv[1], 'wb').write("


async def test_the_result_comes_back(errands: Errands) -> None:
    assert await errands.run(errand(WRITE + "b'done')")) == b"done"


async def test_a_failure_tells_its_last_line(errands: Errands) -> None:
    with pytest.raises(ErrandFailed, match="no such stage"):
        await errands.run(errand("print('reading'); raise SystemExit('no such stage')"))
    with pytest.raises(ErrandFailed, match="no result"):
        await errands.run(errand("pass"))


async def test_one_that_never_ends_is_ended(errands: Errands) -> None:
    # `downstage-mark` names the processes, so that they can be looked for afterwards.
    program = "import os, time\nif os.fork() == 0: os.setsid()\ntime.sleep(600) # downstage-mark"
    with pytest.raises(DeadlineExceeded):
        await errands.run(errand(program, deadline_s=1.0))
    if errands._isolation is not None and errands._isolation.mode != "none":
        assert not marked()
    for pid in marked():  # without walls a daemon gets away: that is what they are for
        os.kill(pid, 9)


def marked() -> list[int]:
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                is_marked = b"downstage-mark" in (path / "cmdline").read_bytes()
            except OSError:
                continue
            if is_marked and int(path.name) != os.getpid():
                found.append(int(path.name))
    return found


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(WRITE + "b'x' * 1001)", id="larger than was said"),
        pytest.param("import os, sys; os.symlink('/etc/passwd', sys.argv[1])", id="a link"),
        pytest.param("import os, sys; os.mkfifo(sys.argv[1])", id="a pipe that nobody writes"),
        pytest.param("import os, sys; os.mkdir(sys.argv[1])", id="a folder"),
    ],
)
async def test_a_result_that_is_a_trick_is_refused(errands: Errands, program: str) -> None:
    with anyio.fail_after(30), pytest.raises(ErrandFailed):
        await errands.run(errand(program))


async def test_without_walls_that_nobody_took_away_nothing_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def find() -> IsolationFound:
        return IsolationFound("none", has_size=False, reason="bubblewrap is not installed")

    monkeypatch.setattr(probe, "find_isolation", find)
    program = f"open({str(tmp_path / 'ran')!r}, 'w')"
    with pytest.raises(ErrandFailed, match="bubblewrap is not installed"):
        await Errands().run(errand(program))
    assert not (tmp_path / "ran").exists()


async def test_inside_there_is_no_network_and_little_memory(walls: IsolationFound) -> None:
    program = (
        "import socket, sys\n"
        "try: socket.create_connection(('127.0.0.1', 1), 1)\n"
        "except OSError as error: said = type(error).__name__\n"
        "try: bytearray(512 << 20)\n"
        "except MemoryError: said += ' MemoryError'\n"
        "open(sys.argv[1], 'w').write(said)"
    )
    said = await Errands(walls).run(errand(program, memory_mb=256))
    assert said == b"ConnectionRefusedError MemoryError"


async def test_the_token_is_in_its_file_alone(walls: IsolationFound) -> None:
    program = (
        "import os, sys\n"
        "path = os.environ['DOWNSTAGE_TOKEN_FILE']\n"
        "open(sys.argv[1], 'w').write(open(path).read() + ' ' + oct(os.stat(path).st_mode)[-3:])"
    )
    said = await Errands(walls).run(errand(program, token="hush"))
    assert said == b"hush 600"
