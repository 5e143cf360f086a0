"""``downstage services --full``: https, the data server's ports, Prometheus with our dashboards."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[3]
OPS = ROOT / "ops"
DASHBOARDS = sorted(path.stem for path in (OPS / "grafana" / "dashboards").glob("*.json"))
METRIC = re.compile(r"\b(?:downstage|process)_[a-z_0-9]+")
NO_PORTS = ("--set", "streams.data_port=0", "--set", "streams.hls_port=0")
SCRAPE_S = 30.0


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformProcess]:
    data = tmp_path_factory.mktemp("full") / "data"
    free = ("--prometheus-port", "0", "--set", "streams.rtmp_port=0", "--set", "media.audio=false")
    with PlatformProcess(data, "--full", *free, *NO_PORTS, command="services") as platform:
        yield platform


def fetch(url: str, **fields: str) -> Any:
    body = urllib.parse.urlencode(fields).encode() if fields else None
    with urllib.request.urlopen(url, body, timeout=15) as answer:
        text = answer.read().decode()
    return json.loads(text) if "json" in answer.headers["content-type"] else text


@pytest.fixture(scope="module")
def metrics(full: PlatformProcess) -> str:
    facts = json.loads((full.data / "run" / "platform.json").read_text())
    token = fetch(f"{full.facts['api']}/token", username="test", password="test")["access_token"]
    head = {"authorization": f"Bearer {token}"}
    address = f"{full.facts['api']}/streams"
    urllib.request.urlopen(urllib.request.Request(address, headers=head), timeout=15).close()
    text: str = fetch(f"{facts['operator_url']}/metrics")
    return text


def queries(name: str) -> list[str]:
    panels = json.loads((OPS / "grafana" / "dashboards" / f"{name}.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def ask(full: PlatformProcess, query: str) -> dict[str, Any]:
    quoted = urllib.parse.quote(query)
    try:
        answer: dict[str, Any] = fetch(f"{full.facts['prometheus']}/api/v1/query?query={quoted}")
    except urllib.error.HTTPError as error:
        with error:
            answer = json.loads(error.read())
    return answer


def test_everything_answers_where_it_says(full: PlatformProcess) -> None:
    assert full.url.startswith("https://")
    assert full.call("GET", "/healthcheck").body == {"ok": True}
    assert fetch(f"{full.facts['api']}/ping") is True
    assert "/hls/NAME/index.m3u8" in fetch(f"{full.facts['hls']}/")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetch(f"{full.facts['hls']}/v1/streams")


@pytest.fixture(scope="module")
def scraped(full: PlatformProcess) -> PlatformProcess:
    """The platform, once Prometheus has looked at it."""
    end = time.monotonic() + SCRAPE_S
    while time.monotonic() < end:
        found = ask(full, "downstage_streams_up")["data"]["result"]
        if found and found[0]["value"][1] == "1":
            return full
        time.sleep(0.2)
    pytest.fail(
        f"Prometheus did not see the platform within {SCRAPE_S:g} s: {full.output()[-800:]}"
    )


@pytest.mark.parametrize("name", DASHBOARDS)
def test_prometheus_answers_every_query_of_a_dashboard(scraped: PlatformProcess, name: str) -> None:
    for query in queries(name):
        answer = ask(scraped, query)
        assert answer["status"] == "success", (query, answer)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_dashboards_name_metrics_that_are_there(metrics: str, name: str) -> None:
    there = set(re.findall(r"^# TYPE (\S+)", metrics, re.MULTILINE))
    named = {
        found.removesuffix("_bucket") for query in queries(name) for found in METRIC.findall(query)
    }
    assert named
    assert named <= there


def test_alert_rules_name_metrics_that_are_there(metrics: str) -> None:
    text = (OPS / "prometheus" / "alerts.yml").read_text()
    rules = re.findall(r"expr: (?:>-\n)?((?:.*\n)(?:\s{10}.*\n)*)", text)
    named = {found for rule in rules for found in METRIC.findall(rule)}
    assert len(named) >= 6
    assert named <= set(re.findall(r"^# TYPE (\S+)", metrics, re.MULTILINE))


def test_metrics_are_as_prometheus_wants_them(metrics: str) -> None:
    lint = ["promtool", "check", "metrics"]
    outcome = subprocess.run(
        lint, input=metrics, text=True, capture_output=True, timeout=30, check=False
    )
    ours = [line for line in outcome.stderr.splitlines() if not line.startswith("process_")]
    assert ours == []


def test_the_alerts_fire_when_they_should() -> None:
    command = ["promtool", "test", "rules", "alerts_test.yml"]
    folder = OPS / "prometheus"
    outcome = subprocess.run(
        command, cwd=folder, text=True, capture_output=True, timeout=60, check=False
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_a_port_that_is_taken_is_said_with_what_to_do(full: PlatformProcess, data: Path) -> None:
    port = full.facts["api"].rsplit(":", 1)[1]
    command = [".venv/bin/downstage", "services", "--data", str(data), "--port", "0"]
    command += ["--operator-port", "0", "--set", f"streams.data_port={port}"]
    outcome = subprocess.run(
        command, cwd=ROOT, text=True, capture_output=True, timeout=60, check=False
    )
    assert outcome.returncode == 2
    assert f"The port {port} is taken" in outcome.stderr
    assert "streams.data_port" in outcome.stderr


def named(data: Path) -> list[str]:
    """Processes whose command line names the folder."""
    search = ["pgrep", "-f", str(data)]
    return subprocess.run(
        search, capture_output=True, text=True, timeout=10, check=False
    ).stdout.split()


def test_the_end_takes_everything_along(tmp_path: Path) -> None:
    data = tmp_path / "data"
    free = ("--prometheus-port", "0", "--set", "streams.rtmp_port=0")
    platform = PlatformProcess(data, "--full", *free, *NO_PORTS, command="services")
    with platform:
        assert len(named(data)) >= 4  # platform, engine, Caddy, Prometheus
        assert platform.stop() <= 3
    assert named(data) == []
