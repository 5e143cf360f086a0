"""Folder markers of S3: empty objects whose keys end with a slash.

obstore cannot name them (its keys end with no slash), so these few requests are signed here.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from downstage.client.http import Http
from downstage.client.options import Options, S3Options
from downstage.client.origins import Origin
from downstage.client.url_parts import encode
from downstage.kernel import errors

__all__ = ["Markers"]

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""SHA-256 of nothing."""
MISSING = 404


class Markers:
    """Of one bucket.

    Args:
        bucket: its name.
        found: how it is reached.
        options: of the client.
    """

    def __init__(self, bucket: str, found: S3Options, options: Options) -> None:
        region = found.region or os.environ.get("AWS_REGION", "us-east-1")
        endpoint = found.endpoint or os.environ.get("AWS_ENDPOINT_URL", "")
        if endpoint and found.path_style:
            self._base = f"{endpoint.rstrip('/')}/{bucket}"
        else:
            self._base = f"https://{bucket}.s3.{region}.amazonaws.com"
        self._found = found
        self._region = region
        parsed = urlsplit(self._base)
        host = parsed.hostname or ""
        port = parsed.port or (80 if parsed.scheme == "http" else 443)
        self._http = Http(Origin(parsed.scheme, host, port), options)

    async def put(self, key: str) -> None:
        """Leave one."""
        await self._send("PUT", key)

    async def has(self, key: str) -> bool:
        """Whether there is one."""
        return await self._send("HEAD", key) != MISSING

    async def remove_below(self, key: str) -> None:
        """Take the one of *key* away; S3 says nothing where there was none."""
        await self._send("DELETE", key)

    async def close(self) -> None:
        """Close connections."""
        await self._http.close()

    async def _send(self, method: str, key: str) -> int:
        url = f"{self._base}/{encode(key, '/')}/"
        headers = self._signed(method, url)
        allowed = frozenset({MISSING})
        async with self._http.request(
            method, url, headers=headers, allowed=allowed, is_anonymous=True
        ) as response:
            return response.status

    def _signed(self, method: str, url: str) -> dict[str, str]:
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        key = self._found.access_key_id or os.environ.get("AWS_ACCESS_KEY_ID", "")
        secret = self._found.secret_access_key or os.environ.get("AWS_SECRET_ACCESS_KEY", "")
        if not key:
            raise errors.NotSupported("Without a key of S3, folders are made by what lies in them.")
        request = AWSRequest(method=method, url=url, headers={"X-Amz-Content-SHA256": EMPTY})
        token = None if self._found.access_key_id else os.environ.get("AWS_SESSION_TOKEN")
        signer: Any = S3SigV4Auth(Credentials(key, secret, token), "s3", self._region)
        signer.add_auth(request)
        return dict(request.headers.items())
