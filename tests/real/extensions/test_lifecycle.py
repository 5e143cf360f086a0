"""Extensions start in order, fail alone, stop in reverse, and leave nothing behind."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from downstage.kernel.errors import Conflict, NotFound
from downstage.services import AsyncClient, host
from downstage.services.errors import ServiceNotFoundError
from downstage.services.host import ServiceHost
from downstage.testing.watchdog import RUNNER, Watchdog

if TYPE_CHECKING:
    from tests.real.extensions.conftest import Running, Write

pytestmark = [pytest.mark.real, pytest.mark.anyio]

happened: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    happened.clear()


def states(host: ServiceHost) -> dict[str, str]:
    return {unit.name: unit.state for unit in host.lifecycle.units.values()}


def telling(name: str, start: str = "pass", stop: str = "pass", kind: str = "def") -> str:
    """Code that writes down what happens to it, into a list that the test can read."""
    return f"""
    import builtins
    class Extension(IExt):
        {kind} on_startup(self, ext_id):
            self.router = ServiceAPIRouter()
            self.router.add_api_route("/{name}", self.tell)
            register_router(self.router)
            builtins.happened.append("{name} starts")
            {start}
        async def tell(self) -> str:
            return "{name}"
        {kind} on_shutdown(self):
            builtins.happened.append("{name} stops")
            {stop}
    """


@pytest.fixture(autouse=True)
def _shared(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    monkeypatch.setattr(builtins, "happened", happened, raising=False)


def needs(*names: str) -> str:
    return "[dependencies]\n" + "".join(f'"{name}" = {{}}\n' for name in names)


async def get(path: str) -> object:
    return await AsyncClient("local://")[path].get()


async def test_dependencies_start_first_and_stop_last(
    write: Write, running: Running, loop_watchdog: Watchdog
) -> None:
    loop_watchdog.own = RUNNER  # a host is made in it, before it serves anybody
    write("a", telling("a"), more=needs("b"))
    write("b", telling("b"), more=needs("c.d"))
    write("c.d", telling("c.d"))
    async with running() as host:
        assert happened == ["c.d starts", "b starts", "a starts"]
        assert states(host) == {"a": "running", "b": "running", "c.d": "running"}
        assert await get("a") == "a"
        happened.clear()
    assert happened == ["a stops", "b stops", "c.d stops"]
    assert not {"a", "b", "c", "c.d"} & sys.modules.keys()
    with pytest.raises(ServiceNotFoundError):
        await get("a")


async def test_missing_cyclic_and_wrong_versions_name_both_ends(
    write: Write, running: Running
) -> None:
    write("lonely", more=needs("nobody"))
    write("upon", more=needs("lonely"))
    write("one", more=needs("two"))
    write("two", more=needs("three"))
    write("three", more=needs("one"))
    write("old", version="1.2.0")
    write("strict", more='[dependencies]\n"old" = {version = ">=2"}\n')
    write("soft", more='[dependencies]\n"nobody" = {optional = true}\n"old" = "1.1"\n')
    async with running() as host:
        assert states(host) == {
            **dict.fromkeys(["lonely", "upon", "one", "two", "three", "strict"], "blocked"),
            **dict.fromkeys(["old", "soft"], "running"),
        }
        reason = {unit.name: unit.reason for unit in host.lifecycle.units.values()}
        assert reason["lonely"] == (
            "lonely-1.0.0 needs nobody, and there is no such extension here"
        )
        assert reason["upon"] == "upon-1.0.0 needs lonely, which cannot start"
        assert reason["strict"] == "strict-1.0.0 needs old >=2, but old-1.2.0 is what is here"
        ring = "one-1.0.0 → two-1.0.0 → three-1.0.0"
        assert reason["one"].startswith("each needs the next: ")
        assert any(part in reason["one"] * 2 for part in (ring, "two-1.0.0 → three-1.0.0 → one"))
        assert reason["one"] == reason["two"] == reason["three"]


BAD_STARTS = {
    "raises": "raise ValueError('no paper')",
    "exits": "raise SystemExit(3)",
    "interrupts": "raise KeyboardInterrupt",
    "cancels": "import asyncio; raise asyncio.CancelledError",
    "hangs": "await anyio.sleep_forever()",
}


@pytest.mark.parametrize("name", BAD_STARTS)
async def test_one_that_cannot_start_fails_alone(
    write: Write, running: Running, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "START_S", 0.3)
    write(name, telling(name, BAD_STARTS[name], kind="async def"))
    write("upon", more=needs(name))
    write("good", telling("good"))
    async with running() as ready:
        assert states(ready) == {name: "failed", "upon": "blocked", "good": "running"}
        bad = ready.lifecycle.units[name]
        assert bad.reason
        assert f"{name}-1.0.0" in ready.lifecycle.units["upon"].reason
        if name == "raises":
            assert bad.reason == "ValueError: no paper"
            assert 'raise ValueError("no paper")' in bad.traceback.replace("'", '"')
        assert f"{name} stops" in happened, "a start that was begun is always followed by a stop"
        assert await get("good") == "good"
        with pytest.raises(ServiceNotFoundError):
            await get(name)


BAD_STOPS = {
    "raises": "raise ValueError('no paper')",
    "exits": "raise SystemExit(3)",
    "hangs": "await anyio.sleep_forever()",
}


@pytest.mark.parametrize("name", BAD_STOPS)
async def test_one_that_cannot_stop_fails_alone(
    write: Write, running: Running, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "STOP_S", 0.2)
    write(name, telling(name, stop=BAD_STOPS[name], kind="async def"))
    write("good", telling("good"))
    async with running() as ready:
        disabled = await ready.lifecycle.disable(name)
        assert (disabled.state, states(ready)["good"]) == ("failed", "running")
        assert "at its end" in disabled.reason
        with pytest.raises(ServiceNotFoundError):
            await get(name)
        await ready.lifecycle.enable(name)
        assert await get(name) == name
    assert happened[-1] in ("good stops", f"{name} stops")


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("class Extension(IExt\n", "SyntaxError"),
        ("import not_there_at_all\n", "ModuleNotFoundError"),
        ("raise SystemExit(2)\n", "SystemExit"),
        ("x = 1\n", "derives from IExt"),
    ],
)
async def test_a_module_that_cannot_be_imported(
    write: Write, running: Running, code: str, why: str
) -> None:
    write("bad", code)
    write("good")
    async with running() as ready:
        assert states(ready) == {"bad": "failed", "good": "running"}
        assert why in ready.lifecycle.units["bad"].reason
        assert why in ready.lifecycle.units["bad"].traceback


async def test_a_manifest_that_cannot_be_read_is_listed(
    write: Write, running: Running, folder: Path
) -> None:
    write("good")
    (folder / "bad-1.0" / "config").mkdir(parents=True)
    (folder / "bad-1.0" / "config" / "extension.toml").write_text("[package]\nversion = 3\n")
    async with running() as ready:
        assert states(ready) == {"bad": "failed", "good": "running"}
        assert "extension.toml:2: package.version" in ready.lifecycle.units["bad"].reason


async def test_disable_takes_dependents_first_and_enable_brings_all_back(
    write: Write, running: Running
) -> None:
    write("a", telling("a"), more=needs("b"))
    write("b", telling("b"), more=needs("c"))
    write("c", telling("c"))
    async with running() as ready:
        happened.clear()
        await ready.lifecycle.disable("b-1.0.0")
        assert happened == ["a stops", "b stops"]
        assert states(ready) == {"a": "blocked", "b": "stopped", "c": "running"}
        assert "b-1.0.0, which is disabled" in ready.lifecycle.units["a"].reason
        await ready.lifecycle.disable("b")
        await ready.lifecycle.disable("c")
        happened.clear()
        await ready.lifecycle.enable("a")
        assert happened == ["c starts", "b starts", "a starts"]
        assert await get("a") == "a"
        with pytest.raises(NotFound):
            await ready.lifecycle.disable("nobody")


async def test_what_is_disabled_in_the_settings_waits(write: Write, running: Running) -> None:
    write("a", telling("a"))
    async with running(extensions__disabled=["a"]) as ready:
        assert states(ready) == {"a": "stopped"}
        await ready.lifecycle.enable("a")
        assert await get("a") == "a"


async def test_a_service_of_the_platform_is_not_disabled(write: Write, data: Path) -> None:
    from downstage.kernel.settings import load
    from downstage.services.context import PlatformUrls

    write("identity", telling("identity"))
    settings = load(
        environment={},
        overrides={"platform.data": data / "d", "extensions.folders": [data / "exts"]},
    )
    urls = PlatformUrls("http://127.0.0.1:0", "unix:///nowhere")
    with anyio.fail_after(20):
        async with ServiceHost(settings, urls, services=("identity",), extensions=True).run() as up:
            assert happened == [], "a folder cannot take the name of one of ours"
            with pytest.raises(Conflict, match="identity"):
                await up.lifecycle.disable("identity")
            assert up.running() == [("identity", "running")]


async def test_one_that_dies_of_its_own_task_is_cleared_away(
    write: Write, running: Running
) -> None:
    write(
        "mortal",
        """
        class Extension(IExt):
            async def on_startup(self):
                router = ServiceAPIRouter()
                router.add_api_route("/mortal", self.tell)
                router.add_api_route("/die", self.die)
                register_router(router)
                self.fate = anyio.Event()
                self.tasks = anyio.create_task_group()
                await self.tasks.__aenter__()
                self.tasks.start_soon(self.live)
            async def live(self):
                await self.fate.wait()
                raise RuntimeError("worn out")
            async def tell(self) -> str:
                return "here"
            async def die(self) -> None:
                self.fate.set()
            async def on_shutdown(self):
                self.tasks.cancel_scope.cancel()
                await self.tasks.__aexit__(None, None, None)
        """,
    )
    write("upon", more=needs("mortal"))
    async with running() as ready:
        assert await get("mortal") == "here"
        await get("die")
        while states(ready)["mortal"] != "failed":
            await anyio.sleep(0.01)
        assert states(ready)["upon"] == "blocked"
        assert "worn out" in ready.lifecycle.units["mortal"].traceback
        with pytest.raises(ServiceNotFoundError):
            await get("mortal")
        await ready.lifecycle.enable("mortal")
        assert states(ready) == {"mortal": "running", "upon": "running"}


async def test_a_task_group_may_stay_open_between_start_and_stop(
    write: Write, running: Running
) -> None:
    write(
        "keeper",
        """
        class Extension(IExt):
            async def on_startup(self):
                self.tasks = anyio.create_task_group()
                await self.tasks.__aenter__()
                self.tasks.start_soon(anyio.sleep_forever)
            async def on_shutdown(self):
                self.tasks.cancel_scope.cancel()
                await self.tasks.__aexit__(None, None, None)
        """,
    )
    async with running() as ready:
        assert states(ready) == {"keeper": "running"}
        assert (await ready.lifecycle.disable("keeper")).state == "stopped"


async def test_a_cancelled_host_still_stops_in_order(write: Write, running: Running) -> None:
    """What runs below is there until what needs it has stopped."""
    write(
        "below",
        """
        import builtins
        class Extension(IExt):
            async def on_startup(self):
                self.tasks = anyio.create_task_group()
                await self.tasks.__aenter__()
                self.tasks.start_soon(self.live)
            async def live(self):
                try:
                    await anyio.sleep_forever()
                finally:
                    builtins.happened.append("below ends")
            async def on_shutdown(self):
                self.tasks.cancel_scope.cancel()
                await self.tasks.__aexit__(None, None, None)
        """,
    )
    stop = "await anyio.sleep(0.05); builtins.happened.append('above ends')"
    write("above", telling("above", stop=stop, kind="async def"), more=needs("below"))
    with anyio.CancelScope() as scope:
        async with running() as ready:
            assert states(ready) == {"below": "running", "above": "running"}
            scope.cancel()
            await anyio.sleep_forever()
    assert happened[-2:] == ["above ends", "below ends"]


async def test_requests_in_flight_end_before_the_extension_does(
    write: Write, running: Running
) -> None:
    write(
        "slow",
        """
        import builtins
        class Extension(IExt):
            def on_startup(self):
                router = ServiceAPIRouter()
                self.inside, self.go = anyio.Event(), anyio.Event()
                router.add_api_route("/slow", self.work)
                register_router(router)
                builtins.slow = self
            async def work(self) -> str:
                self.inside.set()
                await self.go.wait()
                builtins.happened.append("answered")
                return "done"
            def on_shutdown(self):
                builtins.happened.append("stops")
        """,
    )
    import builtins

    answers: list[object] = []
    async with running() as ready:
        slow = builtins.slow  # type: ignore[attr-defined]

        async def ask() -> None:
            answers.append(await get("slow"))

        async def let_go() -> None:
            while states(ready)["slow"] != "stopping":
                await anyio.sleep(0)
            with pytest.raises(ServiceNotFoundError):
                await get("slow")
            slow.go.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await slow.inside.wait()
            tasks.start_soon(ready.lifecycle.disable, "slow")
            tasks.start_soon(let_go)
    assert answers == ["done"]
    assert happened == ["answered", "stops"]


async def test_the_highest_version_is_used(write: Write, running: Running) -> None:
    write("twin", telling("old"), version="1.9.0", at="twin-1.9.0")
    write("twin", telling("new"), version="1.10.0", at="twin-1.10.0")
    async with running() as ready:
        assert [info.id for info in ready.extensions()] == ["twin-1.10.0"]
        assert happened == ["new starts"]


async def test_two_that_bring_one_module_are_both_named(write: Write, running: Running) -> None:
    write("a", more='[[python.module]]\nname = "shared_thing"\n')
    (write("a", more='[[python.module]]\nname = "shared_thing"\n') / "shared_thing.py").touch()
    (write("b", more='[[python.module]]\nname = "shared_thing"\n') / "shared_thing.py").touch()
    async with running() as ready:
        assert states(ready) == {"a": "running", "b": "failed"}
        reason = ready.lifecycle.units["b"].reason
        assert "b-1.0.0" in reason
        assert "a-1.0.0" in reason


async def test_an_extension_has_no_rights_of_the_host(write: Write, running: Running) -> None:
    write(
        "curious",
        """
        import builtins
        class Extension(IExt):
            def on_startup(self):
                builtins.happened.append((self.context.boot_secret, self.context.client("x")))
                builtins.happened.append(self.context.data)
        """,
    )
    async with running() as ready:
        secret, _ = happened[0]  # type: ignore[misc]
        assert secret == ""
        assert str(happened[1]).endswith("extensions/curious")
        assert "curious" in states(ready)


async def test_one_that_takes_anothers_name_does_not_run_in_its_place(
    write: Write, running: Running
) -> None:
    """The other would run on without anybody who knows of it, and the platform never end."""
    home, _ = write("aa"), write("bb")
    async with running() as host:
        (home / "config" / "extension.toml").write_text(
            '[package]\nname = "bb"\nversion = "1.0.0"\n[[python.module]]\nname = "aa"\n'
        )
        unit = await host.lifecycle.reload("aa")
        assert (unit.name, unit.state) == ("aa", "failed")
        assert "is named bb now, and so is" in unit.reason
        told = unit.info()
        assert (told.started_at, told.start_ms, told.traceback) == (None, None, "")
        assert host.lifecycle.units["bb"].state == "running"
        assert list(host.lifecycle.units) == ["aa", "bb"]
        write("aa")
        assert (await host.lifecycle.reload("aa")).state == "running"
        assert list(host.lifecycle.units) == ["aa", "bb"]


async def test_what_needs_one_that_fails_when_all_have_started_stops_too(
    write: Write, running: Running
) -> None:
    write(
        "base",
        """
        class Extension(IExt):
            def on_startup(self):
                self.context.on_ready(self.late)

            async def late(self):
                raise ValueError("late")
        """,
    )
    write("upon", more="[dependencies]\nbase = {}\n")
    async with running() as host:
        units = host.lifecycle.units
        assert {name: unit.state for name, unit in units.items()} == {
            "base": "failed",
            "upon": "blocked",
        }
        assert units["upon"].reason == "upon-1.0.0 needs base-1.0.0, which failed"
