"""Our half of SigV4 against botocore's, which signs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from downstage.content.dialects.exchange import Exchange
from downstage.content.dialects.s3_errors import S3Error
from downstage.content.dialects.s3_signature import read_claim, read_query, verify

pytestmark = pytest.mark.unit

SECRET = "a-secret-of-some-length"
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
NAME = st.from_regex(r"[A-Za-z]{1,12}", fullmatch=True)
VALUE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)


def arrived(request: Any) -> Exchange:
    """*request* as a server gets it."""
    parts = urlsplit(request.url)
    headers = [(b"host", parts.netloc.encode())]
    headers += [(k.lower().encode(), v.strip().encode()) for k, v in request.headers.items()]
    scope: dict[str, Any] = {
        "type": "http",
        "method": request.method,
        "path": parts.path,
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "headers": headers,
        "client": ("127.0.0.1", 1),
    }

    async def never() -> Any:
        raise AssertionError

    async def nothing(message: Any) -> None:
        del message

    return Exchange(scope, never, nothing)


def check(request: Any, *, at: datetime | None = None, secret: str = SECRET) -> None:
    exchange = arrived(request)
    parameters = read_query(exchange.query)
    claim = read_claim(exchange, parameters)
    verify(exchange, parameters, claim, secret, at or datetime.now(UTC))


@given(
    method=st.sampled_from(["GET", "PUT", "DELETE"]),
    key=TEXT,
    query=st.dictionaries(NAME, TEXT, max_size=4),
    headers=st.dictionaries(NAME.map(lambda name: f"x-amz-meta-{name}"), VALUE, max_size=3),
)
def test_what_botocore_signs_is_accepted(
    method: str, key: str, query: dict[str, str], headers: dict[str, str]
) -> None:
    named = {name.lower(): value for name, value in headers.items()}
    text = "&".join(f"{quote(n, safe='-_.~')}={quote(v, safe='-_.~')}" for n, v in query.items())
    url = f"http://host:8600/s3/bucket/{quote(key, safe='/~')}"
    request = AWSRequest(method, f"{url}?{text}" if text else url, headers=named, data=b"x")
    S3SigV4Auth(Credentials("t-key", SECRET), "s3", "eu-1").add_auth(request)
    check(request)
    with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
        check(request, secret=SECRET + "x")
    request.method = "POST"
    with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
        check(request)


@given(key=TEXT)
def test_what_botocore_presigns_is_accepted_until_it_expires(key: str) -> None:
    request = AWSRequest("GET", f"http://host/s3/b/{quote(key, safe='/~')}?versionId=1")
    S3SigV4QueryAuth(Credentials("t-key", SECRET), "s3", "eu-1", expires=60).add_auth(request)
    check(request)
    with pytest.raises(S3Error, match="AccessDenied"):
        check(request, at=datetime.now(UTC) + timedelta(seconds=62))
    with pytest.raises(S3Error, match="RequestTimeTooSkewed"):
        check(request, at=datetime.now(UTC) - timedelta(seconds=902))


@pytest.mark.parametrize(
    "authorization",
    [
        "AWS t-key:signature",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=a/20260101/r/s3/aws4_request, SignedHeaders=host",
        "AWS4-HMAC-SHA256 Credential=a/20260101/r/ec2/aws4_request, SignedHeaders=host, Signature="
        + "0" * 64,
        "AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host, Signature=" + "0" * 64,
        "AWS4-HMAC-SHA256 Credential=a/20260101/r/s3/aws4_request, SignedHeaders=host, Signature=x",
    ],
)
def test_other_forms_are_refused(authorization: str) -> None:
    headers = {
        "authorization": authorization,
        "x-amz-date": "20260101T000000Z",
        "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
    }
    with pytest.raises(S3Error):
        check(AWSRequest("GET", "http://host/s3", headers=headers))
