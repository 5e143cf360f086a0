"""The TURN server as we configure it: what it relays, what it refuses, and who says so."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from downstage.auth.turn import TurnCredentials, turn_credentials
from downstage.cli.network.check import relay_findings
from downstage.cli.network.coturn import DENIED_V6, FORBIDDEN, PUBLIC, RelayPlan, coturn
from downstage.gateway.ice import Relay as RelaySettings
from downstage.media.stun import Relay, RelayRefused, reflexive
from downstage.testing.coturn import Coturn, has_coturn, serve_coturn

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not has_coturn(), reason="coturn is not installed: apt install coturn"),
]

SECRET = "a secret of a test, long enough"
ADDRESS = "127.0.0.1"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])


@contextmanager
def _coturn(folder: Path, *, without: tuple[str, ...] = (), **changes: object) -> Iterator[Coturn]:
    plan = RelayPlan(ADDRESS, "tests", SECRET, (ADDRESS, "::1"), port=_free_port())
    plan = replace(plan, **changes)  # pyright: ignore[reportArgumentType]
    text = "".join(
        line for line in coturn(plan).splitlines(keepends=True) if line.strip() not in without
    )
    with serve_coturn(folder, text, address=ADDRESS, port=plan.port) as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coturn]:
    """The configuration as the product writes it."""
    with _coturn(tmp_path_factory.mktemp("coturn")) as running:
        yield running


def _granted(lifetime: timedelta = timedelta(minutes=10), who: str = "s") -> TurnCredentials:
    return turn_credentials(SECRET, who, now=datetime.now(UTC), lifetime=lifetime)


def _relay(server: Coturn, granted: TurnCredentials, family: int = 4) -> Relay:
    address = (server.address, server.port)
    return Relay(address, granted.username, granted.credential, family=6 if family == 6 else 4)


def _permitted(server: Coturn, peers: tuple[str, ...]) -> list[str]:
    found = list[str]()
    for family in (4, 6):
        with _relay(server, _granted(), family) as relay:
            relay.open()
            mine = [peer for peer in peers if (":" in peer) == (family == 6)]
            found += [peer for peer in mine if relay.permit(peer) == 0]
    return found


def test_M01_no_address_of_ours_is_relayed_to_and_public_ones_are(server: Coturn) -> None:
    assert len(FORBIDDEN) == 20
    assert _permitted(server, FORBIDDEN) == []
    assert _permitted(server, PUBLIC) == list(PUBLIC)


def test_M01_the_usual_list_is_open_by_ipv6_and_the_doctor_says_so(tmp_path: Path) -> None:
    holes = tuple(f"denied-peer-ip={span}" for span in DENIED_V6[1:])
    with _coturn(tmp_path, without=holes) as server:
        opened = _permitted(server, FORBIDDEN)
        assert "::ffff:169.254.169.254" in opened
        found = list(relay_findings(server.url, _settings(server)))
    assert found[-1].fix.startswith("anybody with a seat reaches these")
    assert "::ffff:127.0.0.1" in found[-1].fact


def test_M01_a_list_that_refuses_everybody_is_told(tmp_path: Path) -> None:
    text = coturn(RelayPlan(ADDRESS, "tests", SECRET, (ADDRESS, "::1"), port=_free_port()))
    port = int(text.split("listening-port=")[1].splitlines()[0])
    denied = ["denied-peer-ip=::"]
    with serve_coturn(tmp_path, text, address=ADDRESS, port=port, further=denied) as server:
        found = list(relay_findings(server.url, _settings(server)))
    assert found[-1].fact.endswith("relays to nobody")


def test_M02_credentials_end_with_their_time_and_are_of_one_secret(server: Coturn) -> None:
    for wrong in (
        _granted(timedelta(seconds=-5)),
        turn_credentials("another secret", "s", now=datetime.now(UTC), lifetime=timedelta(1)),
        replace(_granted(), username=_granted().username.replace("s", "t")),
    ):
        with _relay(server, wrong) as relay, pytest.raises(RelayRefused) as refused:
            relay.open()
        assert refused.value.context["code"] == 401


def test_M02_one_user_does_not_take_the_relay_from_the_others(tmp_path: Path) -> None:
    with _coturn(tmp_path, user_quota=2, relays=(ADDRESS,)) as server:
        mine = [_relay(server, _granted(who="greedy")) for _ in range(3)]
        try:
            mine[0].open()
            mine[1].open()
            with pytest.raises(RelayRefused) as refused:
                mine[2].open()
            assert refused.value.context["code"] == 486
            with _relay(server, _granted(who="modest")) as other:
                other.open()
        finally:
            for relay in mine:
                relay.close()


def test_M02_when_all_ports_are_taken_the_relay_says_so(tmp_path: Path) -> None:
    with _coturn(tmp_path, ports=(49160, 49161), relays=(ADDRESS,)) as server:
        held = [_relay(server, _granted(who=f"s-{number}")) for number in range(3)]
        try:
            held[0].open()
            held[1].open()
            with pytest.raises(RelayRefused) as refused:
                held[2].open()
            assert refused.value.context["code"] == 508
        finally:
            for relay in held:
                relay.close()


def test_a_stun_server_tells_our_own_address(server: Coturn) -> None:
    host, port = reflexive((server.address, server.port))
    assert (host, port > 0) == (ADDRESS, True)


def _settings(server: Coturn) -> RelaySettings:
    return RelaySettings((server.url,), SECRET, timedelta(hours=1))


def test_the_doctor_tries_the_paths_of_the_settings(server: Coturn, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    done = _doctor(tmp_path, server, secret)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "refuses all 20 private addresses" in done.stdout
    assert "by the relay" in done.stdout
    assert SECRET not in done.stdout + done.stderr
    secret.write_text("not the secret of that server")
    done = _doctor(tmp_path, server, secret)
    assert done.returncode == 1
    assert "must be the same" in done.stdout


def _doctor(folder: Path, server: Coturn, secret: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "downstage", "doctor", "--network", "--data", str(folder)],
        env={
            **os.environ,
            "DOWNSTAGE_TURN__URLS": f'["{server.url}"]',
            "DOWNSTAGE_TURN__SECRET_FILE": str(secret),
            "COLUMNS": "200",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
