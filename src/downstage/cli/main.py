"""``downstage``: the commands, their options, and errors as one line with what to do."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

from cyclopts import App, Parameter

import downstage
from downstage.cli.options import Common, Serving, serving_settings
from downstage.cli.running import quiet as _quiet
from downstage.cli.running import run as _run
from downstage.kernel.errors import PlatformError
from downstage.services.errors import BaseServiceError

if TYPE_CHECKING:
    from downstage.kernel.settings import Settings

__all__ = ["main"]

app = App(
    name="downstage",
    help="Put any application on stage in a browser, from your own machine.",
    version=downstage.__version__,
)
user = App(name="user", help="People who may sign in.")
session = App(name="session", help="Applications on stage.")
app.command(user)
app.command(session)
# By their names alone: what a command needs loads when it is run.
app.command(
    "downstage.cli.ext:ext", name="ext", help="Extensions: routes and services of your own."
)
app.command(
    "downstage.cli.content.app:files",
    name="files",
    help="Files anywhere: list, copy, sync, lock, watch, keep and bring back.",
)
app.command(
    "downstage.cli.streams.app:streams",
    name="streams",
    help="Live data: list, push, pull, plot, record and replay streams.",
)
app.command(
    "downstage.cli.content.app:live",
    name="live",
    help="Live layers: files that several people edit together.",
)
app.command(
    "downstage.cli.fleet.app:app",
    name="app",
    help="Applications: publish versions of them, list and remove them.",
)
app.command(
    "downstage.cli.fleet.app:node", name="node", help="Nodes: what runs where, and making room."
)
app.command(
    "downstage.cli.fleet.app:instance",
    name="instance",
    help="Instances: what runs, what it wrote, programs inside.",
)
app.command(
    "downstage.cli.network.app:turn",
    name="turn",
    help="A TURN server, for people whom no straight path reaches.",
)

BAD_SETUP = 2
REFUSED = 1
INTERRUPTED = 130


def main() -> None:
    """Run the command line; exit 0 done, 1 refused, 2 wrong use or set-up, 130 interrupted."""
    try:
        app(_with_slashes(sys.argv[1:]))
    except PlatformError as error:
        _fail(error.detail, BAD_SETUP if error.code == "setup" else REFUSED)
    except BaseServiceError as error:
        _fail(error.detail, REFUSED)
    except ExceptionGroup as group:
        _fail_group(group)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Whoever read the output has enough (``| head``); Python flushes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(REFUSED)


def _with_slashes(words: list[str]) -> list[str]:
    """``--/exts/name/key=value``, the form of another framework, as ``--set /exts/…``."""
    end = words.index("--") if "--" in words else len(words)
    turned = list[str]()
    for word in words[:end]:
        turned += ["--set", word[2:]] if word.startswith("--/") else [word]
    return turned + words[end:]


def _fail(text: str, code: int) -> None:
    from rich.console import Console
    from rich.text import Text

    # No markup: a name in the text may look like some.
    line = Text("downstage: ", "bold red").append(text, "default")
    Console(stderr=True, soft_wrap=True).print(line, highlight=False)
    sys.exit(code)


def _fail_group(group: BaseExceptionGroup[BaseException]) -> None:
    """Task groups wrap what failed inside them: tell the first error that is ours."""
    for error in _leaves(group):
        if isinstance(error, PlatformError | BaseServiceError):
            _fail(error.detail, BAD_SETUP if getattr(error, "code", "") == "setup" else REFUSED)
    raise group


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found = list[BaseException]()
    for error in group.exceptions:
        is_group = isinstance(error, BaseExceptionGroup)
        inner = cast("BaseExceptionGroup[BaseException]", error)
        found += _leaves(inner) if is_group else [error]
    return found


def _start_logging(settings: Settings, *, to_file: bool) -> None:
    """While serving, the log goes to a file that `downstage logs` shows; else to the terminal."""
    from downstage.kernel import logging
    from downstage.kernel.settings import Log

    if not to_file:
        logging.configure(settings.log)
        return
    folder = settings.platform.data.absolute() / "log"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    stream = (folder / "platform.log").open("a", encoding="utf-8", buffering=1)
    logging.configure(Log(level=settings.log.level, json_lines=True), stream=stream)


@app.command
def up(
    *,
    demo: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    verbose: Annotated[bool, Parameter(negative="")] = False,
    serving: Serving | None = None,
) -> None:
    """Start the platform on this machine; Ctrl-C ends it and everything it started.

    Parameters
    ----------
    demo
        A demo user and a USD stage that already runs; loopback only.
    as_json
        One line on standard output when all is ready: url, join_url, token, user, password.
    verbose
        Show the log here instead of writing it to the data folder.
    """
    from downstage.cli.up import Plan, demo_application
    from downstage.cli.up import up as run_up

    more: dict[str, object] = (
        {"platform__demo": True, "gateway__connect_lease": 900} if demo else {}
    )
    settings = serving_settings(serving, **more)
    _start_logging(settings, to_file=not verbose)
    application = demo_application() if demo else None
    _run(run_up(settings, Plan(application=application, as_json=as_json)))


@app.command
def run(
    *command: Annotated[str, Parameter(allow_leading_hyphen=True)],
    display: Literal["x11", "wayland"] = "x11",
    size: str = "1280x720",
    network: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    verbose: Annotated[bool, Parameter(negative="")] = False,
    serving: Serving | None = None,
) -> None:
    """Stream any program: downstage run -- xterm -fs 14.

    Parameters
    ----------
    command
        The program and its arguments, after --.
    display
        What the program draws on.
    size
        Picture at the start, WIDTHxHEIGHT; it follows the viewer's window.
    network
        Let the program reach the network.
    as_json
        One line on standard output when all is ready.
    verbose
        Show the log here.
    """
    from downstage.cli.up import Plan, program_application
    from downstage.cli.up import up as run_up
    from downstage.contracts.manager import Display
    from downstage.kernel.errors import SetupError

    if not command:
        raise SetupError("Name a program after --, for example: downstage run -- xterm")
    width, _, height = size.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise SetupError(f"--size is WIDTHxHEIGHT, for example 1280x720, not {size}.")
    folder, name = program_application(list(command), display=display, network=network)
    try:
        settings = serving_settings(
            serving,
            platform__demo=True,
            gateway__connect_lease=900,
            manager__applications=[folder, *(serving.app_folder if serving else ())],
        )
        _start_logging(settings, to_file=not verbose)
        shape = Display(width=int(width), height=int(height))
        _run(run_up(settings, Plan(application=name, display=shape, as_json=as_json)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@app.command
def serve(
    service: Literal["identity", "content", "streams", "gateway", "agent", "manager", "extensions"],
    *,
    workers: int | None = None,
    serving: Serving | None = None,
) -> None:
    """Run one service, or your extensions, alone; the others are named by [services].

    Parameters
    ----------
    workers
        Processes that serve sockets of streams [default: 1].
    """
    from downstage.cli.access import leave_operator_token
    from downstage.cli.platform import run_platform, stop_signal

    settings = serving_settings(serving, streams__workers=workers)
    _start_logging(settings, to_file=False)

    async def work() -> None:
        services = () if service == "extensions" else (service,)
        async with run_platform(settings, services=services) as platform:
            await leave_operator_token(platform, settings)
            print(f"{service} answers on {platform.urls.public}", flush=True)
            await stop_signal()

    _run(work())


@app.command
def services(
    *,
    full: Annotated[bool, Parameter(negative="")] = False,
    workers: int | None = None,
    prometheus_port: int = 9090,
    grafana_port: int = 3000,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    verbose: Annotated[bool, Parameter(negative="")] = False,
    serving: Serving | None = None,
) -> None:
    """Start the data server on this machine: its API on 7890, HLS on 8089, RTMP on 1935.

    Parameters
    ----------
    full
        Behind https (own certificate authority), with Prometheus and Grafana where they are
        installed.
    workers
        Processes that serve sockets that push and pull [default: 1]; one for each core but one.
    prometheus_port, grafana_port
        Their ports on loopback; 0 takes a free one.
    as_json
        One line on standard output when all is ready: its addresses, user, password, token.
    verbose
        Show the log here instead of writing it to the data folder.
    """
    from downstage.cli.services import API_PORT, HLS_PORT, RTMP_PORT, Beside
    from downstage.cli.services import services as run_services

    more: dict[str, object] = {"platform__tls": "auto"} if full and not _has_tls(serving) else {}
    settings = serving_settings(
        serving,
        platform__demo=True,
        streams__data_port=API_PORT,
        streams__hls_port=HLS_PORT,
        streams__rtmp_port=RTMP_PORT,
        streams__workers=workers,
        **more,
    )
    _start_logging(settings, to_file=not verbose)
    beside = Beside(prometheus_port, grafana_port) if full else None
    _run(run_services(settings, beside=beside, as_json=as_json))


def _has_tls(serving: Serving | None) -> bool:
    return serving is not None and serving.tls is not None


@app.command
def status(*, common: Common | None = None) -> None:
    """What runs on this data folder: address, services, sessions."""
    from downstage.cli.sessions import show_status

    _run(show_status(_quiet(common)))


@app.command
def logs(
    *,
    follow: Annotated[bool, Parameter(negative="")] = False,
    lines: int = 50,
    common: Common | None = None,
) -> None:
    """The platform's log, newest last.

    Parameters
    ----------
    follow
        Go on as it grows.
    lines
        How many of the last lines.
    """
    from downstage.cli.files import show_log

    _run(show_log(_quiet(common), lines=lines, follow=follow))


@app.command
def backup(file: Path, *, common: Common | None = None) -> None:
    """Write databases and keys to FILE (.tar.gz, readable by you alone); the platform may run."""
    from downstage.cli.files import make_backup

    make_backup(_quiet(common), file)


@app.command
def restore(
    file: Path,
    *,
    force: Annotated[bool, Parameter(negative="")] = False,
    common: Common | None = None,
) -> None:
    """Bring a backup into an empty data folder; --force replaces what is there (kept aside)."""
    from downstage.cli.files import restore_backup

    restore_backup(_quiet(common), file, force=force)


@app.command
def doctor(*, network: bool = False, serving: Serving | None = None) -> None:
    """Check this machine: display, GL, encoders, ports, UDP, fonts, disk; each with its fix.

    Parameters
    ----------
    network
        Try the paths between browsers and instances instead: why a picture stays black.
    """
    from downstage.cli.doctor import examine

    healthy = _run(examine(serving_settings(serving), network=network))
    sys.exit(0 if healthy else REFUSED)


@app.command
def conformance(
    url: str,
    *,
    application: str = "test-card",
    group: tuple[str, ...] = (),
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    insecure: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Examine any gateway from outside: what clients of each API may rely on.

    Parameters
    ----------
    url
        Its public address. DOWNSTAGE_TOKEN (or DOWNSTAGE_TOKEN_FILE) says who asks.
    application
        One that draws something; the suite starts about ten sessions, one after the other.
    group
        Only this part: v1, streaming, kit, anbox; may be repeated.
    as_json
        One object a line.
    insecure
        Take any certificate.
    """
    from downstage.cli.conformance.suite import examine
    from downstage.cli.fleet.desk import token_of_caller

    good = _run(
        examine(
            url,
            token_of_caller(),
            application=application,
            groups=group,
            as_json=as_json,
            insecure=insecure,
        )
    )
    sys.exit(0 if good else REFUSED)


@app.command
def token(
    *,
    name: str = "command line",
    scope: tuple[str, ...] = (),
    stream: tuple[str, ...] = (),
    days: int = 30,
    common: Common | None = None,
) -> None:
    """Print a new API token of the operator, for scripts.

    Parameters
    ----------
    name
        What it is for; shown in lists.
    scope
        What it may do; nothing named: all that the operator may.
    stream
        Streams that it may touch, and how: 'camera-*:read', 'robot:read,write'. The rights are
        read, write, record and admin. Without --scope it may then do nothing else.
    days
        How long it counts.
    """
    from downstage.cli.people import print_token

    _run(print_token(_quiet(common), name=name, scopes=scope, streams=stream, days=days))


@app.command
def stubs(
    address: str | None = None,
    /,
    *,
    name: str = "Client",
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    token_file: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    token_env: str | None = None,
    common: Common | None = None,
) -> None:
    """Write a typed client of a described service: downstage stubs URL -o client.pyi.

    Parameters
    ----------
    address
        URL of a service or of its openapi.json, or such a file; nothing: the running platform.
    name
        The classes are called NAME and AsyncNAME.
    output
        File to write, with the module it describes beside it; nothing: standard output.
    token_file
        File with the token to send; - reads one line of standard input.
    token_env
        Variable with the token to send.
    """
    from downstage.cli.stubs import Wanted, make_stubs

    wanted = Wanted(address, name, output, token_file, token_env)
    _run(make_stubs(_quiet(common), wanted))


@user.command(name="add")
def user_add(
    name: str,
    *,
    admin: Annotated[bool, Parameter(negative="")] = False,
    common: Common | None = None,
) -> None:
    """Add a person; asks for the password (or reads one line of standard input)."""
    from downstage.cli.people import add_user

    _run(add_user(_quiet(common), name, is_admin=admin))


@user.command(name="ls")
def user_ls(*, common: Common | None = None) -> None:
    """List people."""
    from downstage.cli.people import list_users

    _run(list_users(_quiet(common)))


@user.command(name="passwd")
def user_passwd(name: str, *, common: Common | None = None) -> None:
    """Set a person's password; what they were signed in with ends."""
    from downstage.cli.people import set_password

    _run(set_password(_quiet(common), name))


@user.command(name="rm")
def user_rm(name: str, *, common: Common | None = None) -> None:
    """Remove a person and all their tokens."""
    from downstage.cli.people import remove_user

    _run(remove_user(_quiet(common), name))


@session.command(name="ls")
def session_ls(*, common: Common | None = None) -> None:
    """List sessions, newest first."""
    from downstage.cli.sessions import list_sessions

    _run(list_sessions(_quiet(common)))


@session.command(name="create")
def session_create(
    application: str,
    *,
    stage: str | None = None,
    size: str = "1280x720",
    common: Common | None = None,
) -> None:
    """Start an application and print the link that opens it."""
    from downstage.cli.sessions import create_session

    _run(create_session(_quiet(common), application, stage=stage, size=size))


@session.command(name="queue")
def session_queue(session_id: str | None = None, *, common: Common | None = None) -> None:
    """List who waits for a free place, who is next first.

    Parameters
    ----------
    session_id
        Show this session alone, wherever it stands.
    """
    from downstage.cli.sessions import show_place, show_queue

    asked = _quiet(common)
    _run(show_queue(asked) if session_id is None else show_place(asked, session_id))


@session.command(name="open")
def session_open(session_id: str, *, common: Common | None = None) -> None:
    """Print a new link for a session that runs."""
    from downstage.cli.sessions import open_session

    _run(open_session(_quiet(common), session_id))


@session.command(name="rm")
def session_rm(session_id: str, *, common: Common | None = None) -> None:
    """End a session."""
    from downstage.cli.sessions import remove_session

    _run(remove_session(_quiet(common), session_id))
