"""What S3's signature proves, by requests that no honest client sends."""

from __future__ import annotations

import base64
import hashlib
import hmac
import urllib.error
import urllib.request
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from xml.etree.ElementTree import fromstring

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

pytestmark = pytest.mark.real

SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
EMPTY = hashlib.sha256(b"").hexdigest()


class Signer(S3SigV4Auth):
    """botocore's, with a clock and a hash of the body that are given."""

    def __init__(self, served: Any, name: str, payload: str, at: datetime) -> None:
        super().__init__(Credentials(*served.keys[name]), "s3", "us-east-1")
        self._payload = payload
        self.at = at.strftime("%Y%m%dT%H%M%SZ")

    def payload(self, request: Any) -> str:
        return self._payload

    def sign(self, request: Any) -> str:
        """Add the headers; the signature."""
        request.context["timestamp"] = self.at
        request.headers["X-Amz-Date"] = self.at
        request.headers["X-Amz-Content-SHA256"] = self._payload
        text = self.string_to_sign(request, self.canonical_request(request))
        signature = self.signature(text, request)
        names = self.signed_headers(self.headers_to_sign(request))
        request.headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.scope(request)}, SignedHeaders={names}, "
            f"Signature={signature}"
        )
        return signature

    @property
    def key(self) -> bytes:
        """What signs chunks."""
        key = f"AWS4{self.credentials.secret_key}".encode()
        for part in (self.at[:8], "us-east-1", "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return key


def send(request: Any, body: bytes | None = None) -> tuple[int, str]:
    """Status and, of a refusal, its code."""
    headers = dict(request.headers.items())
    made = urllib.request.Request(request.url, body, headers, method=request.method)
    try:
        with urllib.request.urlopen(made, timeout=10) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        with error:
            text = error.read()
            return error.code, fromstring(text).findtext("Code", "") if text else ""


def put(served: Any, bucket: str, payload: str, **headers: str) -> Any:
    """A PUT of the key ``f`` that is still to be signed."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return AWSRequest("PUT", f"{served.s3}/{bucket}/f", headers=named)


def signed_chunks(signer: Signer, before: str, pieces: list[bytes], trailer: str = "") -> bytes:
    """*pieces* in signed chunks, and a signed trailer."""
    scope = f"{signer.at[:8]}/us-east-1/s3/aws4_request"
    found = b""
    for piece in [*pieces, b""]:
        digest = hashlib.sha256(piece).hexdigest()
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{signer.at}\n{scope}\n{before}\n{EMPTY}\n{digest}"
        before = hmac.new(signer.key, text.encode(), hashlib.sha256).hexdigest()
        found += b"%x;chunk-signature=%s\r\n%s" % (len(piece), before.encode(), piece)
        found += b"\r\n" if piece else b""
    if trailer:
        digest = hashlib.sha256(f"{trailer}\n".encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256-TRAILER\n{signer.at}\n{scope}\n{before}\n{digest}"
        before = hmac.new(signer.key, text.encode(), hashlib.sha256).hexdigest()
        found += f"{trailer}\r\nx-amz-trailer-signature:{before}\r\n".encode()
    return found + b"\r\n"


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def now() -> datetime:
    return datetime.now(UTC)


def content_of(served: Any, bucket: str) -> bytes | None:
    """What is stored under the key ``f``."""
    with served.http() as client:
        found = client.get(f"/dav/{bucket}/f")
        return found.content if found.status_code == 200 else None


@pytest.mark.parametrize("trailer", [False, True])
def test_chunks_are_each_held_against_their_signature(
    served: Any, bucket: str, trailer: bool
) -> None:
    pieces = [b"a" * 9000, b"b" * 10]
    whole = b"".join(pieces)
    payload = SIGNED + ("-TRAILER" if trailer else "")
    check = f"x-amz-checksum-crc32:{crc32(whole)}" if trailer else ""

    def chunked() -> tuple[Any, bytes]:
        told = {"x_amz_trailer": "x-amz-checksum-crc32"} if trailer else {}
        request = put(
            served, bucket, payload,
            x_amz_decoded_content_length=str(len(whole)),
            content_encoding="aws-chunked", **told,
        )  # fmt: skip
        signer = Signer(served, "alice", payload, now())
        return request, signed_chunks(signer, signer.sign(request), pieces, check)

    request, body = chunked()
    for wrong in (
        body.replace(b"aaaa", b"aaab", 1),
        body.replace(b"bbbb", b"bbbc", 1),
        body.replace(b"chunk-signature=", b"chunk-signature=0", 1),
        body.replace(b"2328;", b"2327;", 1),
        body[: body.index(b"0;chunk")] + b"\r\n",
        body[:500],
        *([body.replace(check.encode(), b"x-amz-checksum-crc32:AAAAAA==")] if trailer else []),
    ):
        status, code = send(request, wrong)
        assert status in (400, 403), (wrong[-300:], code)
    assert content_of(served, bucket) is None
    request, body = chunked()
    assert send(request, body) == (200, "")
    assert content_of(served, bucket) == whole


def test_C06_s3_a_body_without_a_signature_needs_one_around_it(served: Any, bucket: str) -> None:
    whole = b"hello" * 100
    body = b"%x\r\n%s\r\n0\r\n" % (len(whole), whole)
    body += f"x-amz-checksum-crc32:{crc32(whole)}\r\n\r\n".encode()
    told = {
        "x_amz_decoded_content_length": str(len(whole)),
        "x_amz_trailer": "x-amz-checksum-crc32",
        "content_encoding": "aws-chunked",
    }

    def request(**more: str) -> Any:
        return put(served, bucket, UNSIGNED_TRAILER, **told, **more)

    bare = request(x_amz_content_sha256=UNSIGNED_TRAILER)
    assert send(bare, body) == (403, "AccessDenied")
    forged = request()
    Signer(served, "alice", UNSIGNED_TRAILER, now()).sign(forged)
    text = forged.headers["Authorization"]
    del forged.headers["Authorization"]
    forged.headers["Authorization"] = text[:-4] + ("0000" if text[-4:] != "0000" else "1111")
    assert send(forged, body) == (403, "SignatureDoesNotMatch")
    nobody = request(
        authorization="AWS4-HMAC-SHA256 Credential=t-aaaaaaaaaaaaaaaaaaaaaaaaaa/"
        f"{now():%Y%m%d}/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;"
        f"x-amz-date;x-amz-decoded-content-length;x-amz-trailer, Signature={EMPTY}",
        x_amz_content_sha256=UNSIGNED_TRAILER,
        x_amz_date=f"{now():%Y%m%dT%H%M%SZ}",
    )
    assert send(nobody, body) == (403, "InvalidAccessKeyId")
    for wrong in (body.replace(b"hello", b"hellx", 1), body[: body.index(b"x-amz")] + b"\r\n"):
        good = request()
        Signer(served, "alice", UNSIGNED_TRAILER, now()).sign(good)
        assert send(good, wrong)[0] == 400
    assert content_of(served, bucket) is None
    good = request()
    Signer(served, "alice", UNSIGNED_TRAILER, now()).sign(good)
    assert send(good, body) == (200, "")
    assert content_of(served, bucket) == whole


def test_C06_s3_nothing_that_counts_goes_unsigned(served: Any, bucket: str) -> None:
    digest = hashlib.sha256(b"hello").hexdigest()
    signed = put(served, bucket, digest)
    Signer(served, "alice", digest, now()).sign(signed)
    signed.headers["x-amz-copy-source"] = f"/{bucket}/g"
    assert send(signed, b"hello") == (403, "AccessDenied")
    other = put(served, bucket, digest)
    Signer(served, "alice", digest, now()).sign(other)
    assert send(other, b"hellx") == (400, "XAmzContentSHA256Mismatch")
    other.url = other.url.replace("/f", "/g")
    assert send(other, b"hello") == (403, "SignatureDoesNotMatch")
    other = put(served, bucket, digest)
    Signer(served, "alice", digest, now()).sign(other)
    other.method = "DELETE"
    assert send(other) == (403, "SignatureDoesNotMatch")
    assert content_of(served, bucket) is None


@pytest.mark.parametrize(
    ("age", "code"),
    [(16, "RequestTimeTooSkewed"), (-16, "RequestTimeTooSkewed"), (14, ""), (-14, "")],
)
def test_C06_s3_a_signature_counts_for_minutes(
    served: Any, bucket: str, age: int, code: str
) -> None:
    request = put(served, bucket, EMPTY)
    Signer(served, "alice", EMPTY, now() - timedelta(minutes=age)).sign(request)
    assert send(request, b"") == ((403 if code else 200), code)


def test_C06_s3_a_presigned_address_opens_nothing_else(served: Any, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="f", Body=b"1")
    s3.put_object(Bucket=bucket, Key="g", Body=b"2")
    url = s3.generate_presigned_url(
        "get_object", Params={"Bucket": bucket, "Key": "f"}, ExpiresIn=60
    )
    last = "0" if url[-1] != "0" else "1"
    for changed in (
        url.replace("/f?", "/g?"),
        url[:-1] + last,
        url.replace("Expires=60", "Expires=6000"),
        url + "&versionId=1",
        url.replace("us-east-1", "us-east-2"),
    ):
        assert send(AWSRequest("GET", changed)) == (403, "SignatureDoesNotMatch"), changed
    for method in ("PUT", "DELETE"):
        assert send(AWSRequest(method, url), b"x") == (403, "SignatureDoesNotMatch")
    twice = send(AWSRequest("GET", url + "&X-Amz-Expires=9"))
    assert twice == (400, "InvalidArgument")
    both = AWSRequest("GET", url, headers={"authorization": "AWS4-HMAC-SHA256 x"})
    assert send(both) == (400, "InvalidArgument")
    assert send(AWSRequest("GET", url)) == (200, "")


def test_C06_s3_a_presigned_address_expires(
    served: Any, s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put_object(Bucket=bucket, Key="f", Body=b"1")
    past = (now() - timedelta(seconds=61)).replace(tzinfo=None)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: past)
    this = {"Bucket": bucket, "Key": "f"}
    old = s3.generate_presigned_url("get_object", Params=this, ExpiresIn=60)
    young = s3.generate_presigned_url("get_object", Params=this, ExpiresIn=120)
    weeks = s3.generate_presigned_url("get_object", Params=this, ExpiresIn=700_000)
    assert send(AWSRequest("GET", old)) == (403, "AccessDenied")
    assert send(AWSRequest("GET", young)) == (200, "")
    assert send(AWSRequest("GET", weeks)) == (400, "AuthorizationQueryParametersError")


def test_a_wrong_secret_and_a_revoked_key_open_nothing(served: Any, bucket: str) -> None:
    wrong = served.boto(secret="wrong")
    with pytest.raises(wrong.exceptions.ClientError, match="SignatureDoesNotMatch"):
        wrong.list_buckets()
    wrong.close()
    bearer = {"authorization": f"Bearer {served.tokens['carol']}"}
    with served.http() as client:
        made = client.post("/v1/files-keys", json={"name": "x"}, headers=bearer, auth=None).json()
        served.keys["short"] = (made["access_key_id"], made["secret_access_key"])
        boto = served.boto("short")
        boto.list_buckets()
        client.delete(f"/v1/tokens/{made['access_key_id']}", headers=bearer, auth=None)
        with pytest.raises(boto.exceptions.ClientError, match="InvalidAccessKeyId"):
            boto.list_buckets()
        boto.close()


PATHS = ["a//b", "../x", "a/../../x", "./x", "a/%2e%2e/x", "a\\b", "a/C:", "x.", "\x01", "é" * 600]


@pytest.mark.parametrize("key", PATHS)
def test_C01_s3_no_key_leads_elsewhere(served: Any, s3: Any, bucket: str, key: str) -> None:
    if key in ("a/%2e%2e/x", "a/C:"):  # such names are names here
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
        assert s3.get_object(Bucket=bucket, Key=key)["ContentLength"] == 0
        return
    with pytest.raises(s3.exceptions.ClientError) as error:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with pytest.raises(s3.exceptions.ClientError):
        s3.copy_object(Bucket=bucket, Key="x", CopySource={"Bucket": bucket, "Key": key})


@pytest.mark.parametrize("path", ["/%2e%2e/x", "/..%2fx", "/%ff/x", "/%zz", "//x", "/a/%c0%af"])
def test_C01_s3_no_address_leads_elsewhere(served: Any, path: str) -> None:
    host = urlsplit(served.url).netloc
    request = AWSRequest("GET", f"{served.s3}{path}", headers={"host": host})
    Signer(served, "alice", EMPTY, now()).sign(request)
    status, code = send(request)
    assert status in (400, 403), (status, code)


BOMBS = [
    b'<!DOCTYPE x [<!ENTITY a "aaaa">]><Delete><Object><Key>&a;</Key></Object></Delete>',
    b"<Delete>" + b"<Object>" * 100_000,
    b"<Delete>" + b"<Object><Key>x</Key></Object>" * 1001 + b"</Delete>",
    b"<Delete/>",
    b"",
    b"\x00",
]


@pytest.mark.parametrize("number", range(len(BOMBS)))
def test_bombs_in_xml_are_refused(served: Any, bucket: str, number: int) -> None:
    body = BOMBS[number]
    digest = hashlib.sha256(body).hexdigest()
    request = AWSRequest("POST", f"{served.s3}/{bucket}?delete=", data=body)
    Signer(served, "alice", digest, now()).sign(request)
    assert send(request, body) == (400, "MalformedXML")
