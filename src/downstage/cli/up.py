"""``downstage up`` and ``downstage run``: start the platform, say where it is, end it in time."""

from __future__ import annotations

import json
import shlex
import shutil
import tempfile
import tomllib
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import anyio
from rich.console import Console
from rich.status import Status
from rich.text import Text

from downstage.cli.access import leave_operator_token
from downstage.cli.demo import furnish
from downstage.cli.platform import RunningPlatform, run_platform, stop_signal
from downstage.contracts.gateway import SESSION_CHANGED
from downstage.contracts.manager import Display
from downstage.identity.extension import Extension as IdentityExtension
from downstage.kernel.errors import SetupError
from downstage.kernel.settings import Settings
from downstage.services import AsyncClient

__all__ = [
    "Plan",
    "Ready",
    "demo_application",
    "prepare",
    "program_application",
    "up",
    "watch_signals",
]

READY_S = 60.0
END_S = 3.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do once the platform is up."""

    application: str | None = None
    """Start a session of this application and print its link."""
    stage: str | None = None
    display: Display | None = None
    as_json: bool = False
    """One JSON line on standard output instead of words."""


@dataclass(frozen=True, slots=True)
class Ready:
    """All that is told when everything is ready."""

    url: str
    join_url: str | None
    token: str | None
    user: str | None
    password: str | None
    setup_url: str | None = None


async def up(settings: Settings, plan: Plan) -> None:
    """Run the platform until Ctrl-C or SIGTERM; returns when all is gone.

    Raises:
        SetupError: it could not start; nothing is left behind.
    """
    console = Console(stderr=True)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch_signals, scope, console)
            with console.status("Starting the platform …", spinner="dots") as status:
                await _serve(settings, plan, console, status)


async def _serve(settings: Settings, plan: Plan, console: Console, status: Status) -> None:
    async with run_platform(settings) as platform:
        ready = await prepare(platform, settings)
        if plan.application == "usd-viewer" and plan.stage is None and ready.token:
            plan = replace(plan, stage=await furnish(platform, ready.token))
        if plan.application is None:
            _tell(ready, plan, console, settings)
        else:
            await _show(platform, plan, ready, console, status)
        status.stop()
        await anyio.sleep_forever()


async def watch_signals(scope: anyio.CancelScope, console: Console) -> None:
    """Cancel *scope* at Ctrl-C or SIGTERM."""
    await stop_signal()
    console.print("Ending …", style="dim")
    scope.cancel()


async def prepare(platform: RunningPlatform, settings: Settings) -> Ready:
    """Leave the operator's token, and find what a person needs to sign in."""
    identity = platform.host.extension("identity")
    assert isinstance(identity, IdentityExtension)  # noqa: S101 - by its name
    operator = await leave_operator_token(platform, settings)
    url = platform.urls.public
    if settings.platform.demo:
        user, password = await identity.demo_credentials()
        signed = await identity.service.token_for(user)
        return Ready(url, None, signed.token, user, password)
    code = await identity.setup_code()
    return Ready(url, None, operator, None, None, f"{url}/#setup={code}" if code else None)


async def _show(
    platform: RunningPlatform, plan: Plan, ready: Ready, console: Console, status: Status
) -> None:
    """Create the session and tell its link.

    A person gets it at once: the page shows how far the start has come. A program gets it when
    the first picture is there.
    """
    client = AsyncClient("local://gateway", token=ready.token, timeout_s=30)
    settings = platform.host.settings
    async with platform.host.bus.subscribe(SESSION_CHANGED) as changes:
        created = await client.v1.sessions.post(**_wish(plan))
        ready = replace(ready, join_url=created["join_url"])
        if not plan.as_json:
            _tell(ready, plan, console, settings)
        session = created
        with anyio.move_on_after(READY_S):
            while session["state"] in ("queued", "starting"):
                progress = session.get("progress") or "placed"
                status.update(f"Starting {session['application']}: {progress} …")
                await anext(changes)
                session = await client.v1.sessions[created["id"]].get()
    if session["state"] not in ("ready", "active", "disconnected"):
        raise SetupError(
            f"The application {plan.application} did not start: "
            f"{session.get('detail') or session.get('reason') or session['state']}"
        )
    if plan.as_json:
        _tell(ready, plan, console, settings)


def _wish(plan: Plan) -> dict[str, object]:
    """The body of the request for a session."""
    # Somebody looks at this terminal: a machine that is full is told, and not waited for.
    body: dict[str, object] = {"application": plan.application, "wait": False}
    if plan.stage:
        body["stage"] = plan.stage
    if plan.display:
        body["display"] = plan.display.model_dump()
    return body


def _tell(ready: Ready, plan: Plan, console: Console, settings: Settings) -> None:
    if plan.as_json:
        _print_json(ready)
    else:
        _print_words(console, ready, settings, plan)


def _print_json(ready: Ready) -> None:
    keys = ("url", "join_url", "token", "user", "password")
    print(json.dumps({key: getattr(ready, key) for key in keys}), flush=True)


def _print_words(console: Console, ready: Ready, settings: Settings, plan: Plan) -> None:
    text = Text()
    if ready.join_url:
        text.append("Open in a browser (once, within 15 minutes):\n")
        text.append(f"  {ready.join_url}\n\n", style="bold cyan")
    if ready.setup_url:
        text.append("First start: make the first administrator here (once, within a day):\n")
        text.append(f"  {ready.setup_url}\n\n", style="bold cyan")
    text.append("Later, or from the start page:  ")
    text.append(f"{ready.url}\n", style="cyan")
    if plan.stage:
        text.append("The stage, among other files:   ")
        text.append(f"{ready.url}/files\n", style="cyan")
        text.append(f"  {plan.stage}\n", style="dim")
    if ready.user:
        text.append(f"  sign in as {ready.user} with password {ready.password}\n", style="dim")
    if settings.platform.tls == "auto":
        root = settings.platform.data.absolute() / "tls/caddy/pki/authorities/local/root.crt"
        text.append(f"Browsers trust it once they import {root}\n", style="dim")
    if settings.platform.demo and not _has_usd():
        text.append("\nThis is the test card. For USD stages: pip install 'downstage[demo]'\n")
    text.append("\nCtrl-C ends everything.", style="dim")
    # soft_wrap: a link broken over two lines cannot be copied.
    console.print(text, soft_wrap=True)


def _has_usd() -> bool:
    return find_spec("pxr") is not None and find_spec("vtkmodules") is not None


def demo_application() -> str:
    """The application that ``--demo`` shows: USD where its libraries are, else the test card."""
    return "usd-viewer" if _has_usd() else "test-card"


def program_application(command: list[str], *, display: str, network: bool) -> tuple[Path, str]:
    """Declare *command* as an application in a folder of its own; returns folder and name.

    Raises:
        SetupError: no such program.
    """
    program = shutil.which(command[0])
    if program is None:
        raise SetupError(f"There is no program {command[0]} here. Is it installed and on PATH?")
    name = "program"
    folder = Path(tempfile.mkdtemp(prefix="downstage-run-"))
    (folder / name).mkdir()
    lines = [
        f"name = {json.dumps(name)}",
        f"title = {json.dumps(Path(program).name)}",
        f"description = {json.dumps(shlex.join(command)[:200])}",
        f"command = {json.dumps([program, *command[1:]])}",
        f"display = {json.dumps(display)}",
        "opens_stage = false",
        f"network = {json.dumps(network)}",
        f"read_only = {json.dumps(_needed(program))}",
    ]
    text = "\n".join(lines) + "\n"
    tomllib.loads(text)
    (folder / name / "application.toml").write_text(text, encoding="utf-8")
    return folder, name


def _needed(program: str) -> list[str]:
    """Folders that the program must be able to read: its own, and the one it was called in."""
    folders = {str(Path(program).resolve().parent), str(Path.cwd())}
    return sorted(folders - {"/", "/usr/bin", "/bin"})
