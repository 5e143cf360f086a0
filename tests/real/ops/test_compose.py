"""The files for containers: what can be said of them without an engine for containers."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from downstage.cli.tls import find_caddy
from downstage.kernel.settings import load

pytestmark = pytest.mark.real

COMPOSE = Path(__file__).parents[3] / "ops" / "compose"


def services(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((COMPOSE / name).read_text(encoding="utf-8"))
    return found["services"]


def test_the_ports_are_those_of_the_document_and_on_loopback_alone() -> None:
    ports = [port for item in services("compose.yaml").values() for port in item.get("ports", [])]
    assert {"127.0.0.1:7890:7890", "127.0.0.1:8089:8089", "127.0.0.1:1935:1935"} <= set(ports)
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_images_are_named_by_version() -> None:
    both = [*services("compose.yaml").values(), *services("compose.https.yaml").values()]
    images = [item["image"] for item in both if "image" in item]
    assert len(images) >= 4
    assert all(re.search(r":(local|v?\d+\.\d+[^:]*)$", image) for image in images), images


def test_the_settings_that_containers_are_given_are_settings() -> None:
    given = services("compose.yaml")["app"]["environment"]
    given |= services("compose.https.yaml")["app"]["environment"]
    plain = {key: re.sub(r"\$\{.*?\}", "example.org", value) for key, value in given.items()}
    plain["DOWNSTAGE_PLATFORM__PUBLIC_URL"] = "https://example.org"
    settings = load(environment=plain)
    assert settings.streams.data_port == 7890
    assert settings.platform.origins == ["https://api.example.org", "https://hls.example.org"]


def test_the_proxy_takes_its_file() -> None:
    command = [find_caddy(), "validate", "--config", "Caddyfile", "--adapter", "caddyfile"]
    outcome = subprocess.run(
        command,
        cwd=COMPOSE,
        env={**os.environ, "DOMAIN": "example.org"},
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr


def test_prometheus_takes_its_file(tmp_path: Path) -> None:
    for name in (COMPOSE / "prometheus.yml", COMPOSE.parent / "prometheus" / "alerts.yml"):
        (tmp_path / name.name).write_text(name.read_text(encoding="utf-8"), encoding="utf-8")
    command = ["promtool", "check", "config", "prometheus.yml"]
    outcome = subprocess.run(
        command, cwd=tmp_path, text=True, capture_output=True, timeout=60, check=False
    )
    assert outcome.returncode == 0, outcome.stderr
