"""Signed tokens: ES256 JWTs with `kid`, checked offline against a key set.

Whatever is wrong with a token (form, algorithm, key, signature, issuer, audience, time,
revocation), the caller learns only `InvalidToken`; the tests hold every cause to that.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast, get_args

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from downstage.auth.principal import STREAM_RIGHTS, Bound, Kind, Principal, StreamBound
from downstage.kernel.clock import Clock
from downstage.kernel.errors import InvalidToken
from downstage.kernel.ids import new_id

__all__ = ["AUDIENCE", "ISSUER", "SKEW_S", "Signed", "Signer", "UnknownKey", "Verifier", "new_key"]

ISSUER = "downstage"
AUDIENCE = "downstage"
ALGORITHM = "ES256"
SKEW_S = 30
"""Seconds by which the clocks of two of our machines may differ."""
MAX_TOKEN = 8192
MAX_HEADER = 512
CACHED = 2048
"""Verified tokens remembered; a signature check costs about 0.1 ms."""
GOOD_KID = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
AWKWARD = re.compile(r"[>?~\x7f]")
COMPACT = re.compile(r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$")


class UnknownKey(InvalidToken):
    """The token names a key that is not in the set; a newer set may have it."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A token just made."""

    token: str
    id: str
    expires_at: datetime


def new_key() -> ECKey:
    """A fresh P-256 key pair with a random `kid`."""
    parameters = {"kid": new_id("k"), "use": "sig", "alg": ALGORITHM}
    return ECKey.generate_key("P-256", cast("Any", parameters), private=True)


class Signer:
    """Makes tokens with one private key."""

    def __init__(self, key: ECKey, clock: Clock) -> None:
        self._key = key
        self._clock = clock
        self.kid = cast("str", key.kid)

    def sign(self, principal: Principal, lifetime: timedelta, *, token_id: str = "") -> Signed:
        """A token that says what *principal* says, for *lifetime* from now."""
        now = int(self._clock.now().timestamp())
        expires = now + int(lifetime.total_seconds())
        token_id = token_id or new_id("t")
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": principal.subject,
            "name": principal.name,
            "tenant": principal.tenant,
            "kind": principal.kind,
            "scope": " ".join(sorted(principal.scopes)),
            "jti": token_id,
            "iat": now,
            "nbf": now,
            "exp": expires,
        }
        if principal.act is not None:
            claims["act"] = {"sub": principal.act}
        optional = {
            "sid": principal.session_id,
            "iid": principal.instance_id,
            "seat": principal.seat,
            "role": principal.role,
        }
        claims |= {name: value for name, value in optional.items() if value is not None}
        if principal.reach is not None:
            claims["reach"] = [[b.path, "write" if b.writes else "read"] for b in principal.reach]
        if principal.streams is not None:
            claims["streams"] = [[b.pattern, sorted(b.rights)] for b in principal.streams]
        header = {"typ": "JWT", "alg": ALGORITHM, "kid": self.kid}
        payload = _plain_json(claims)
        token = jws.serialize_compact(header, payload, self._key, algorithms=[ALGORITHM])
        return Signed(token, token_id, datetime.fromtimestamp(expires, UTC))


class Verifier:
    """Checks tokens against the keys and revocations it was last given."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keys: dict[str, ECKey] = {}
        self._revoked: frozenset[str] = frozenset()
        self._cache: OrderedDict[bytes, tuple[str, int, Principal]] = OrderedDict()

    def set_keys(self, jwks: Mapping[str, Any]) -> None:
        """Replace the key set; entries that are not ES256 signing keys are passed over."""
        keys: dict[str, ECKey] = {}
        for entry in cast("list[dict[str, Any]]", jwks.get("keys", [])):
            kid = entry.get("kid")
            if not isinstance(kid, str) or not GOOD_KID.match(kid):
                continue
            if entry.get("kty") == "EC" and entry.get("crv") == "P-256" and "d" not in entry:
                keys[kid] = ECKey.import_key(cast("Any", entry))
        self._keys = keys

    def set_revoked(self, token_ids: Iterable[str]) -> None:
        """Replace the set of token ids that no longer count."""
        self._revoked = frozenset(token_ids)

    def add_revoked(self, token_ids: Iterable[str]) -> None:
        """Let *token_ids* no longer count, beside those known already."""
        self._revoked |= frozenset(token_ids)

    def counts(self, principal: Principal) -> bool:
        """Whether the token that *principal* came from still does, for who holds no token."""
        expires = principal.expires_at
        if principal.token_id in self._revoked or expires is None:
            return False
        return expires.timestamp() + SKEW_S > self._clock.now().timestamp()

    def verify(self, token: str) -> Principal:
        """The principal that *token* proves.

        Raises:
            UnknownKey: (an `InvalidToken`) its key is not known here, yet.
            InvalidToken: anything else is wrong with it.
        """
        if len(token) > MAX_TOKEN or not COMPACT.match(token):
            raise InvalidToken
        digest = hashlib.sha256(token.encode("ascii")).digest()
        kept = self._cache.get(digest)
        if kept is None:
            kept = self._check(token)
        kid, expires, principal = kept
        if kid not in self._keys or principal.token_id in self._revoked:
            self._cache.pop(digest, None)
            raise InvalidToken
        if expires + SKEW_S <= self._clock.now().timestamp():
            self._cache.pop(digest, None)
            raise InvalidToken
        self._cache[digest] = kept
        self._cache.move_to_end(digest)
        if len(self._cache) > CACHED:
            self._cache.popitem(last=False)
        return principal

    def _check(self, token: str) -> tuple[str, int, Principal]:
        kid = _key_id(token)
        key = self._keys.get(kid)
        if key is None:
            raise UnknownKey
        try:
            claims = jwt.decode(token, key, algorithms=[ALGORITHM]).claims
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise InvalidToken from error
        return kid, self._check_claims(claims), _principal(claims)

    def _check_claims(self, claims: Mapping[str, Any]) -> int:
        """The moment it expires, if issuer, audience and times are as they must be."""
        now = self._clock.now().timestamp()
        expires, not_before = claims.get("exp"), claims.get("nbf")
        if claims.get("iss") != ISSUER or claims.get("aud") != AUDIENCE:
            raise InvalidToken
        if type(expires) is not int or type(not_before) is not int:
            raise InvalidToken
        if not_before - SKEW_S > now or expires + SKEW_S <= now:
            raise InvalidToken
        return expires


def _plain_json(claims: Mapping[str, Any]) -> bytes:
    """*claims* as JSON whose base64 holds neither ``-`` nor ``_``.

    Clients exist that read a token's payload as plain base64. Those two letters come of bytes above
    ASCII, and of the four that are escaped here.
    """
    text = json.dumps(claims, ensure_ascii=True, separators=(",", ":"))
    return AWKWARD.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode("ascii")


def _key_id(token: str) -> str:
    """The `kid` of *token*'s header, before anything of it is trusted."""
    if len(token.partition(".")[0]) > MAX_HEADER:
        raise InvalidToken
    try:
        header = jws.extract_compact(token.encode("ascii")).headers()
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise InvalidToken from error
    kid: object = header.get("kid")
    if header.get("alg") != ALGORITHM or not isinstance(kid, str) or not GOOD_KID.match(kid):
        raise InvalidToken
    return kid


def _principal(claims: Mapping[str, Any]) -> Principal:
    act: object = claims.get("act")
    person: object = cast("dict[str, object]", act).get("sub") if isinstance(act, dict) else None
    kind = _text(claims, "kind")
    if kind not in get_args(Kind):
        raise InvalidToken
    return Principal(
        subject=_text(claims, "sub"),
        name=_text(claims, "name"),
        kind=cast("Kind", kind),
        tenant=_text(claims, "tenant"),
        scopes=frozenset(_text(claims, "scope").split()),
        act=person if isinstance(person, str) else None,
        session_id=_maybe(claims, "sid"),
        instance_id=_maybe(claims, "iid"),
        seat=_maybe(claims, "seat"),
        role=_maybe(claims, "role"),
        reach=_reach(claims.get("reach")),
        streams=_streams(claims.get("streams")),
        token_id=_text(claims, "jti"),
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
    )


def _reach(given: object) -> tuple[Bound, ...] | None:
    """Bounds as they were signed; anything else than that is no token of ours."""
    if given is None:
        return None
    if not isinstance(given, list):
        raise InvalidToken
    return tuple(_bound(item) for item in cast("list[object]", given))


def _bound(given: object) -> Bound:
    pair = cast("list[object]", given) if isinstance(given, list) else []
    path, access = pair if len(pair) == 2 else (None, None)  # noqa: PLR2004 - a pair
    if not isinstance(path, str) or access not in ("read", "write"):
        raise InvalidToken
    return Bound(path, access == "write")


def _streams(given: object) -> tuple[StreamBound, ...] | None:
    """Bounds on streams as they were signed; anything else than that is no token of ours."""
    if given is None:
        return None
    if not isinstance(given, list):
        raise InvalidToken
    return tuple(_stream_bound(item) for item in cast("list[object]", given))


def _stream_bound(given: object) -> StreamBound:
    pair = cast("list[object]", given) if isinstance(given, list) else []
    pattern, rights = pair if len(pair) == 2 else (None, None)  # noqa: PLR2004 - a pair
    if not isinstance(pattern, str) or not isinstance(rights, list):
        raise InvalidToken
    named = frozenset(str(right) for right in cast("list[object]", rights))
    if not named <= frozenset(STREAM_RIGHTS):
        raise InvalidToken
    return StreamBound(pattern, named)


def _text(claims: Mapping[str, Any], name: str) -> str:
    value: object = claims.get(name)
    if not isinstance(value, str):
        raise InvalidToken
    return value


def _maybe(claims: Mapping[str, Any], name: str) -> str | None:
    return None if claims.get(name) is None else _text(claims, name)
