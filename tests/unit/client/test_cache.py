"""The cache by hash, and the breaker that spares dead servers."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from downstage.client.cache import Cache, hash_of
from downstage.client.http import Breaker
from downstage.kernel.errors import Unavailable

pytestmark = pytest.mark.unit


def put(cache: Cache, data: bytes) -> str:
    digest = hash_of(data)
    assert cache.put(digest, data) is not None
    return digest


def test_what_is_put_is_found(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c", 1000)
    digest = put(cache, b"bytes")
    assert cache.get(digest) == b"bytes"
    path = cache.path(digest)
    assert path is not None
    assert path.read_bytes() == b"bytes"
    assert path.stat().st_mode & 0o777 == 0o400
    assert cache.get(hash_of(b"other")) is None
    assert cache.get("../../etc/passwd") is None


def test_what_was_changed_is_not_believed(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 1000)
    path = cache.path(put(cache, b"bytes"))
    assert path is not None
    path.chmod(0o600)
    path.write_bytes(b"evil!")
    assert cache.get(hash_of(b"bytes")) is None
    assert not path.exists()


def test_it_is_bounded_and_forgets_what_was_used_longest_ago(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 1000)
    old, used = put(cache, b"o" * 400), put(cache, b"u" * 400)
    now = time.time()
    for digest, age in ((old, 200), (used, 300)):
        path = cache.path(digest)
        assert path is not None
        os.utime(path, (now - age, now - age))
    assert cache.get(used) is not None
    new = put(cache, b"n" * 400)
    assert [cache.get(digest) is not None for digest in (old, used, new)] == [False, True, True]
    assert sum(path.stat().st_size for path in tmp_path.glob("??/*")) <= 1000
    assert cache.put(hash_of(b"x" * 2000), b"x" * 2000) is None


def test_without_room_nothing_is_kept(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 0)
    assert not cache.is_kept
    assert cache.put(hash_of(b"x"), b"x") is None


def test_a_dead_server_is_not_asked_for_a_while() -> None:
    breaker = Breaker(60)
    breaker.check()
    breaker.failed("no route")
    with pytest.raises(Unavailable, match="no route"):
        breaker.check()
    breaker.reset()
    breaker.check()
    soon = Breaker(0.001)
    soon.failed("x")
    time.sleep(0.002)
    soon.check()
