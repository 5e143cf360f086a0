"""Tokens: one way to be right, one error for every way to be wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws, jwt
from joserfc.jwk import ECKey

from downstage.auth import tokens as module
from downstage.auth.principal import Bound, Principal
from downstage.auth.tokens import SKEW_S, Signer, UnknownKey, Verifier, new_key
from downstage.kernel.clock import ManualClock
from downstage.kernel.errors import InvalidToken, problem

pytestmark = pytest.mark.unit

KEY = new_key()
OTHER = new_key()
ADA = Principal("ada", "ada", "user", scopes=frozenset({"sessions:read", "sessions:write"}))
HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def verifier(clock: ManualClock) -> Verifier:
    found = Verifier(clock)
    found.set_keys({"keys": [KEY.as_dict(private=False)]})
    return found


def claims(clock: ManualClock, **changes: Any) -> dict[str, Any]:
    now = int(clock.now().timestamp())
    good: dict[str, Any] = {
        "iss": "downstage",
        "aud": "downstage",
        "sub": "ada",
        "name": "ada",
        "tenant": "main",
        "kind": "user",
        "scope": "sessions:read",
        "jti": "t-1",
        "iat": now,
        "nbf": now,
        "exp": now + 3600,
    }
    return {k: v for k, v in (good | changes).items() if v is not ...}


def signed(body: dict[str, Any], key: ECKey = KEY, **header: Any) -> str:
    head = {"alg": "ES256", "kid": KEY.kid} | header
    return jwt.encode(head, body, key, algorithms=["ES256"])


def encoded(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unsigned(body: dict[str, Any], **header: Any) -> str:
    return f"{encoded({'alg': 'none', 'kid': KEY.kid} | header)}.{encoded(body)}."


def hmac_with_public_key(body: dict[str, Any]) -> str:
    """As if the verifier took the public key's text for a shared secret."""
    text = f"{encoded({'alg': 'HS256', 'kid': KEY.kid})}.{encoded(body)}"
    digest = hmac.new(KEY.as_pem(private=False), text.encode(), hashlib.sha256).digest()
    return f"{text}.{encoded(digest)}"


def swapped(clock: ManualClock) -> str:
    """The signature of one token under the claims of another."""
    head, _, signature = signed(claims(clock)).split(".")
    return f"{head}.{encoded(claims(clock, sub='root'))}.{signature}"


def critical(clock: ManualClock) -> str:
    head = encoded({"alg": "ES256", "kid": KEY.kid, "crit": ["b64"], "b64": False})
    return f"{head}.{encoded(claims(clock))}." + signed(claims(clock)).rpartition(".")[2]


def raw(clock: ManualClock, body: object) -> str:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    header = {"alg": "ES256", "kid": KEY.kid}
    return jws.serialize_compact(header, content, KEY, algorithms=["ES256"])


FORGERIES: dict[str, Callable[[ManualClock], str]] = {
    "alg none": lambda c: unsigned(claims(c)),
    "alg none with a signature": lambda c: unsigned(claims(c)) + "AAAA",
    "alg NONE": lambda c: unsigned(claims(c), alg="NONE") + "AAAA",
    "HS256 with the public key": lambda c: hmac_with_public_key(claims(c)),
    "no kid": lambda c: jwt.encode({"alg": "ES256"}, claims(c), KEY, algorithms=["ES256"]),
    "unknown kid": lambda c: signed(claims(c), kid="k-unknown"),
    "kid is a path": lambda c: signed(claims(c), kid="../../dev/null"),
    "kid is no text": lambda c: f"{encoded({'alg': 'ES256', 'kid': [1]})}.{encoded({})}.AAAA",
    "another key": lambda c: signed(claims(c), OTHER),
    "key in the header": lambda c: signed(claims(c), OTHER, jwk=OTHER.as_dict(private=False)),
    "key by address": lambda c: signed(claims(c), OTHER, jku="http://127.0.0.1/keys"),
    "critical extension": critical,
    "claims swapped": swapped,
    "expired": lambda c: signed(claims(c, exp=int(c.now().timestamp()) - SKEW_S)),
    "never expires": lambda c: signed(claims(c, exp=...)),
    "expiry is text": lambda c: signed(claims(c, exp="never")),
    "expiry is true": lambda c: signed(claims(c, exp=True)),
    "not yet": lambda c: signed(claims(c, nbf=int(c.now().timestamp()) + SKEW_S + 1)),
    "no nbf": lambda c: signed(claims(c, nbf=...)),
    "wrong audience": lambda c: signed(claims(c, aud="elsewhere")),
    "several audiences": lambda c: signed(claims(c, aud=["downstage"])),
    "no audience": lambda c: signed(claims(c, aud=...)),
    "wrong issuer": lambda c: signed(claims(c, iss="elsewhere")),
    "no subject": lambda c: signed(claims(c, sub=...)),
    "subject is no text": lambda c: signed(claims(c, sub=7)),
    "unknown kind": lambda c: signed(claims(c, kind="root")),
    "no id": lambda c: signed(claims(c, jti=...)),
    "session is no text": lambda c: signed(claims(c, sid=7)),
    "claims are a list": lambda c: raw(c, [1]),
    "claims are no JSON": lambda c: raw(c, b"\xff{"),
    "empty": lambda _: "",
    "two parts": lambda c: signed(claims(c)).rpartition(".")[0],
    "four parts": lambda c: signed(claims(c)) + ".AAAA",
    "trailing space": lambda c: signed(claims(c)) + " ",
    "trailing newline": lambda c: signed(claims(c)) + "\n",
    "not ASCII": lambda c: signed(claims(c)) + "é",
    "too long": lambda c: signed(claims(c, name="x" * 9000)),
    "header too long": lambda c: signed(claims(c), typ="x" * 600),
    "nested header": lambda _: f"{encoded(b'[' * 300)}.e30.AAAA",
}


def test_a_token_says_what_its_principal_says(verifier: Verifier, clock: ManualClock) -> None:
    seat = Principal(
        "ada",
        "Ada",
        "seat",
        tenant="west",
        scopes=frozenset({"sessions:read"}),
        act="grace",
        session_id="s-1",
        instance_id="i-1",
        seat="seat-1",
        role="spectator",
    )
    made = Signer(KEY, clock).sign(seat, HOUR)
    found = verifier.verify(made.token)
    assert found.token_id == made.id
    assert found.expires_at == made.expires_at == clock.now() + HOUR
    for name in ("subject", "name", "kind", "tenant", "scopes", "act", "session_id", "seat"):
        assert getattr(found, name) == getattr(seat, name)
    assert (found.instance_id, found.role) == ("i-1", "spectator")


@pytest.mark.parametrize("name", FORGERIES)
def test_A10_every_wrong_token_is_refused_alike(
    name: str, verifier: Verifier, clock: ManualClock
) -> None:
    with pytest.raises(InvalidToken) as caught:
        verifier.verify(FORGERIES[name](clock))
    body = problem(caught.value)
    assert body == problem(InvalidToken())
    assert body["code"] == "invalid-token"
    assert body["status"] == 401


def test_A10_the_forgeries_differ_from_a_good_token_in_one_point(
    verifier: Verifier, clock: ManualClock
) -> None:
    assert verifier.verify(signed(claims(clock))).subject == "ada"


@given(text=st.text(max_size=200))
def test_A10_any_text_is_refused_and_nothing_else_is_raised(text: str) -> None:
    with pytest.raises(InvalidToken):
        Verifier(ManualClock()).verify(text)


def test_A10_clocks_may_differ_by_half_a_minute(verifier: Verifier, clock: ManualClock) -> None:
    now = int(clock.now().timestamp())
    assert verifier.verify(signed(claims(clock, nbf=now + SKEW_S)))
    assert verifier.verify(signed(claims(clock, exp=now - SKEW_S + 1)))


def test_a_remembered_token_still_expires(verifier: Verifier, clock: ManualClock) -> None:
    token = Signer(KEY, clock).sign(ADA, HOUR).token
    clock.advance(3600 + SKEW_S - 1)
    assert verifier.verify(token)
    clock.advance(1)
    with pytest.raises(InvalidToken):
        verifier.verify(token)


def test_a_remembered_token_can_be_revoked(verifier: Verifier, clock: ManualClock) -> None:
    made, kept = (Signer(KEY, clock).sign(ADA, HOUR) for _ in range(2))
    assert verifier.verify(made.token)
    verifier.add_revoked([made.id])
    with pytest.raises(InvalidToken):
        verifier.verify(made.token)
    assert verifier.verify(kept.token)
    verifier.set_revoked([kept.id])
    assert verifier.verify(made.token)


def test_a_remembered_token_dies_with_its_key(verifier: Verifier, clock: ManualClock) -> None:
    token = Signer(KEY, clock).sign(ADA, HOUR).token
    assert verifier.verify(token)
    verifier.set_keys({"keys": [OTHER.as_dict(private=False)]})
    with pytest.raises(InvalidToken):
        verifier.verify(token)


def test_a_key_set_with_strange_entries_is_read_for_the_good_ones(clock: ManualClock) -> None:
    verifier = Verifier(clock)
    strange: list[dict[str, Any]] = [
        {},
        {"kty": "oct", "k": "AAAA", "kid": "a"},
        {"kty": "EC", "crv": "P-384", "kid": "b", "x": "AA", "y": "AA"},
        KEY.as_dict(private=True) | {"kid": "private"},
        KEY.as_dict(private=False) | {"kid": "../x"},
        OTHER.as_dict(private=False),
    ]
    verifier.set_keys({"keys": strange})
    assert verifier.verify(Signer(OTHER, clock).sign(ADA, HOUR).token).subject == "ada"
    with pytest.raises(UnknownKey):
        verifier.verify(Signer(KEY, clock).sign(ADA, HOUR).token)


def test_few_tokens_are_remembered(
    verifier: Verifier, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CACHED", 2)
    made = [Signer(KEY, clock).sign(ADA, HOUR).token for _ in range(4)]
    for token in made:
        verifier.verify(token)
    assert len(verifier._cache) == 2
    assert all(verifier.verify(token) for token in made)


def test_bounds_come_back_as_they_were_signed(clock: ManualClock, verifier: Verifier) -> None:
    bounds = (Bound("/a"), Bound("/b/ü", writes=True))
    for reach in (None, (), bounds):
        instance = Principal("instance:i", "i", "instance", act="ada", reach=reach)
        found = verifier.verify(Signer(KEY, clock).sign(instance, HOUR).token)
        assert (found.reach, found.act) == (reach, "ada")


@pytest.mark.parametrize(
    "reach", ["/a", 1, {}, ["/a"], [["/a"]], [["/a", "all"]], [[1, "read"]], [["/a", "read", 1]]]
)
def test_bounds_out_of_form_are_no_bounds_at_all(
    clock: ManualClock, verifier: Verifier, reach: Any
) -> None:
    """Refused, not passed over: a token whose bounds were lost would have none."""
    header = {"alg": "ES256", "kid": KEY.kid}
    token = jwt.encode(header, claims(clock, reach=reach), KEY, algorithms=["ES256"])
    with pytest.raises(InvalidToken):
        verifier.verify(token)


def test_who_was_proven_once_counts_no_longer_than_the_token(
    clock: ManualClock, verifier: Verifier
) -> None:
    ada = verifier.verify(Signer(KEY, clock).sign(ADA, HOUR, token_id="t-9").token)
    assert verifier.counts(ada)
    clock.advance(3600 + SKEW_S - 1)
    assert verifier.counts(ada)
    clock.advance(2)
    assert not verifier.counts(ada)
    again = verifier.verify(Signer(KEY, clock).sign(ADA, HOUR, token_id="t-10").token)
    verifier.add_revoked(["t-10"])
    assert not verifier.counts(again)
    assert not verifier.counts(ADA)  # of no token


AWKWARD_NAMES = st.text(st.sampled_from('>?~\x7f"\\/aé☃\U0001f600'), min_size=1, max_size=12)


@given(AWKWARD_NAMES)
def test_a_payload_is_read_by_plain_base64_too(name: str) -> None:
    """The data server's client pads and decodes it itself, with ``+`` and ``/``."""
    clock = ManualClock()
    signed = Signer(KEY, clock).sign(Principal(name, name, "user", tenant=name), HOUR)
    head, payload, _ = signed.token.split(".")
    for part in (head, payload):
        assert not set("-_") & set(part)
    said = json.loads(base64.b64decode(payload + "===").decode("utf-8"))
    assert (said["sub"], said["name"]) == (name, name)
    assert said["exp"] == int(clock.now().timestamp()) + 3600
    fresh = Verifier(clock)
    fresh.set_keys({"keys": [KEY.as_dict(private=False)]})
    assert fresh.verify(signed.token).name == name
