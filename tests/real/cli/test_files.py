"""``downstage files`` against a content server: each command as a person uses it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.real.cli.conftest import files_key

from downstage.client.client import default_client
from downstage.client.options import S3Options
from downstage.live.messages import Join
from downstage.live.ops import Create, Set
from downstage.live.wire import encode

if TYPE_CHECKING:
    from tests.real.cli.conftest import Commands, Line, Served

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

LARGE = 20 * 1024 * 1024


@pytest.fixture
def url(served: Served, data: Path) -> str:
    """A folder of the test's own; made by what is written into it."""
    return f"omniverse://{served.authority}/{data.name}"


@pytest.fixture
def scenes(data: Path) -> Path:
    folder = data / "scenes"
    (folder / "props").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "a.usda").write_text("#usda 1.0\n")
    (folder / "props" / "b:c#d.bin").write_bytes(os.urandom(3000))
    return folder


def below(folder: Path) -> dict[str, bytes | None]:
    found = folder.rglob("*")
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in found}


def test_a_folder_there_and_back(downstage: Commands, scenes: Path, url: str, data: Path) -> None:
    there = downstage("files", "cp", "-r", str(scenes), f"{url}/x")
    assert (there.status, there.out) == (0, "")
    assert "2 files copied (3.0 kB)." in there.err
    assert "2 files there already" in downstage("files", "cp", "-r", str(scenes), f"{url}/x").err
    assert downstage("files", "cp", "-rq", f"{url}/x", f"{data}/back/").status == 0
    assert below(data / "back" / "x") == below(scenes)
    listed = downstage("files", "ls", f"{url}/x")
    assert [row.split()[-1] for row in listed.out.splitlines()] == ["a.usda", "empty/", "props/"]
    assert "└── b:c#d.bin  3.0 kB" in downstage("files", "tree", f"{url}/x").out
    assert "2 files" in downstage("files", "du", f"{url}/x").out
    fact = json.loads(downstage("files", "stat", "--json", f"{url}/x/a.usda").out)
    assert (fact["size"], fact["kind"], fact["modified_by"]) == (10, "file", "alice")


def test_without_an_address_the_running_platform_is_meant(
    downstage: Commands, url: str, data: Path
) -> None:
    assert downstage("files", "mkdir", url).status == 0
    assert f"{data.name}/" in downstage("files", "ls").out
    (data / "run" / "platform.json").unlink()
    refused = downstage("files", "ls")
    assert (refused.status, "downstage up" in refused.err) == (2, True)


def test_copying_inside_a_server_moves_no_bytes(
    downstage: Commands, scenes: Path, line: Line, url: str, served: Served
) -> None:
    downstage("files", "cp", "-rq", str(scenes), f"{url}/x")
    downstage.means(line.authority, served.server.token("alice"))
    near = url.replace(served.authority, line.authority)
    copied = downstage("files", "cp", "-r", f"{near}/x", f"{near}/y")
    assert "by the server itself" in copied.err
    assert line.down < 3000
    assert downstage("files", "mv", f"{near}/y", f"{near}/z").status == 0
    assert downstage("files", "cat", f"{near}/z/a.usda").status == 0


def test_another_file_is_only_replaced_when_asked(
    downstage: Commands, scenes: Path, url: str
) -> None:
    source = str(scenes / "a.usda")
    downstage("files", "cp", source, f"{url}/")
    (scenes / "a.usda").write_text("#usda 2.0\n")
    refused = downstage("files", "cp", source, f"{url}/")
    assert (refused.status, "--overwrite" in refused.err) == (1, True)
    shown = downstage("files", "cp", "-n", "--overwrite", source, f"{url}/")
    assert shown.out.startswith("~ a.usda  10 B\n")
    assert downstage("files", "cp", "--overwrite", "-m", "why", source, f"{url}/").status == 0
    kept = downstage("files", "checkpoints", f"{url}/a.usda").out
    assert (kept.startswith("?&1"), "why" in kept) == (True, True)


def test_checkpoints_come_back(downstage: Commands, url: str, data: Path) -> None:
    file = data / "f.txt"
    for text in ("one", "two"):
        file.write_text(text)
        downstage("files", "cp", "-q", "--overwrite", str(file), f"{url}/f.txt")
        made = downstage("files", "checkpoint", f"{url}/f.txt", "-m", text)
        assert made.status == 0
    assert downstage("files", "cp", "-q", f"{url}/f.txt?&1", str(data / "old")).status == 0
    assert (data / "old").read_text() == "one"
    assert "?&3" in downstage("files", "restore", f"{url}/f.txt").err
    assert downstage("files", "restore", f"{url}/f.txt?&1").status == 0
    downstage("files", "cp", "-q", "--overwrite", f"{url}/f.txt", str(file))
    assert file.read_text() == "one"


def test_deleting_says_how_it_comes_back(downstage: Commands, scenes: Path, url: str) -> None:
    downstage("files", "cp", "-rq", str(scenes), f"{url}/x")
    refused = downstage("files", "rm", f"{url}/x")
    assert (refused.status, "-r deletes it" in refused.err) == (1, True)
    assert "would delete" in downstage("files", "rm", "-rn", f"{url}/x").out
    gone = downstage("files", "rm", "-r", f"{url}/x")
    assert f"downstage files undelete {url}/x" in gone.err
    assert downstage("files", "ls", f"{url}/x").status == 1
    assert "deleted" in downstage("files", "ls", "--deleted", url).out
    assert downstage("files", "undelete", f"{url}/x").status == 0
    assert downstage("files", "stat", f"{url}/x/a.usda").status == 0
    assert downstage("files", "rm", "-f", f"{url}/nothing").status == 0


def test_sync_makes_one_folder_like_another(
    downstage: Commands, scenes: Path, url: str, data: Path
) -> None:
    assert downstage("files", "sync", str(scenes), f"{url}/x").status == 0
    (scenes / "a.usda").write_text("#usda 3.0\n")
    (scenes / "new").write_text("n")
    (scenes / "props" / "b:c#d.bin").unlink()
    plan = downstage("files", "sync", "-n", "--delete", str(scenes), f"{url}/x").out
    assert plan.splitlines()[:3] == ["+ new  1 B", "~ a.usda  10 B", "- props/b:c#d.bin"]
    downstage("files", "sync", "--delete", str(scenes), f"{url}/x")
    downstage("files", "sync", f"{url}/x", f"{data}/back")
    assert below(data / "back") == below(scenes)
    assert "Nothing to do" not in downstage("files", "sync", str(scenes), f"{url}/x").err
    for pair in ((f"{url}/x", f"{url}/x/props"), (f"{url}/x/props", f"{url}/x")):
        assert downstage("files", "sync", "--delete", *pair).status == 1
    alias = f"{url}/x/props".replace("omniverse://127.0.0.1", "downstage://localhost")
    assert downstage("files", "sync", "--delete", f"{url}/x", alias).status == 1


def test_C02_sync_neither_writes_nor_deletes_through_links(
    downstage: Commands, scenes: Path, url: str, data: Path
) -> None:
    """C02: what a link of the target leads to belongs to somebody else."""
    outside, target = data / "outside", data / "target"
    for folder in (outside, target):
        folder.mkdir()
    (outside / "precious").write_text("1")
    (target / "props").symlink_to(outside)
    (target / "other").symlink_to(outside)
    (target / "stale").write_text("2")
    downstage("files", "cp", "-rq", str(scenes), f"{url}/x")
    ran = downstage("files", "sync", "--delete", f"{url}/x", str(target))
    assert (ran.status, "in its way" in ran.err) == (1, True)
    assert below(outside) == {"precious": b"1"}
    assert (target / "stale").exists()  # nothing is deleted where something went wrong
    (target / "props").unlink()
    assert downstage("files", "sync", "--delete", f"{url}/x", str(target)).status == 0
    assert below(target) == below(scenes)
    assert below(outside) == {"precious": b"1"}


def test_links_of_the_source_are_not_gone_into(downstage: Commands, url: str, data: Path) -> None:
    (data / "s").mkdir()
    (data / "s" / "loop").symlink_to(data)
    (data / "s" / "f").write_text("1")
    ran = downstage("files", "cp", "-r", str(data / "s"), f"{url}/s")
    assert (ran.status, "left out: loop" in ran.err) == (0, True)
    assert "1 file, 1 B" in downstage("files", "tree", f"{url}/s").out


def test_rights_are_set_shown_and_explained(downstage: Commands, served: Served, url: str) -> None:
    downstage.means(served.authority, served.server.token("admin"))
    downstage("files", "mkdir", "-p", f"{url}/x")
    shown = downstage("files", "acl", url, "--set", "group:artists=rw", "--set", "user:carol=-r")
    assert "group:artists           read, write" in shown.out
    assert "user:carol              none; never read" in shown.out
    assert "(from above)" in downstage("files", "acl", f"{url}/x").out
    assert "set at" in downstage("files", "acl", f"{url}/x", "--explain", "user:carol").out
    left = downstage("files", "acl", url, "--remove", "user:carol", "--remove", "user:bob")
    assert ("carol" in left.out, "user:bob" in left.err) == (False, True)
    downstage.means(served.authority, served.server.token("alice"))
    refused = downstage("files", "acl", url, "--set", "everyone=r")
    assert (refused.status, refused.err.count("\n")) == (1, 1)


def test_a_lock_is_held_while_a_command_runs(
    downstage: Commands, served: Served, url: str, data: Path
) -> None:
    (data / "f").write_text("1")
    downstage("files", "cp", "-q", str(data / "f"), f"{url}/f")
    path = url.partition(served.authority)[2] + "/f"
    seen = data / "locks"
    script = f"touch {seen}; while ! test -e {data}/go; do sleep 0.05; done; exit 7"
    process = downstage.process("files", "lock", f"{url}/f", "--", "sh", "-c", script)
    _until(seen.exists)

    async def owners() -> list[str]:
        locks = await served.server.content.locks(await served.server.caller("bob"), path)
        return [lock.owner for lock in locks]

    assert len(served.do(owners())) == 1
    (data / "go").touch()
    assert process.wait(30) == 7
    process.communicate()
    assert served.do(owners()) == []
    assert "no lock" in downstage("files", "unlock", f"{url}/f").err


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("ls", "/no/such"), 1, "nothing there"),
        (("ls", "omniverse://127.0.0.1:1/"), 1, "cannot be reached"),
        (("ls", "a:b"), 1, "./a:b"),
        (("ls", "C:\\x"), 1, "Windows"),
        (("cp", "only-one"), 2, "where to"),
        (("cp", "/etc", "/tmp/x"), 1, "-r copies"),
        (("cp", "-r", "/etc", "/etc/x"), 1, "lies in"),
        (("cp", "/no/such", "/tmp/x"), 1, "nothing there"),
        (("cp", "/etc/hostname", "/etc/passwd", "/etc/hosts"), 1, "not a folder"),
        (("cat",), 2, "Name a file"),
        (("cat", "/etc"), 1, "folder"),
        (("rm",), 2, "what to delete"),
        (("rm", "-r", "/"), 1, "root"),
        (("tree", "/etc/passwd"), 1, "file"),
        (("sync", "/etc/passwd", "/tmp/x"), 1, "cp for files"),
        (("acl", "/etc"), 1, "access lists"),
        (("acl", "/etc", "--set", "bob=r"), 1, "user:NAME"),
        (("lock", "/etc/passwd"), 1, "locks"),
        (("lock", "/etc/passwd", "--", "no-such-program"), 2, "no-such-program"),
        (("checkpoints", "/etc/passwd"), 1, "checkpoints"),
        (("watch", "/no/such"), 1, "nothing there"),
        (("watch", "-r", "/etc"), 1, "content servers"),
        (("mkdir", "/no/such/folder"), 1, "-p makes"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    downstage: Commands, words: tuple[str, ...], status: int, said: str
) -> None:
    ran = downstage("files", *words)
    assert (ran.status, ran.err.strip().count("\n"), ran.out) == (status, 0, ""), ran
    assert said in ran.err


def test_watching_until_interrupted(downstage: Commands, url: str) -> None:
    downstage("files", "mkdir", "-p", url)
    process = downstage.process("files", "watch", "-r", url)
    assert process.stderr is not None
    assert process.stdout is not None
    assert b"Watching" in process.stderr.readline()
    downstage("files", "mkdir", f"{url}/seen")
    assert b"/seen" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert b"Traceback" not in process.communicate()[1]


def test_a_live_layer_is_watched(downstage: Commands, served: Served, url: str, data: Path) -> None:
    (data / "f.usda").write_text("#usda 1.0\n")
    downstage("files", "cp", "-q", str(data / "f.usda"), f"{url}/f.usda")
    path = url.partition(served.authority)[2] + "/f.usda"
    process = downstage.process("live", "watch", f"{url}/f.usda", "--json")
    assert process.stdout is not None

    async def edit() -> None:
        content = served.server.content
        caller = await served.server.caller("bob")
        async with content.live.open(caller, path, Join("anna-1")) as member:
            for _ in range(600):  # until the watcher is there too
                if len(member._room.members) > 1:
                    break
                await asyncio.sleep(0.05)
            ops = [Create("/World", "prim"), Set("/World", "active", msgspec.msgpack.encode(True))]
            member.submit(1, 1, encode(ops))
            await asyncio.sleep(0.3)

    served.do(edit())
    said = [json.loads(process.stdout.readline()) for _ in range(4)]
    assert [(row["what"], row["who"]) for row in said] == [
        ("joined", "bob"), ("made prim", "bob"), ("set", "bob"), ("left", "bob"),
    ]  # fmt: skip
    assert said[2]["detail"] == "active = True"
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130


def test_a_killed_upload_goes_on_where_it_stopped(
    downstage: Commands, served: Served, line: Line, url: str, data: Path
) -> None:
    file = data / "large.bin"
    file.write_bytes(random.Random(1).randbytes(LARGE))
    downstage.means(line.authority, served.server.token("alice"))
    target = url.replace(served.authority, line.authority) + "/large.bin"
    line.hold_after(LARGE // 2)
    content = served.server.host.settings.platform.data / "content"
    process = downstage.process("files", "cp", str(file), target)
    _kill_when_it_stands(process, line, lambda: _held(content, "uploads/*"))
    assert downstage("files", "stat", f"{url}/large.bin").status == 1  # not yet, and never half
    line.go_on()
    assert downstage("files", "cp", str(file), target).status == 0
    assert LARGE // 4 < line.up < LARGE * 3 // 4
    assert json.loads(downstage("files", "stat", "--json", target).out)["size"] == LARGE
    assert "there already" in downstage("files", "cp", str(file), target).err


def test_a_killed_download_goes_on_where_it_stopped(
    downstage: Commands, served: Served, line: Line, url: str, data: Path
) -> None:
    file, back = data / "large.bin", data / "back" / "large.bin"
    file.write_bytes(random.Random(2).randbytes(LARGE))
    assert downstage("files", "cp", "-q", str(file), f"{url}/large.bin").status == 0
    downstage.means(line.authority, served.server.token("alice"))
    source = url.replace(served.authority, line.authority) + "/large.bin"
    line.hold_after(LARGE // 2)
    process = downstage.process("files", "cp", source, str(back))
    _kill_when_it_stands(process, line, lambda: _held(back.parent, ".*"))
    assert not back.exists()
    assert downstage("files", "ls", str(back.parent)).out == ""
    line.go_on()
    assert downstage("files", "cp", source, str(back)).status == 0
    assert LARGE // 4 < line.down < LARGE * 3 // 4
    assert back.read_bytes() == file.read_bytes()
    assert [path.name for path in back.parent.iterdir()] == ["large.bin"]


def test_a_file_that_changed_is_fetched_anew(
    downstage: Commands, served: Served, line: Line, url: str, data: Path
) -> None:
    file, back = data / "large.bin", data / "back" / "large.bin"
    file.write_bytes(random.Random(3).randbytes(LARGE))
    downstage("files", "cp", "-q", str(file), f"{url}/large.bin")
    downstage.means(line.authority, served.server.token("alice"))
    source = url.replace(served.authority, line.authority) + "/large.bin"
    line.hold_after(LARGE // 2)
    process = downstage.process("files", "cp", source, str(back))
    _interrupt_when_it_stands(process, line)
    line.go_on()
    file.write_bytes(random.Random(4).randbytes(LARGE))
    downstage("files", "cp", "-q", "--overwrite", str(file), source)
    line.go_on()
    assert downstage("files", "cp", source, str(back)).status == 0
    assert back.read_bytes() == file.read_bytes()
    assert [path.name for path in back.parent.iterdir()] == ["large.bin"]


@pytest.mark.parametrize("scheme", ["omniverse", "http", "s3"])
def test_a_download_survives_a_line_that_breaks(
    downstage: Commands, served: Served, line: Line, data: Path, scheme: str
) -> None:
    url = f"omniverse://{served.authority}/{data.name}"
    file, back = data / "large.bin", data / "back.bin"
    file.write_bytes(random.Random(5).randbytes(LARGE))
    downstage("files", "cp", "-q", str(file), f"{url}/large.bin")
    downstage.means(line.authority, served.server.token("alice"))
    source = {
        "omniverse": f"omniverse://{line.authority}/{data.name}/large.bin",
        "http": f"http://{line.authority}/dav/{data.name}/large.bin",
        "s3": f"s3://{data.name}/large.bin",
    }[scheme]
    key, secret = served.do(files_key(served.server))
    endpoint = f"http://{line.authority}/s3"
    default_client().options.s3[data.name] = S3Options(
        "", "us-east-1", key, secret, endpoint, allow_http=True
    )
    line.hold_after(LARGE // 2)
    cutting = threading.Thread(target=lambda: line.stands.wait(30) and line.go_on())
    cutting.start()
    ran = downstage("files", "cp", source, str(back))
    cutting.join()
    assert ran.status == 0, ran.err
    assert line.down < LARGE * 3 // 4
    assert back.read_bytes() == file.read_bytes()


def _kill_when_it_stands(
    process: subprocess.Popen[bytes], line: Line, held: Callable[[], int]
) -> None:
    assert line.stands.wait(30), process.communicate()
    _until(lambda: held() > LARGE * 3 // 8)  # what was on its way has arrived
    process.kill()
    process.communicate()


def _held(folder: Path, pattern: str) -> int:
    """Bytes of the largest file there."""
    return max((path.stat().st_size for path in folder.glob(pattern)), default=0)


def _interrupt_when_it_stands(process: subprocess.Popen[bytes], line: Line) -> None:
    assert line.stands.wait(30), process.communicate()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    said = process.communicate()[1]
    assert b"goes on where this one stopped" in said
    assert b"Traceback" not in said


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
