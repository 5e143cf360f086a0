"""ovstorage, NVIDIA's public client, over its S3 and its WebDAV backend."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.real

PROGRAM = """
import asyncio, json, sys
import ovstorage
from ovstorage import ConfigValue, ConnectionRequest, SecretValue, Stack

kind, base, config, secrets = json.loads(sys.argv[1])

async def main():
    request = ConnectionRequest(kind)
    for name, value in config.items():
        made = ConfigValue.bool_(value) if isinstance(value, bool) else ConfigValue.string(value)
        request.add_config(name, made)
    for name, value in secrets.items():
        request.add_credential(name, SecretValue.bytes(value.encode()))
    stack = Stack(root="follow")
    stack = stack.with_registry(ovstorage.PluginRegistry([ovstorage.bundled_plugins_dir()]))
    stack = stack.backend(ovstorage.plugin.PluginBackend(kind))
    stack = stack.wrapper(ovstorage.redirect_follower.RedirectFollower("follow", kind))
    stack = await stack.connection(kind, request).build()
    told = {}

    async def tell(name, call):
        try:
            told[name] = await call
        except ovstorage.Error as error:
            told[name] = type(error).__name__
        return told[name]

    await stack.write(base + "d/e/f.txt", b"hello")
    told["read"] = (await stack.read_bytes(base + "d/e/f.txt"))[0].decode()
    told["stat"] = (await stack.stat(base + "d/e/f.txt")).size
    page = await stack.list(base + "d/")
    told["list"] = [item.address.removeprefix(base) for item in page.items]
    await stack.copy(base + "d/e/f.txt", base + "d/g.txt")
    told["copy"] = (await stack.read_bytes(base + "d/g.txt"))[0].decode()
    once = await tell("once", stack.write(base + "d/g.txt", b"x", if_dest_exists="fail"))
    told["once"] = once if isinstance(once, str) else "written"
    versions = await tell("versions", stack.list_versions(base + "d/g.txt"))
    told["versions"] = versions if isinstance(versions, str) else len(versions.items)
    moved = await tell("rename", stack.rename(base + "d/g.txt", base + "h.txt"))
    told["rename"] = moved if isinstance(moved, str) else "done"
    await stack.delete(base + ("d/g.txt" if isinstance(moved, str) else "h.txt"))
    await tell("gone", stack.stat(base + "h.txt"))
    print(json.dumps(told))

asyncio.run(main())
"""


def run(kind: str, base: str, config: dict[str, Any], secrets: dict[str, str]) -> dict[str, Any]:
    """What the client came to; its runtime keeps threads, so it has a process of its own."""
    asked = json.dumps([kind, base, config, secrets])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, asked],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_its_s3_backend_works_at_the_content_origin(served: Any, bucket: str) -> None:
    key, secret = served.keys["alice"]
    config = {
        "bucket": bucket,
        "region": "us-east-1",
        "endpoint": served.origin,
        "compatibility_profile": "custom",
        "force_path_style": True,
    }
    secrets = {"aws_access_key_id": key, "aws_secret_access_key": secret}
    assert run("s3", f"s3://{bucket}/", config, secrets) == {
        "read": "hello",
        "stat": 5,
        "list": ["d/e/"],
        "copy": "hello",
        "once": "PreconditionFailedError",
        "versions": 1,
        "rename": "done",
        "gone": "NotFoundError",
    }


def test_its_webdav_backend_works(served: Any, bucket: str) -> None:
    key, secret = served.keys["alice"]
    config = {
        "service": "webdav",
        "endpoint": f"{served.dav}/{bucket}",
        "config_json": json.dumps({"username": key}),
    }
    assert run("opendal", "opendal://webdav/", config, {"password": secret}) == {
        "read": "hello",
        "stat": 5,
        "list": ["d/e/"],
        "copy": "hello",
        "once": "UnsupportedError",
        "versions": "UnsupportedError",
        "rename": "UnsupportedError",
        "gone": "NotFoundError",
    }


def test_at_the_content_origin_only_what_is_signed_is_s3s(served: Any, bucket: str) -> None:
    with served.http() as client:
        unsigned = client.get(f"{served.origin}/{bucket}", auth=None)
        assert "<Error>" not in unsigned.text
        assert unsigned.status_code in (401, 403, 404)
        forged = {"authorization": "AWS4-HMAC-SHA256 x"}
        refused = client.get(f"{served.origin}/{bucket}", headers=forged, auth=None)
        assert (refused.status_code, "AccessDenied" in refused.text) == (403, True)
