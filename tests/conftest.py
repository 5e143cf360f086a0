"""Rules for every test: a declared tier, nothing left behind, nothing sent off this machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from downstage.kernel.logging import redact
from downstage.testing.leaks import Snapshot, leaks_since
from downstage.testing.networks import is_made_here
from downstage.testing.postgres import PostgresServer
from downstage.testing.watchdog import Watchdog, watch_loop

TIERS = ("unit", "real", "contract", "browser", "chaos")
CLEAN_TIERS = frozenset({"real", "contract", "chaos"})
"""Tiers whose tests prove that everything they started has gone."""

HERE = Path(__file__).parent
LOCAL_NAMES = frozenset({"localhost", "", None})


# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


def pytest_configure(config: pytest.Config) -> None:
    """Make the environment the same for everybody."""
    if not config.pluginmanager.hasplugin("random_order"):
        raise pytest.UsageError("pytest-random-order is missing: tests must run in random order")
    for name in [name for name in os.environ if name.startswith("DOWNSTAGE_")]:
        del os.environ[name]
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        os.environ.pop(name, None)
        os.environ.pop(name.upper(), None)
    sys.addaudithook(_refuse_network)
    _keep_bytecode()
    _hear_interrupts()
    _log_plainly()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every module declares its tier, and lies in that tier's folder."""
    wrong: dict[Path, str] = {}
    for item in items:
        module = item.getparent(pytest.Module)
        if module is None or module.path in wrong:
            continue
        declared = [mark.name for mark in module.own_markers if mark.name in TIERS]
        folder = module.path.relative_to(HERE).parts[0]
        if len(declared) != 1:
            wrong[module.path] = f"declares {declared or 'no tier'}; name one of {TIERS}"
        elif declared[0] != folder:
            wrong[module.path] = f"declares {declared[0]} but lies in tests/{folder}"
    if wrong:
        lines = [f"{path.relative_to(HERE)}: {why}" for path, why in sorted(wrong.items())]
        raise pytest.UsageError("\n".join(lines))


def _keep_bytecode() -> None:
    """As on a person's machine: hundreds of processes here would compile the same modules anew."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def _hear_interrupts() -> None:
    """A shell starts what runs in the background deaf to Ctrl-C, and its children with it."""
    is_deaf = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if is_deaf and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _log_plainly() -> None:
    """Log what the product logs, without the seconds that colourful tracebacks take."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            redact,
            structlog.dev.ConsoleRenderer(
                colors=False, exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    )


def _refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    """Tests reach this machine only: TCP connections and names that lead elsewhere fail."""
    if event == "socket.connect":
        sock, address = arguments
        if sock.type == socket.SOCK_STREAM and sock.family in (socket.AF_INET, socket.AF_INET6):
            _refuse_host(address[0])
    elif event == "socket.getaddrinfo":
        _refuse_host(arguments[0])


def _refuse_host(host: Any) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if name in LOCAL_NAMES or str(name).endswith((".localhost", ".invalid")):
        return
    try:
        address = ip_address(str(name).partition("%")[0])
    except ValueError:
        raise RuntimeError(f"a test asks for the address of {name!r}") from None
    is_here = address.is_loopback or address.is_unspecified or _is_own(str(address))
    if not (is_here or is_made_here(str(address))):
        raise RuntimeError(f"a test connects to {name}")


def _is_own(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """asyncio alone: what the product runs on."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test of a clean tier fails if threads, descriptors or processes of it remain."""
    module = request.node.getparent(pytest.Module)
    marks = {mark.name for mark in module.own_markers} if module else set()
    if not marks & CLEAN_TIERS:
        yield
        return
    before = Snapshot.take()
    yield
    leaks = leaks_since(before)
    if leaks:
        pytest.fail("left behind: " + "; ".join(leaks), pytrace=False)


@pytest.fixture
def data() -> Iterator[Path]:
    """An empty private folder with a short path: unix sockets allow 107 characters."""
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL server, started by the first test that asks for it."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str | None:
    """Address of this test's own PostgreSQL database; None: SQLite.

    Run on both: ``@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)``.
    """
    if getattr(request, "param", "sqlite") == "sqlite":
        return None
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture
async def loop_watchdog(anyio_backend: str) -> AsyncIterator[Watchdog]:
    """Fails the test if one callback held its event loop for more than 20 ms."""
    assert anyio_backend == "asyncio"
    # FastAPI loads this at the first application of a process, before that serves anybody: which
    # test comes first in its process would decide what is measured.
    import_module("pydantic.v1")
    with watch_loop() as watchdog:
        yield watchdog
    if watchdog.holds:
        pytest.fail(f"the event loop was held:\n{watchdog.report()}", pytrace=False)
