"""What an extension is given: settings, facilities, a token of its own or none, a folder."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from downstage.kernel.errors import SetupError
from downstage.kernel.settings import load
from downstage.services import AsyncClient, get_app, host
from downstage.services.context import PlatformUrls
from downstage.services.errors import BaseServiceError
from downstage.services.host import ServiceHost

if TYPE_CHECKING:
    from tests.real.extensions.conftest import Running, Write

pytestmark = [pytest.mark.real, pytest.mark.anyio]


async def get(path: str) -> object:
    return await AsyncClient("local://")[path].get()


def states(host: ServiceHost) -> dict[str, str]:
    return {unit.name: unit.state for unit in host.lifecycle.units.values()}


MODELLED = """
from pydantic import BaseModel, Field
class Options(BaseModel):
    word: str = "hello"
    times: int = Field(default=1, ge=1)
class Extension(IExt):
    settings: Options
    def on_startup(self):
        router = ServiceAPIRouter()
        router.add_api_route("/said", self.said)
        register_router(router)
    async def said(self) -> str:
        return " ".join([self.settings.word] * self.settings.times)
"""


async def test_settings_as_a_model(write: Write, running: Running) -> None:
    write("sayer", MODELLED)
    given = ("/exts/sayer/times=2", "/exts/sayer/wrod=x")
    async with running(assignments=given) as ready:
        assert await get("said") == "hello hello"
        assert ready.extensions()[0].settings_unknown == ["wrod"]


@pytest.mark.parametrize("value", ["0", "many"])
async def test_a_setting_that_will_not_do_fails_the_extension(
    write: Write, running: Running, value: str
) -> None:
    write("sayer", MODELLED)
    write("typed", more="[settings]\nexts.typed.port = 1\n")
    async with running(assignments=(f"/exts/sayer/times={value}", "/exts/typed/port=x")) as ready:
        assert states(ready) == {"sayer": "failed", "typed": "failed"}
        reasons = {info.name: info.reason for info in ready.extensions()}
        assert 'exts."sayer": times' in reasons["sayer"]
        assert 'exts."typed".port must be a whole number (the command line)' in reasons["typed"]


async def test_what_is_set_at_run_time_is_seen_at_once(write: Write, running: Running) -> None:
    write(
        "reader",
        """
        class Extension(IExt):
            def on_startup(self):
                router = ServiceAPIRouter()
                router.add_api_route("/port", self.port)
                register_router(router)
            async def port(self) -> int:
                return self.settings["http.port"]
        """,
        more='[settings]\nexts."reader".http.port = 1\n',
    )
    async with running() as ready:
        assert await get("port") == 1
        ready.exts.set("/exts/reader/http/port", 2)
        assert await get("port") == 2


CALLER = """
class Extension(IExt):
    def on_startup(self):
        router = ServiceAPIRouter()
        router.add_api_route("/asked", self.ask)
        register_router(router)
    async def ask(self) -> dict:
        return await self.context.client("teller").who.get()
"""
TELLER = """
from starlette.requests import Request
class Extension(IExt):
    def on_startup(self):
        router = ServiceAPIRouter()
        router.add_api_route("/who", self.who)
        self.context.internal(router)
    async def who(self, request: Request) -> dict:
        return {"authorization": request.headers.get("authorization")}
"""


async def test_an_extension_calls_as_nobody_or_by_the_token_it_was_given(
    write: Write, running: Running, data: Path
) -> None:
    write("caller", CALLER)
    write("teller", TELLER)
    async with running():
        assert await get("asked") == {"authorization": None}
        with pytest.raises(BaseServiceError, match="404"):
            await get("who")
    tokens = data / "tokens.toml"
    tokens.write_text('caller = "its-own"\n')
    async with running(extensions__tokens=tokens):
        assert await get("asked") == {"authorization": "Bearer its-own"}


@pytest.mark.parametrize("text", ["caller = 3", "caller", ""])
async def test_a_file_of_tokens_that_will_not_do(data: Path, running: Running, text: str) -> None:
    tokens = data / "tokens.toml"
    if text:
        tokens.write_text(text)
    with pytest.raises(SetupError, match="tokens"):
        async with running(extensions__tokens=tokens):
            pytest.fail("not reached")


async def test_a_module_that_hangs_while_it_is_imported(
    write: Write, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    import builtins

    go = threading.Event()
    monkeypatch.setattr(builtins, "go", go, raising=False)
    monkeypatch.setattr(host, "START_S", 0.2)
    write("hangs", "import builtins\nbuiltins.go.wait(20)\n")
    write("good")
    try:
        async with running() as ready:
            assert states(ready) == {"hangs": "failed", "good": "running"}
            assert "did not start within" in ready.lifecycle.units["hangs"].reason
            assert await get("good") == "good"
    finally:
        go.set()
    for thread in threading.enumerate():
        if thread.name == "extension-import":
            thread.join(20)


LEAVES = """
import anyio, sys
from pathlib import Path
from downstage.kernel.settings import load
from downstage.services import host
from downstage.services.context import PlatformUrls

host.START_S = 0.2

async def main() -> None:
    settings = load(environment={}, overrides={
        "platform.data": sys.argv[1], "extensions.folders": [sys.argv[2]],
        "extensions.installed": False})
    urls = PlatformUrls("http://127.0.0.1:0", "unix:///nowhere")
    async with host.ServiceHost(settings, urls, services=(), extensions=True).run() as ready:
        print(ready.extensions()[0].state)

anyio.run(main)
"""


def test_a_module_that_hangs_does_not_keep_the_process(write: Write, data: Path) -> None:
    home = write("hangs", "import threading\nthreading.Event().wait(60)\n")
    done = subprocess.run(
        [sys.executable, "-c", LEAVES, str(data / "d"), str(home)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "failed"), done.stderr


async def test_sys_exit_in_a_handler_or_a_task_takes_nobody_down(
    write: Write, running: Running
) -> None:
    write(
        "leaver",
        """
        import sys
        class Extension(IExt):
            def on_startup(self):
                self.left = anyio.Event()
                router = ServiceAPIRouter()
                router.add_api_route("/leave", self.leave)
                router.add_api_route("/left", self.has_left)
                register_router(router)
                self.context.start(self.work, name="work")
            async def work(self):
                self.left.set()
                sys.exit(3)
            async def leave(self) -> str:
                sys.exit(4)
            async def has_left(self) -> str:
                await self.left.wait()
                return "left"
        """,
    )
    async with running() as ready:
        assert await get("left") == "left"
        with pytest.raises(BaseServiceError):
            await get("leave")
        assert await get("left") == "left"
        assert states(ready) == {"leaver": "running"}


async def test_the_main_application_is_the_host_s(running: Running) -> None:
    before = get_app()
    async with running() as ready:
        assert get_app() is ready.public_app
    assert get_app() is before


async def test_two_hosts_in_one_process(data: Path) -> None:
    """The one that stops first takes nothing of the other's with it."""

    def make(name: str) -> ServiceHost:
        settings = load(environment={}, overrides={"platform.data": data / name})
        urls = PlatformUrls("http://127.0.0.1:0", "unix:///nowhere")
        return ServiceHost(settings, urls, services=("identity",))

    one, two = make("one"), make("two")
    with anyio.fail_after(20):
        async with one.run():
            async with two.run():
                pass
            client = AsyncClient("local://", app=one.app("identity"))
            assert (await client.v1[".well-known"]["jwks.json"].get())["keys"]
