"""STUN and TURN servers of a seat: credentials minted for it, for no longer than its session."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import timedelta
from pathlib import Path

import pytest

from downstage.gateway.ice import LEAST, IceServers, Relay, read_relay
from downstage.kernel.clock import ManualClock
from downstage.kernel.errors import SetupError
from downstage.kernel.settings import Turn

pytestmark = pytest.mark.unit

SECRET = "a secret of at least sixteen"
STUN = {"urls": "stun:192.0.2.1"}


def _servers(left: timedelta | None, lifetime: timedelta, clock: ManualClock) -> IceServers:
    relay = Relay(("turn:192.0.2.2:3478", "turns:192.0.2.2:443?transport=tcp"), SECRET, lifetime)
    return IceServers([STUN], relay, clock, lambda _: left)


def test_each_seat_gets_credentials_of_its_own_that_the_relay_can_check() -> None:
    clock = ManualClock()
    servers = _servers(None, timedelta(hours=1), clock)
    first, second = servers.of("session", "s-1"), servers.of("session", "s-2")
    assert first[0] == STUN
    assert [item["urls"].partition(":")[0] for item in first] == ["stun", "turn", "turns"]
    expiry, _, subject = first[1]["username"].partition(":")
    assert subject == "session.s-1"
    assert int(expiry) == int((clock.now() + timedelta(hours=1)).timestamp())
    mac = hmac.new(SECRET.encode(), first[1]["username"].encode(), hashlib.sha1).digest()
    assert first[1]["credential"] == base64.b64encode(mac).decode()
    assert first[1]["credential"] != second[1]["credential"]


@pytest.mark.parametrize(
    ("left", "lifetime", "counts"),
    [
        (timedelta(hours=8), timedelta(hours=1), timedelta(hours=1)),
        (timedelta(minutes=20), timedelta(hours=1), timedelta(minutes=20)),
        (timedelta(hours=8), timedelta(minutes=1), LEAST),
        (timedelta(minutes=3), timedelta(minutes=1), timedelta(minutes=3)),
    ],
)
def test_credentials_never_outlive_the_session(
    left: timedelta, lifetime: timedelta, counts: timedelta
) -> None:
    clock = ManualClock()
    granted = _servers(left, lifetime, clock).of("session", "s-1")[1]
    expiry = int(granted["username"].partition(":")[0])
    assert expiry == int((clock.now() + counts).timestamp())


def test_who_only_tries_the_network_gets_a_minute() -> None:
    clock = ManualClock()
    granted = _servers(None, timedelta(hours=1), clock).to_check("ada")[1]
    expiry, _, subject = granted["username"].partition(":")
    assert subject == "check.ada"
    assert int(expiry) == int((clock.now() + timedelta(seconds=60)).timestamp())


def test_without_a_relay_everybody_is_told_the_same() -> None:
    servers = IceServers([STUN], None, ManualClock())
    assert servers.of("session", "s-1") == servers.to_check("ada") == [STUN]
    assert servers.policy == "all"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Turn(urls=["turn:192.0.2.2"]), "turn.secret_file is missing"),
        (Turn(urls=["stun:192.0.2.2"], secret_file=Path("/dev/null")), "neither turn: nor turns:"),
        (Turn(urls=["turn:192.0.2.2"], secret_file=Path("/nonexistent")), "cannot be read"),
        (Turn(urls=["turn:192.0.2.2"], secret_file=Path("/dev/null")), "fewer than 16"),
    ],
)
def test_a_relay_without_a_proper_secret_is_refused(settings: Turn, words: str) -> None:
    with pytest.raises(SetupError, match=words):
        read_relay(settings)


def test_the_secret_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    relay = read_relay(Turn(urls=["turn:192.0.2.2"], secret_file=file, relay_only=True))
    assert relay is not None
    assert (relay.secret, relay.only) == (SECRET, True)
    assert read_relay(Turn()) is None
