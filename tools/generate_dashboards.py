"""Write Grafana's dashboards below ``ops/grafana/dashboards``.

Run without arguments to write them; a test holds the files to what this would write, and every
query to the metrics that a running platform shows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["DASHBOARDS", "Panel", "dashboard", "write"]

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "ops" / "grafana" / "dashboards"
SOURCE = {"type": "prometheus", "uid": "downstage-prometheus"}
WIDE, TALL = 8, 7
SMALL_WIDE, SMALL_TALL = 4, 4
ROW = 24


@dataclass(frozen=True)
class Panel:
    """One picture: a number, or lines over time."""

    title: str
    queries: tuple[tuple[str, str], ...]
    """Expression and legend."""
    unit: str = "short"
    is_number: bool = False
    what: str = ""
    """What it tells, for who looks at it the first time."""


def number(title: str, query: str, unit: str = "short", what: str = "") -> Panel:
    return Panel(title, ((query, ""),), unit, is_number=True, what=what)


def lines(title: str, *queries: tuple[str, str], unit: str = "short", what: str = "") -> Panel:
    return Panel(title, queries, unit, what=what)


STREAMS = (
    number("Engine", "downstage_streams_up", "bool_on_off", "On: pushes and pulls are served."),
    number("Streams in use", "downstage_streams_open"),
    number("Producers", "downstage_streams_producers"),
    number("Readers", "downstage_streams_subscriptions"),
    number("Publishers (RTMP)", "downstage_rtmp_publishers"),
    number("Recordings that run", "downstage_streams_recordings"),
    lines(
        "Entries",
        ("rate(downstage_streams_entries_in_total[1m])", "pushed"),
        ("rate(downstage_streams_entries_out_total[1m])", "delivered"),
        unit="ops",
    ),
    lines(
        "Bytes",
        ("rate(downstage_streams_bytes_in_total[1m])", "pushed"),
        ("rate(downstage_streams_bytes_out_total[1m])", "delivered"),
        unit="Bps",
    ),
    lines(
        "Memory of the engine",
        ("downstage_streams_engine_memory_bytes", "used"),
        ("downstage_streams_engine_memory_limit_bytes > 0", "limit"),
        unit="bytes",
        what="At the limit pushes are answered 507; reads go on.",
    ),
    lines(
        "Fastest streams",
        ("topk(10, downstage_stream_entries_per_second)", "{{tenant}} {{stream}}"),
        unit="ops",
    ),
    lines(
        "Largest streams",
        ("topk(10, downstage_stream_bytes_per_second)", "{{tenant}} {{stream}}"),
        unit="Bps",
    ),
    lines("Readers of each", ("topk(10, downstage_stream_subscribers)", "{{tenant}} {{stream}}")),
    lines(
        "Entries that wait for readers",
        ("topk(10, downstage_stream_lag_entries)", "{{tenant}} {{stream}}"),
        what="Stored, and not given yet to readers that are behind.",
    ),
    lines(
        "Readers that are too slow",
        ("rate(downstage_streams_slow_total[5m])", "left live mode"),
        ("rate(downstage_streams_skipped_total[5m])", "entries skipped (latest)"),
        ("rate(downstage_streams_lagged_total[5m])", "cut off"),
        unit="ops",
        what="Slow readers are served from their own place; cut off when that is gone.",
    ),
    lines(
        "Refused and lost",
        ("rate(downstage_streams_refused_total[5m])", "refused"),
        ("rate(downstage_streams_unknown_total[5m])", "unknown outcome, not acknowledged"),
        ("rate(downstage_streams_gaps_total[5m])", "gaps told"),
        unit="ops",
    ),
    lines(
        "On the way to the engine",
        ("downstage_streams_in_flight_bytes", "bytes not answered yet"),
        unit="bytes",
        what="Above streams.in_flight producers are not read until it falls.",
    ),
)
SESSIONS = (
    number("Sessions that run", "downstage_instances"),
    number("Places", "downstage_capacity"),
    number("Viewers", "downstage_viewers"),
    number("Sockets", 'downstage_sockets_open{service="gateway"}'),
    number("Memory", "process_resident_memory_bytes", "bytes"),
    number("Processor", "rate(process_cpu_seconds_total[1m])", "percentunit"),
    lines("Places taken", ("downstage_instances", "taken"), ("downstage_capacity", "there are")),
    lines("Viewers over time", ("downstage_viewers", "viewers")),
    lines(
        "Handshakes refused",
        ("sum(rate(downstage_handshakes_refused_total[5m]))", "refused"),
        unit="ops",
    ),
    lines(
        "Requests",
        ("sum by (service) (rate(downstage_requests_total[1m]))", "{{service}}"),
        unit="reqps",
    ),
    lines(
        "Errors of ours",
        ('sum by (service) (rate(downstage_requests_total{status="5xx"}[5m]))', "{{service}}"),
        unit="reqps",
    ),
    lines(
        "95 of 100 requests are faster than",
        (
            "histogram_quantile(0.95, sum by (service, le)"
            " (rate(downstage_request_duration_seconds_bucket[5m])))",
            "{{service}}",
        ),
        unit="s",
    ),
)
CONTENT = (
    number("Sockets of files", "downstage_files_sockets"),
    number("Requests under way", 'downstage_requests_in_flight{service="content"}'),
    number("Open files and sockets", "process_open_fds"),
    number(
        "Damaged contents", "downstage_files_damaged", what="See docs/operate: a backup has them."
    ),
    number(
        "Read and compared, a second",
        "rate(downstage_files_scrubbed_bytes_total[5m])",
        "Bps",
        "Every stored byte is read again and again, and compared with its hash.",
    ),
    lines(
        "Requests to files",
        (
            'sum by (method) (rate(downstage_requests_total{service="content"}[1m]))',
            "{{method}}",
        ),
        unit="reqps",
    ),
    lines(
        "By route",
        (
            'topk(10, sum by (route) (rate(downstage_requests_total{service="content"}[1m])))',
            "{{route}}",
        ),
        unit="reqps",
    ),
    lines(
        "Answers",
        (
            'sum by (status) (rate(downstage_requests_total{service="content"}[1m]))',
            "{{status}}",
        ),
        unit="reqps",
    ),
    lines(
        "Half, and 95 of 100, are faster than",
        (
            "histogram_quantile(0.5, sum by (le)"
            ' (rate(downstage_request_duration_seconds_bucket{service="content"}[5m])))',
            "half",
        ),
        (
            "histogram_quantile(0.95, sum by (le)"
            ' (rate(downstage_request_duration_seconds_bucket{service="content"}[5m])))',
            "95 of 100",
        ),
        unit="s",
    ),
    lines(
        "Refused at the doors",
        ("sum by (door, cause) (rate(downstage_files_refused_total[5m]))", "{{door}}: {{cause}}"),
        unit="ops",
    ),
)
DASHBOARDS = {"streams": STREAMS, "sessions": SESSIONS, "content": CONTENT}


def dashboard(name: str, panels: tuple[Panel, ...]) -> dict[str, Any]:
    """One dashboard in Grafana's form; numbers first, then lines, three in a row."""
    placed = list[dict[str, Any]]()
    x = y = 0
    for place, panel in enumerate(panels):
        wide, tall = (SMALL_WIDE, SMALL_TALL) if panel.is_number else (WIDE, TALL)
        before = panels[place - 1] if place else panel
        if x + wide > ROW or before.is_number != panel.is_number:
            x, y = 0, y + (SMALL_TALL if before.is_number else TALL)
        grid = {"x": x, "y": y, "w": wide, "h": tall}
        placed.append(_panel(place + 1, panel, grid))
        x += wide
    return {
        "uid": f"downstage-{name}",
        "title": f"Downstage: {name}",
        "tags": ["downstage"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "5s",
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "browser",
        "panels": placed,
    }


def _panel(number_: int, panel: Panel, grid: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if not panel.is_number:
        defaults["custom"] = {"fillOpacity": 10, "lineWidth": 2, "showPoints": "never"}
    return {
        "id": number_,
        "type": "stat" if panel.is_number else "timeseries",
        "title": panel.title,
        "description": panel.what,
        "datasource": SOURCE,
        "gridPos": grid,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": SOURCE,
                "expr": expr,
                "legendFormat": legend,
            }
            for at, (expr, legend) in enumerate(panel.queries)
        ],
    }


def text_of(name: str) -> str:
    """The file of a dashboard."""
    return json.dumps(dashboard(name, DASHBOARDS[name]), indent=2, ensure_ascii=False) + "\n"


def write() -> None:
    """Write all of them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(text_of(name), encoding="utf-8")


if __name__ == "__main__":
    write()
