"""A mounted bucket: of our own S3 dialect, which stands for any object store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from downstage.content.limits import Limits
from downstage.content.model import Access, Caller, Flags
from downstage.content.mounts.links import Rules
from downstage.content.service import Content, open_content
from downstage.kernel.clock import SystemClock
from downstage.kernel.errors import Forbidden, NotFound, NotSupported, Upstream, WrongType

pytestmark = [pytest.mark.real, pytest.mark.anyio]

ADA = Caller("u-0", "Ada", may=Access.READ | Access.WRITE | Access.ADMIN)


@pytest.fixture
async def content(
    data: Path, served: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Content]:
    key, secret = served.keys["alice"]
    for name, value in (
        ("AWS_ENDPOINT_URL", served.s3),
        ("AWS_ACCESS_KEY_ID", key),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_REGION", "us-east-1"),
        ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "false"),
    ):
        monkeypatch.setenv(name, value)
    limits = Limits(mounts=Rules(hosts=[f"s3://{bucket}"]))
    content = await open_content(data / "content", clock=SystemClock(), limits=limits)
    yield content
    await content.close()


async def read(content: Content, path: str, *part: int) -> bytes:
    async with await content.read(ADA, path) as reading:
        return b"".join([piece async for piece in reading.pieces(*part)])


async def test_a_bucket_shows_in_the_tree(content: Content, s3: Any, bucket: str) -> None:
    big = bytes(range(256)) * 8000
    s3.put_object(Bucket=bucket, Key="top/a.usd", Body=b"hello")
    s3.put_object(Bucket=bucket, Key="top/sub/big.bin", Body=big)
    s3.put_object(Bucket=bucket, Key="beside", Body=b"not shown")
    await content.mounts.mount(ADA, "/s3", f"s3://{bucket}/top")
    page = await content.list(ADA, "/s3")
    assert [(one.path, one.kind, one.size) for one in page.entries] == [
        ("/s3/a.usd", "file", 5),
        ("/s3/sub", "folder", 0),
    ]
    entry = await content.stat(ADA, "/s3/sub/big.bin")
    assert (entry.size, entry.access) == (len(big), Access.READ)
    assert entry.flags & Flags.IS_INSIDE_MOUNT
    assert (await content.stat(ADA, "/s3/sub")).kind == "folder"
    assert await read(content, "/s3/sub/big.bin") == big
    assert await read(content, "/s3/sub/big.bin", 1000, 99_000) == big[1000:99_000]
    for path in ("/s3/none", "/s3/su", "/s3/beside"):
        with pytest.raises(NotFound):
            await content.stat(ADA, path)
    with pytest.raises(WrongType):
        await content.read(ADA, "/s3/sub")
    with pytest.raises(Forbidden):
        await content.write(ADA, "/s3/a.usd", b"x")
    await content.obliterate(ADA, "/s3")
    assert s3.get_object(Bucket=bucket, Key="top/a.usd")["Body"].read() == b"hello"


async def test_a_writable_bucket(content: Content, s3: Any, bucket: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(80):
            yield b"x" * 100_000

    await content.mounts.mount(ADA, "/s3", f"s3://{bucket}", writable=True)
    entry = await content.write(ADA, "/s3/deep/er/big", pieces())
    assert entry.size == 8_000_000
    await content.write(ADA, "/s3/deep/small", b"small")
    assert s3.get_object(Bucket=bucket, Key="deep/small")["Body"].read() == b"small"
    with pytest.raises(NotSupported):
        await content.create_folder(ADA, "/s3/empty")
    await content.delete(ADA, "/s3/deep/small")
    with pytest.raises(NotFound):
        await content.stat(ADA, "/s3/deep/small")
    await content.delete(ADA, "/s3/deep")
    assert (await content.list(ADA, "/s3")).entries == []


async def test_a_bucket_that_refuses(
    content: Content, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    await content.mounts.mount(ADA, "/s3", f"s3://{bucket}")
    with pytest.raises((Forbidden, Upstream)):
        await content.list(ADA, "/s3")
