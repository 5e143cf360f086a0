"""Listings in S3's order, against a plain sorted list."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from downstage.content.dialects.s3_listing import Wish, page_of
from downstage.content.model import Caller
from downstage.content.service import open_content
from downstage.kernel.clock import ManualClock

pytestmark = pytest.mark.unit

PART = st.text(alphabet="a-0", min_size=1, max_size=2)
"""Few letters, around the slash: names are often beginnings of others."""
KEY = st.lists(PART, min_size=1, max_size=3).map("/".join)
ADA = Caller("ada", "Ada")


def fit(keys: set[str]) -> list[str]:
    """Without keys that another key has as a folder."""
    return sorted(k for k in keys if not any(other.startswith(k + "/") for other in keys))


def expected(keys: list[str], wish: Wish) -> list[str]:
    """As the protocol says it."""
    found: dict[str, None] = {}
    for key in keys:
        if not key.startswith(wish.prefix):
            continue
        at = key.find(wish.delimiter, len(wish.prefix)) if wish.delimiter else -1
        told = key if at < 0 else key[: at + len(wish.delimiter)]
        if key > wish.after and (at < 0 or told != wish.after):
            found[told] = None
    return list(found)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    keys=st.sets(KEY, min_size=1, max_size=12).map(fit),
    prefix=st.one_of(st.just(""), KEY, PART),
    delimiter=st.sampled_from(["", "/", "-"]),
    most=st.integers(1, 4),
)
@example(keys=["a-/b", "a/b"], prefix="", delimiter="", most=1)
@example(keys=["a-/b", "a/b"], prefix="", delimiter="/", most=1)
@example(keys=["a-b", "a/-", "a/b/c", "a0"], prefix="a", delimiter="", most=2)
def test_pages_are_the_sorted_keys(keys: list[str], prefix: str, delimiter: str, most: int) -> None:
    anyio.run(compare, keys, prefix, delimiter, most)


async def compare(keys: list[str], prefix: str, delimiter: str, most: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    content = await open_content(folder, clock=ManualClock())
    try:
        async with anyio.create_task_group() as tasks:
            for key in keys:
                tasks.start_soon(content.write, ADA, f"/b/{key}", b"")
        for start in ["", *keys, prefix]:
            whole = Wish(prefix, delimiter, start)
            found: list[str] = []
            wish = whole
            while True:
                page = await page_of(content, ADA, "b", wish, most)
                found += [item.key for item in page.items]
                if not page.truncated:
                    break
                assert len(page.items) == most
                wish = Wish(prefix, delimiter, page.items[-1].key)
            assert found == expected(keys, whole), whole
    finally:
        await content.close()
        shutil.rmtree(folder, ignore_errors=True)
