"""Every service in a process of its own: the same calls, over http."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]


@contextmanager
def serve(service: str, data: Path, environment: dict[str, str]) -> Iterator[str]:
    """A service on a free port; its address."""
    command = [sys.executable, "-m", "downstage", "serve", service, "--port", "0"]
    command += ["--operator-port", "0", "--data", str(data / service)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if found := re.search(r"answers on (http\S+)", line):
                    break
            else:
                pytest.fail(f"{service} did not start")
            yield found[1]
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=15)


def status_of(url: str) -> tuple[int, object]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_four_services_in_four_processes_know_each_other(data: Path) -> None:
    secret = data / "secret"
    secret.write_text(secrets.token_urlsafe(32))
    environment = {"DOWNSTAGE_SERVICES__SECRET_FILE": str(secret)}
    with ExitStack() as running:
        for service in ("identity", "manager", "agent", "gateway"):
            url = running.enter_context(serve(service, data, environment))
            environment[f"DOWNSTAGE_SERVICES__{service.upper()}"] = url
        gateway = environment["DOWNSTAGE_SERVICES__GATEWAY"]
        manager = environment["DOWNSTAGE_SERVICES__MANAGER"]
        assert status_of(f"{gateway}/healthcheck") == (200, {"ok": True})
        assert status_of(f"{manager}/v1/instances")[0] == 401


def test_services_with_another_secret_are_strangers(data: Path) -> None:
    environment = dict[str, str]()
    with ExitStack() as running:
        for service in ("identity", "manager", "agent", "gateway"):
            secret = data / f"{service}.secret"
            secret.write_text(secrets.token_urlsafe(32))
            own = {**environment, "DOWNSTAGE_SERVICES__SECRET_FILE": str(secret)}
            url = running.enter_context(serve(service, data, own))
            environment[f"DOWNSTAGE_SERVICES__{service.upper()}"] = url
        status, body = status_of(f"{environment['DOWNSTAGE_SERVICES__GATEWAY']}/healthcheck")
    assert status == 503
    assert isinstance(body, dict)
    assert body["ok"] is False
