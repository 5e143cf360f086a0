"""Tickets and TURN credentials: values that others compute too."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from downstage.auth.tickets import hash_ticket, new_ticket
from downstage.auth.turn import turn_credentials

pytestmark = pytest.mark.unit


def test_tickets_are_unguessable_and_fit_a_sub_protocol() -> None:
    made = {new_ticket() for _ in range(200)}
    assert len(made) == 200
    # 32 characters of 6 bits: 192 bits; all of them may stand in an HTTP token.
    assert all(len(t) == 32 and t.replace("-", "a").replace("_", "a").isalnum() for t in made)


def test_a_ticket_is_kept_as_its_hash() -> None:
    ticket = new_ticket()
    assert hash_ticket(ticket) == hashlib.sha256(ticket.encode()).hexdigest()
    assert ticket not in hash_ticket(ticket)
    assert hash_ticket("\ud800")  # no text makes it fail


def test_turn_credentials_are_those_of_the_convention() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    made = turn_credentials("north", "s-1", now=now, lifetime=timedelta(hours=1))
    assert made.username == "1767229200:s-1"
    # printf '1767229200:s-1' | openssl dgst -sha1 -hmac north -binary | base64
    assert made.credential == "avn/AhXmiTbcHMc6zBYJ/Hy8od0="
