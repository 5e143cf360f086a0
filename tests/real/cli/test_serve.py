"""Every service in a process of its own: the same calls, over http."""

from __future__ import annotations

import secrets
import urllib.request
from pathlib import Path

import pytest

from downstage.testing.served import ORDER, ServedPlatform

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]


def test_each_service_in_a_process_of_its_own_knows_the_others(data: Path) -> None:
    with ServedPlatform(data) as platform:
        assert platform.call("GET", "/healthcheck").body == {"ok": True}
        assert platform.call("GET", "/v1/sessions").body["items"] == []
        assert platform.call("GET", "/v1/sessions", token=None).status == 401
        assert len({platform.service_pid(name) for name in ORDER}) == len(ORDER)
        files = platform.facts["content"]
        token = {"authorization": f"Bearer {platform.facts['token']}"}
        body = urllib.request.Request(f"{files}/v1/files/a", b"x", token, method="PUT")
        with urllib.request.urlopen(body, timeout=15) as answer:
            assert answer.status == 201


def test_services_with_another_secret_are_strangers(data: Path) -> None:
    with ServedPlatform(data, secret=lambda _: secrets.token_urlsafe(32)) as platform:
        answer = platform.call("GET", "/healthcheck", token=None)
    assert answer.status == 503
    assert answer.body["ok"] is False
