"""Signature Version 4: who signed a request, and that it arrived as it was signed.

Written here because a verifier must take the signed headers, the path and the query exactly as
they came, where the signing halves of libraries choose them; the tests hold it against botocore.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote_plus, unquote_to_bytes

from downstage.content.dialects.exchange import Exchange
from downstage.content.dialects.s3_errors import S3Error

__all__ = ["EMPTY_SHA256", "STREAMING", "UNSIGNED", "Claim", "read_claim", "signing_key", "verify"]

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW_S = 900
"""Seconds by which a signer's clock may differ, and for which a signed request may be sent."""
LONGEST_S = 604_800
"""A presigned address counts for a week at most."""
UNSIGNED = "UNSIGNED-PAYLOAD"
STREAMING = "STREAMING-"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
MAX_PARAMETERS = 64
MAX_SIGNED = 64
CREDENTIAL = re.compile(r"([A-Za-z0-9_-]{1,128})/(\d{8})/([A-Za-z0-9-]{0,64})/(\w+)/aws4_request")
HEX64 = re.compile(r"[0-9a-f]{64}")
FIELD = re.compile(r"(Credential|SignedHeaders|Signature)=([^,\s]+)")
MOMENT = "%Y%m%dT%H%M%SZ"
Parameters = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request says of its signature; nothing of it is proven yet."""

    key_id: str
    scope: str
    at: str
    """``20260131T235959Z``."""
    signed: tuple[str, ...]
    signature: str
    payload: str
    """Hash of the body, or one of the words that stand for it."""
    expires_s: int | None
    """Of a presigned address; None: the header signs."""

    @property
    def moment(self) -> datetime:
        """When it was signed."""
        return datetime.strptime(self.at, MOMENT).replace(tzinfo=UTC)


def read_query(query: str) -> Parameters:
    """The parameters of a query, decoded, in their order.

    Raises:
        S3Error: too many, or one twice.
    """
    if not query:
        return []
    parts = query.split("&")
    if len(parts) > MAX_PARAMETERS:
        raise S3Error("InvalidArgument", 400, f"At most {MAX_PARAMETERS} parameters.")
    found = [(unquote_plus(name), unquote_plus(value)) for name, _, value in map(_split, parts)]
    if len({name for name, _ in found}) != len(found):
        raise S3Error("InvalidArgument", 400, "A parameter is given twice.")
    return found


def _split(part: str) -> tuple[str, str, str]:
    return part.partition("=")


def read_claim(exchange: Exchange, parameters: Parameters) -> Claim:
    """Who claims to have signed, in the header or in the address.

    Raises:
        S3Error: nobody, or not in our form.
    """
    header, query = exchange.header("authorization"), dict(parameters)
    if header and "X-Amz-Signature" in query:
        raise S3Error("InvalidArgument", 400, "Sign in the header or in the query, not in both.")
    if header:
        return _from_header(exchange, header)
    if "X-Amz-Signature" in query or "X-Amz-Algorithm" in query:
        return _from_query(exchange, query)
    raise S3Error("AccessDenied", 403, "The request is not signed.")


def _from_header(exchange: Exchange, header: str) -> Claim:
    scheme, _, rest = header.partition(" ")
    fields: dict[str, str] = dict(FIELD.findall(rest))
    if scheme != ALGORITHM or len(fields) != 3:  # noqa: PLR2004 - three fields
        raise S3Error("AccessDenied", 403, f"Requests are signed by {ALGORITHM}.")
    payload = exchange.header("x-amz-content-sha256")
    if not payload:
        raise S3Error("InvalidRequest", 400, "x-amz-content-sha256 is missing.")
    return _claim(fields, exchange.header("x-amz-date"), payload, None)


def _from_query(exchange: Exchange, query: dict[str, str]) -> Claim:
    names = ("Credential", "SignedHeaders", "Signature")
    fields = {name: query.get(f"X-Amz-{name}", "") for name in names}
    expires = query.get("X-Amz-Expires", "")
    if query.get("X-Amz-Algorithm") != ALGORITHM or not re.fullmatch(r"\d{1,6}", expires):
        raise _bad_query()
    if not 1 <= int(expires) <= LONGEST_S:
        raise _bad_query()
    payload = query.get("X-Amz-Content-Sha256") or exchange.header("x-amz-content-sha256")
    return _claim(fields, query.get("X-Amz-Date", ""), payload or UNSIGNED, int(expires))


def _bad_query() -> S3Error:
    return S3Error(
        "AuthorizationQueryParametersError", 400, "The parameters of the signature are not valid."
    )


def _claim(fields: dict[str, str], at: str, payload: str, expires_s: int | None) -> Claim:
    credential = CREDENTIAL.fullmatch(fields["Credential"])
    signed = tuple(fields["SignedHeaders"].lower().split(";"))
    if credential is None or credential[4] != "s3" or not HEX64.fullmatch(fields["Signature"]):
        raise S3Error("AuthorizationHeaderMalformed", 400, "The signature is out of form.")
    try:
        datetime.strptime(at, MOMENT).replace(tzinfo=UTC)
    except ValueError as error:
        raise S3Error("AccessDenied", 403, "x-amz-date is missing or out of form.") from error
    if at[:8] != credential[2] or len(signed) > MAX_SIGNED or len(set(signed)) != len(signed):
        raise S3Error("AuthorizationHeaderMalformed", 400, "The signature is out of form.")
    scope = fields["Credential"].partition("/")[2]
    return Claim(credential[1], scope, at, signed, fields["Signature"], payload, expires_s)


def verify(
    exchange: Exchange, parameters: Parameters, claim: Claim, secret: str, now: datetime
) -> None:
    """Prove that whoever has *secret* signed this request, recently.

    Raises:
        S3Error: they did not, or too long ago, or something that counts is not signed.
    """
    _check_time(claim, now)
    _check_signed(exchange, claim)
    canonical = canonical_request(exchange, parameters, claim)
    digest = hashlib.sha256(canonical).hexdigest()
    text = f"{ALGORITHM}\n{claim.at}\n{claim.scope}\n{digest}"
    right = hmac.new(signing_key(secret, claim.scope), text.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(right, claim.signature):
        raise S3Error(
            "SignatureDoesNotMatch", 403, "The request is not what was signed, or by another key."
        )


def signing_key(secret: str, scope: str) -> bytes:
    """The key of one day, region and service."""
    key = b"AWS4" + secret.encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _check_time(claim: Claim, now: datetime) -> None:
    age = (now - claim.moment).total_seconds()
    if age < -SKEW_S or (claim.expires_s is None and age > SKEW_S):
        raise S3Error("RequestTimeTooSkewed", 403, "Your clock and ours differ by too much.")
    if claim.expires_s is not None and age > claim.expires_s:
        raise S3Error("AccessDenied", 403, "Request has expired")


def _check_signed(exchange: Exchange, claim: Claim) -> None:
    """What changes the meaning of a request must be signed."""
    missing = [
        name
        for name in exchange.headers
        if (name == "host" or name.startswith("x-amz-")) and name not in claim.signed
    ]
    if missing or "host" not in claim.signed:
        raise S3Error(
            "AccessDenied", 403, "There were headers present in the request which were not signed"
        )


def canonical_request(exchange: Exchange, parameters: Parameters, claim: Claim) -> bytes:
    """The request in the one form that is signed."""
    pairs = [
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parameters
        if name != "X-Amz-Signature" or claim.expires_s is None
    ]
    lines = [
        exchange.method,
        quote(unquote_to_bytes(exchange.path), safe="/-_.~"),
        "&".join(f"{name}={value}" for name, value in sorted(pairs)),
        *(f"{name}:{' '.join(exchange.header(name).split())}" for name in claim.signed),
        "",
        ";".join(claim.signed),
        claim.payload,
    ]
    return "\n".join(lines).encode("latin-1", "replace")
