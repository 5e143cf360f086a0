"""``downstage files`` against a server that lists names which lead elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiohttp import WSMsgType, web

from downstage.contracts.content import SOCKET_PROTOCOL, Call, Row, Welcome

if TYPE_CHECKING:
    from tests.real.cli.conftest import Commands, Served

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]

FOLDER_FLAGS, FILE_FLAGS = 4, 1 | 2 | 8
OWNED = b"owned"
HOSTILE = (
    "/evil/../../escaped",
    "/evil/..",
    "/evil/a/../../../escaped",
    "/evil/./here",
    "/evil//slash",
    "/evil/nul\0",
    "/evil/",
    "/elsewhere/file",
    "/evilbutnot/file",
    "../escaped",
    "/etc/escaped",
)


def row(path: str, kind: str = "file") -> Row:
    flags = FOLDER_FLAGS if kind == "folder" else FILE_FLAGS
    size = len(OWNED) if kind == "file" else 0
    return Row(1, path, kind, size, "", "e", 1, 1, "x", 1, "x", 7, flags, 1)


class Hostile:
    """Answers the client's calls as it likes, and remembers what it was asked to delete."""

    def __init__(self) -> None:
        self.listed: list[Row] = []
        self.changed: list[tuple[str, str]] = []
        self.authority = ""

    async def answer(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=(SOCKET_PROTOCOL,))
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                calls = msgspec.msgpack.decode(message.data, type=list[Call])
                answers = [(call.id, 200, self.result(call)) for call in calls]
                await socket.send_bytes(msgspec.msgpack.encode(answers))
        return socket

    def result(self, call: Call) -> Any:
        args = msgspec.msgpack.decode(call.args)
        match call.op:
            case "hello":
                return Welcome(1, "c", "r", 1, "x", "x", 7)
            case "stat":
                return row(args[0], "folder" if args[0] == "/evil" else "file")
            case "list":
                return (self.listed, "", 1)
            case "usage":
                return (5, 1)
            case "read":
                return (row(args[0]), OWNED)
            case _:
                self.changed.append((call.op, args[0]))
                return row(args[0])


@pytest.fixture
def hostile(served: Served, downstage: Commands) -> Iterator[Hostile]:
    server = Hostile()

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/v1/files-socket", server.answer)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.authority = f"127.0.0.1:{runner.addresses[0][1]}"
        return runner

    runner = served.do(start())
    downstage.means(server.authority, "token")
    yield server
    served.do(runner.cleanup())


@pytest.mark.parametrize("command", [("sync", "--delete"), ("cp", "-r")])
def test_C01_listed_names_stay_below_the_target(
    downstage: Commands, hostile: Hostile, data: Path, command: tuple[str, ...]
) -> None:
    hostile.listed = [row("/evil/good"), *map(row, HOSTILE), row("/evil/x", "folder")]
    target = data / "in" / "here" / "target"
    target.mkdir(parents=True)
    (target / "mine").write_text("1")
    before = set(data.rglob("*"))
    ran = downstage("files", *command, f"omniverse://{hostile.authority}/evil", str(target))
    assert ran.status == 1
    assert "Traceback" not in ran.err
    made = {path.relative_to(target) for path in data.rglob("*") if path not in before}
    assert made == {Path("good"), Path("x")}
    assert (target / "mine").exists()  # what could not be read may be what it is
    assert not Path("/etc/escaped").exists()


def test_C01_a_hostile_target_is_asked_for_nothing_outside(
    downstage: Commands, hostile: Hostile, data: Path
) -> None:
    hostile.listed = [row("/evil/stale"), *map(row, HOSTILE)]
    (data / "source").mkdir()
    (data / "source" / "new").write_text("1")
    there = f"omniverse://{hostile.authority}/evil"
    ran = downstage("files", "sync", "--delete", str(data / "source"), there)
    assert ran.status == 0, ran.err
    assert hostile.changed == [("write", "/evil/new"), ("delete", "/evil/stale")]


def test_names_cannot_steer_the_terminal(downstage: Commands, hostile: Hostile) -> None:
    hostile.listed = [row("/evil/a\x1b[2J[bold]b\n"), row("/evil/[red")]
    for words in (("ls",), ("tree",), ("du",)):
        ran = downstage("files", *words, f"omniverse://{hostile.authority}/evil")
        assert ran.status == 0, ran.err
        assert "a\\x1b[2J[bold]b\\x0a" in ran.out
        assert "[red" in ran.out
        assert "\x1b" not in ran.out
