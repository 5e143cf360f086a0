"""Killed at any point between two durable steps: the old or the new, and at most orphans."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from downstage.content.limits import Limits
from downstage.content.model import Access, Caller
from downstage.content.service import Content, open_content
from downstage.kernel.clock import SystemClock
from downstage.kernel.errors import NotFound

pytestmark = [pytest.mark.real, pytest.mark.anyio, pytest.mark.timeout(240)]

ADA = Caller("u-0", "Ada", may=Access.READ | Access.WRITE | Access.ADMIN)

POINTS = [
    "content.blob.written:1",
    "content.blob.synced:1",
    "content.blob.renamed:1",
    "content.blob.renamed:3",
    "content.blob.linked:1",
    "content.pack.appended:1",
    "content.pack.appended:2",
    "content.pack.synced:1",
    "content.pack.synced:2",
    "content.upload.synced:1",
    "content.upload.synced:2",
    "content.upload.part_settled:2",
    "content.upload.committed:1",
    "content.upload.forgotten:1",
    "content.gc.rows_deleted:1",
    "content.gc.sources_deleted:1",
    "content.gc.unlinked:1",
    "content.compact.copied:1",
    "content.compact.committed:1",
    "never:1",
]

# One process that imports once and is forked for each point.
PROGRAM = """
import asyncio, hashlib, os, random, sys
from pathlib import Path
from downstage.content.limits import Limits
from downstage.content.model import Access, Caller
from downstage.content.service import open_content
from downstage.kernel import chaos
from downstage.kernel.clock import SystemClock

ADA = Caller("u-0", "Ada", may=Access.READ | Access.WRITE | Access.ADMIN)

async def pieces(data):
    for at in range(0, len(data), 100_000):
        yield data[at:at + 100_000]

async def work(folder, say):
    noise = random.Random(1).randbytes
    content = await open_content(folder / "content", clock=SystemClock(),
                                 limits=Limits(chunk_threshold=200_000, blob_grace_s=-10))

    async def put(path, data, write=None):
        digest = hashlib.sha256(data).hexdigest()
        say("try", path, digest)
        await (write() if write else content.write(ADA, path, pieces(data)))
        say("ack", path, digest)

    await put("/small", noise(100))
    await put("/whole", noise(300_000))
    big = noise(2_000_000)
    await put("/big", big)
    await put("/big", big[:700_000] + b"!" + big[700_000:])
    await put("/big", noise(5_000_000))
    data = noise(300_000)
    upload = await content.uploads.create(ADA, "/range", size=len(data))
    await content.uploads.append(ADA, upload.id, 0, pieces(data[:120_000]))
    await content.uploads.append(ADA, upload.id, 120_000, pieces(data[120_000:]))

    async def finish():
        async with content.uploads.finished(ADA, upload.id) as staged:
            await content.write(ADA, upload.path, staged)

    await put("/range", data, finish)
    data = noise(200_000)
    upload = await content.uploads.create(ADA, "/parts", shape="parts")
    await content.uploads.put_part(ADA, upload.id, 2, pieces(data[150_000:]))
    await content.uploads.put_part(ADA, upload.id, 1, pieces(data[:150_000]))
    await put("/parts", data, finish)
    old = noise(3_000_000)
    await put("/d", old)
    await put("/d", old[:500_000] + b"?")
    say("try", "/e", hashlib.sha256(old[:500_000] + b"?").hexdigest())
    await content.copy(ADA, "/d", "/e")
    say("ack", "/e", hashlib.sha256(old[:500_000] + b"?").hexdigest())
    for path in ("/whole", "/d"):
        say("try", path, "")
        await content.obliterate(ADA, path)
        say("ack", path, "")
    await content.care.tidy()
    await content.care.tidy(compact=True)
    await content.close()

for point in sys.argv[2:]:
    folder = Path(sys.argv[1]) / point
    folder.mkdir()
    child = os.fork()
    if child == 0:
        name, _, count = point.partition(":")
        chaos._plan = {name: int(count)}
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
        say = lambda *words: os.write(log, (" ".join(words) + "\\n").encode())
        asyncio.run(work(folder, say))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    (folder / "status").write_text(str(os.waitstatus_to_exitcode(status)))
"""


@pytest.fixture(scope="module")
def crashed() -> Iterator[Path]:
    """A folder for each point, as the process left it that died there."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(folder), *POINTS]
    subprocess.run(command, check=True, timeout=120)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def history(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """What was acknowledged last for each path, and what was under way when it ended."""
    acknowledged, under_way = dict[str, str](), dict[str, str]()
    for line in (folder / "log").read_text().splitlines():
        word, path, digest = line.split(" ")
        if word == "try":
            under_way = {path: digest}
        else:
            acknowledged[path], under_way = digest, {}
    return acknowledged, under_way


async def digest_at(content: Content, path: str) -> str:
    import hashlib

    digest = hashlib.sha256()
    try:
        reading = await content.read(ADA, path)
    except NotFound:
        return ""
    async with reading:
        async for piece in reading.pieces():
            digest.update(piece)
    return digest.hexdigest()


def no_orphans(content: Content) -> None:
    """Every file has a row that reaches to its end, and every row its file."""
    layout = content.blobs.layout
    with content.database.read() as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        known = dict(db.execute("SELECT name, size FROM source").fetchall())
        uploads = {row[0] for row in db.execute("SELECT id FROM upload")}
    found = {
        str(path.relative_to(layout.folder)): path.stat().st_size
        for part in (layout.blobs, layout.packs)
        for path in part.rglob("*")
        if path.is_file()
    }
    assert found == known
    assert list(layout.tmp.iterdir()) == []
    assert {path.name.partition(".")[0] for path in layout.uploads.iterdir()} <= uploads


@pytest.mark.parametrize("point", POINTS)
async def test_S05_killed_between_two_steps_nothing_answered_is_lost(
    crashed: Path, point: str
) -> None:
    folder = crashed / point
    killed = not point.startswith("never")
    assert (folder / "status").read_text() == ("-9" if killed else "0"), "never came there"
    acknowledged, under_way = history(folder)
    limits = Limits(chunk_threshold=200_000, blob_grace_s=-10)
    content = await open_content(folder / "content", clock=SystemClock(), limits=limits)
    try:
        for path, digest in acknowledged.items():
            found = await digest_at(content, path)
            assert found == digest or found == under_way.get(path, digest), path
        for path, digest in under_way.items():
            assert await digest_at(content, path) in {digest, acknowledged.get(path, "")}
        assert await content.care.scrub() == []
        assert (await content.care.mark()).recounted == 0
        await content.care.tidy(compact=True)
        no_orphans(content)
        for path, digest in acknowledged.items():
            if path not in under_way:
                assert await digest_at(content, path) == digest, path
        for upload in await content.uploads.mine(ADA):
            await content.uploads.head(ADA, upload.id)
            await content.uploads.abort(ADA, upload.id)
        await content.write(ADA, "/after", b"!" * 100_000)
    finally:
        await content.close()
