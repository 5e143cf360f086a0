"""What costs more than it should, and what readers must not be able to do, by S3 and WebDAV."""

from __future__ import annotations

from contextlib import closing
from typing import Any
from xml.etree.ElementTree import fromstring

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

pytestmark = pytest.mark.real

SHARED = (
    '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:shared/></D:lockscope>'
    "<D:locktype><D:write/></D:locktype></D:lockinfo>"
)
MIB = 1024 * 1024


def as_admin(served: Any, method: str, path: str, body: dict[str, Any]) -> None:
    headers = {"authorization": f"Bearer {served.tokens['admin']}"}
    answer = httpx.request(method, served.url + path, json=body, headers=headers)
    assert answer.is_success, answer.text


def refusal(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def test_C07_dav_who_may_only_read_shares_no_lock(served: Any, folder: Any) -> None:
    client, base = folder
    path = f"{base}/f"
    assert client.put(path, content=b"1").status_code == 201
    entries = [{"principal": "user:carol", "allow": 1, "deny": 2}]
    body = {"path": path.removeprefix("/dav"), "items": entries}
    as_admin(served, "PUT", "/v1/files-acl", body)
    first = client.request("LOCK", path, content=SHARED)
    assert first.status_code == 200
    with served.http("carol") as carol:
        assert carol.get(path).status_code == 200
        assert carol.request("LOCK", path, content=SHARED).status_code == 403
    with served.http("bob") as bob:
        assert bob.request("LOCK", path, content=SHARED).status_code == 200


def test_a_listing_does_not_search_for_every_beginning_of_a_prefix(served: Any, fresh: str) -> None:
    with closing(served.boto()) as boto:
        boto.create_bucket(Bucket=fresh)
        for name in ("Prefix", "StartAfter", "Delimiter"):
            given = {name: "a" + "!" * 20_000}
            assert refusal(boto.list_objects_v2, Bucket=fresh, **given) == "KeyTooLongError"
        assert refusal(boto.list_object_versions, Bucket=fresh, Prefix="!" * 2000)
        found = boto.list_objects_v2(Bucket=fresh, Prefix="a" + "!" * 1000)
        assert found["KeyCount"] == 0


def test_parts_of_what_cannot_be_completed_are_refused(served: Any, fresh: str) -> None:
    with closing(served.boto()) as boto:
        boto.create_bucket(Bucket=fresh)
        quota = {"path": f"/{fresh}", "max_bytes": MIB}
        as_admin(served, "PUT", "/v1/files-usage", quota)
        key = {"Bucket": fresh, "Key": "f"}
        key["UploadId"] = boto.create_multipart_upload(**key)["UploadId"]
        boto.upload_part(**key, PartNumber=1, Body=bytes(MIB))
        boto.upload_part(**key, PartNumber=1, Body=bytes(MIB))
        assert refusal(boto.upload_part, **key, PartNumber=2, Body=b"x") == "QuotaExceeded"


def chunked(served: Any, url: str, body: bytes, size: int) -> httpx.Response:
    """A PUT whose body is in chunks that nobody signed."""
    kind = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    headers = {
        "x-amz-content-sha256": kind,
        "x-amz-decoded-content-length": str(size),
        "x-amz-trailer": "x-amz-checksum-crc32",
    }
    request = AWSRequest("PUT", url, headers=headers)
    auth = SigV4Auth(Credentials(*served.keys["alice"]), "s3", "us-east-1")
    auth.payload = lambda _: kind  # type: ignore[method-assign]
    auth.add_auth(request)
    return httpx.put(url, content=body, headers=dict(request.headers))


def test_a_body_is_not_made_of_crumbs(served: Any, fresh: str) -> None:
    with closing(served.boto()) as boto:
        boto.create_bucket(Bucket=fresh)
    body = b"1\r\nx\r\n" * 1001 + b"0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
    found = chunked(served, f"{served.s3}/{fresh}/f", body, 1001)
    assert found.status_code == 400
    assert fromstring(found.content).findtext("Code") == "InvalidChunkSizeError"
