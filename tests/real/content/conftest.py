"""One content service for all modules here, in a process of its own, and real clients of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config

PROGRAM = """
import json, sys
from pathlib import Path
import anyio
from downstage.testing.content import PEOPLE, content_server

async def main():
    async with content_server(Path(sys.argv[1])) as server:
        keys = {}
        for name in PEOPLE:
            principal = await server.host.authenticator.principal(server.token(name))
            made = await server.identity.files_keys.make(principal, "tests", None, None)
            keys[name] = [made.access_key_id, made.secret_access_key]
        people = {"url": server.url, "origin": server.origin_url, "tokens": server.tokens}
        people["keys"] = keys
        with open(int(sys.argv[2]), "w") as told:
            json.dump(people, told)
        await anyio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)

anyio.run(main)
"""
START_S = 60
CLIENT_S = 30


@dataclass(frozen=True)
class Served:
    """The service, as clients reach it."""

    url: str
    origin: str
    tokens: dict[str, str]
    keys: dict[str, tuple[str, str]]

    @property
    def dav(self) -> str:
        return self.url + "/dav"

    @property
    def s3(self) -> str:
        return self.url + "/s3"

    def http(self, name: str = "alice", **options: Any) -> httpx.Client:
        """A client that signs in as a desktop does."""
        return httpx.Client(auth=self.keys[name], base_url=self.url, timeout=CLIENT_S, **options)

    def boto(self, name: str = "alice", secret: str = "", **options: Any) -> Any:
        """boto3's client; close it."""
        key, known = self.keys[name]
        options = {"signature_version": "s3v4", "retries": {"max_attempts": 1}, **options}
        return boto3.client(
            "s3",
            endpoint_url=self.s3,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret or known,
            config=Config(s3={"addressing_style": "path"}, **options),
        )


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """The service; each test works below names of its own."""
    data = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    log = data / "log"
    reading, writing = os.pipe()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(data / "data"), str(writing)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            pass_fds=[writing],
        )
    os.close(writing)
    try:
        with os.fdopen(reading) as told:
            text = told.read()
        assert text, log.read_text()
        facts = json.loads(text)
        keys = {name: (pair[0], pair[1]) for name, pair in facts["keys"].items()}
        served = Served(facts["url"], facts["origin"], facts["tokens"], keys)
        _warm(served)
        yield served
    finally:
        process.communicate(timeout=START_S)
        shutil.rmtree(data, ignore_errors=True)


def _warm(served: Served) -> None:
    """Clients that keep threads for ever start them here, not within a test."""
    import obstore

    client = served.boto()
    client.create_bucket(Bucket="warm")
    client.close()
    assert obstore.list(store(served, "warm")).collect() == []


def store(served: Served, bucket: str) -> Any:
    """obstore's store of *bucket*."""
    from obstore.store import S3Store

    key, secret = served.keys["alice"]
    return S3Store(
        bucket,
        endpoint=served.s3,
        access_key_id=key,
        secret_access_key=secret,
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )


@pytest.fixture
def fresh() -> str:
    """A name that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def s3(served: Served) -> Iterator[Any]:
    """boto3's client, as alice."""
    client = served.boto()
    yield client
    client.close()


@pytest.fixture
def bucket(s3: Any, fresh: str) -> str:
    """A bucket of the test's own."""
    s3.create_bucket(Bucket=fresh)
    return fresh


@pytest.fixture
def obstore_of(served: Served) -> Any:
    """Makes obstore's stores, by bucket."""
    return lambda bucket: store(served, bucket)


@pytest.fixture
def folder(served: Served, fresh: str) -> Iterator[tuple[httpx.Client, str]]:
    """An HTTP client and the address of a new folder for it."""
    with served.http() as client:
        assert client.request("MKCOL", f"/dav/{fresh}").status_code == 201
        yield client, f"/dav/{fresh}"


@pytest.fixture
def rclone(served: Served, tmp_path: Path) -> Any:
    """Runs rclone with the remotes ``s3:`` and ``dav:``; answers its output."""
    key, secret = served.keys["alice"]
    quiet = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "RCLONE_CONFIG": os.devnull}
    obscured = subprocess.run(
        ["rclone", "obscure", secret], env=quiet, capture_output=True, text=True, check=True
    ).stdout.strip()
    remotes = {
        "S3": {
            "TYPE": "s3",
            "PROVIDER": "Other",
            "ACCESS_KEY_ID": key,
            "SECRET_ACCESS_KEY": secret,
            "ENDPOINT": served.s3,
            "FORCE_PATH_STYLE": "true",
        },
        "DAV": {
            "TYPE": "webdav",
            "URL": served.dav,
            "VENDOR": "other",
            "USER": key,
            "PASS": obscured,
        },
    }
    for remote, facts in remotes.items():
        quiet |= {f"RCLONE_CONFIG_{remote}_{name}": value for name, value in facts.items()}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            ["rclone", "--retries=1", *arguments],
            env=quiet,
            capture_output=True,
            text=True,
            check=False,
            timeout=CLIENT_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
