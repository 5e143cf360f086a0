"""``downstage services``: the data server on this machine, as its own document brings it up."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import anyio
import anyio.abc
from rich.console import Console
from rich.text import Text

from downstage.cli.monitoring import GRAFANA_PORT, PROMETHEUS_PORT, Monitoring
from downstage.cli.platform import RunningPlatform, run_platform
from downstage.cli.up import Ready, prepare, watch_signals
from downstage.kernel.settings import Settings
from downstage.streams.video.nginx import find_nginx

__all__ = ["API_PORT", "HLS_PORT", "RTMP_PORT", "Beside", "Shown", "services"]

API_PORT, HLS_PORT, RTMP_PORT = 7890, 8089, 1935
"""Where programs of the data server look for it."""

NO_PROMETHEUS = "not installed here: apt-get install prometheus"
NO_GRAFANA = "not installed here: see grafana.com/docs, then run this again"

TRY = """\
TOKEN=$(curl -s {api}/token -d username=test -d password=test | cut -d'"' -f4)
curl -s -H "Authorization: Bearer $TOKEN" -F entries=@README.md {api}/data/notes
curl -s -H "Authorization: Bearer $TOKEN" {api}/data/notes"""


@dataclass(frozen=True, slots=True)
class Shown:
    """Addresses of what runs."""

    page: str
    api: str | None
    hls: str | None
    rtmp: str | None
    publishers: str
    """How many may publish at once."""
    more: tuple[tuple[str, str, str], ...] = ()
    """Name, address and a note of what runs beside, or why it does not."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What runs beside the platform, with ``--full``."""

    prometheus_port: int = PROMETHEUS_PORT
    grafana_port: int = GRAFANA_PORT


async def services(
    settings: Settings, *, beside: Beside | None = None, as_json: bool = False
) -> None:
    """Run it until Ctrl-C or SIGTERM; returns when all is gone.

    Raises:
        SetupError: it could not start; nothing is left behind.
    """
    console = Console(stderr=True)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch_signals, scope, console)
            with console.status("Starting the data server …", spinner="dots") as status:
                async with run_platform(settings) as platform, anyio.create_task_group() as more:
                    ready = await prepare(platform, settings)
                    shown = _shown(platform, settings)
                    if beside is not None:
                        shown = replace(shown, more=await _start(beside, platform, settings, more))
                    status.stop()
                    if as_json:
                        _print_json(shown, ready)
                    else:
                        _print_words(console, shown, ready, settings)
                    await anyio.sleep_forever()


async def _start(
    beside: Beside, platform: RunningPlatform, settings: Settings, tasks: anyio.abc.TaskGroup
) -> tuple[tuple[str, str, str], ...]:
    """Start Prometheus and Grafana; name, address and a note of each."""
    monitoring = Monitoring(
        settings.platform.data.absolute(),
        platform.operator_url,
        prometheus_port=beside.prometheus_port,
        grafana_port=beside.grafana_port,
    )
    started = await monitoring.start(tasks)
    return (
        ("Prometheus", started.prometheus or "", "" if started.prometheus else NO_PROMETHEUS),
        ("Grafana", started.grafana or "", "" if started.grafana else NO_GRAFANA),
        (
            "Administration",
            f"{platform.urls.public}/admin",
            "for administrators: downstage user add NAME --admin",
        ),
    )


def _shown(platform: RunningPlatform, settings: Settings) -> Shown:
    ports = {item.kind: item.url for item in platform.data_ports}
    streams = settings.streams
    rtmp = None
    if streams.rtmp_port is not None:
        name = "localhost" if settings.platform.host == "127.0.0.1" else settings.platform.host
        rtmp = f"rtmp://{name}:{streams.rtmp_port}/live"
    found = None if streams.rtmp_server == "pyav" else find_nginx()
    several = found is not None and found.module is not None
    return Shown(
        page=f"{platform.urls.public}/watch",
        api=ports.get("api"),
        hls=ports.get("hls"),
        rtmp=rtmp,
        publishers="several at once" if several else "one at a time: nginx has no RTMP module here",
    )


def _print_json(shown: Shown, ready: Ready) -> None:
    facts = {
        "url": ready.url,
        "api": shown.api,
        "hls": shown.hls,
        "rtmp": shown.rtmp,
        "user": ready.user,
        "password": ready.password,
        "token": ready.token,
        **{name.lower(): address or None for name, address, _ in shown.more},
    }
    print(json.dumps(facts), flush=True)


def _print_words(console: Console, shown: Shown, ready: Ready, settings: Settings) -> None:
    rows = [
        ("Watch, record, replay", shown.page, ""),
        ("API", shown.api, "described at /docs"),
        ("HLS", shown.hls and f"{shown.hls}/hls/NAME/index.m3u8", ""),
        ("RTMP", shown.rtmp and f"{shown.rtmp}/NAME?key=KEY", shown.publishers),
        *shown.more,
    ]
    shown_rows = [row for row in rows if row[1] or row[2]]
    width = max(len(name) for name, _, _ in shown_rows)
    text = Text("The data server runs on this machine.\n\n", "bold")
    for name, address, note in shown_rows:
        text.append(f"  {name:{width}}  ", "default")
        text.append(f"{address}", "cyan").append(f"  {note}\n", "dim")
    text.append_text(_ending(shown, ready, settings))
    # soft_wrap: what is broken over two lines cannot be copied.
    console.print(text, soft_wrap=True, highlight=False)


def _ending(shown: Shown, ready: Ready, settings: Settings) -> Text:
    text = Text("\n")
    if ready.user:
        text.append(f"Sign in as {ready.user} with password {ready.password}; programs may use any")
        text.append(
            " name with itself as password\n(test:test). That holds on this machine alone.\n"
        )
    if ready.setup_url:
        text.append("First start: make the first administrator here (once, within a day):\n")
        text.append(f"  {ready.setup_url}\n", style="bold cyan")
    if ready.user and shown.api:
        text.append("\nTry it:\n")
        text.append(TRY.format(api=shown.api) + "\n", style="green")
    if settings.platform.tls == "auto":
        root = settings.platform.data.absolute() / "tls/caddy/pki/authorities/local/root.crt"
        text.append(f"\nBrowsers trust it once they import {root}\n", style="dim")
    text.append("\nCtrl-C ends everything.", style="dim")
    return text
