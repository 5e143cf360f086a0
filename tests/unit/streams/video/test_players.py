"""Nobody plays what is published by RTMP but ourselves."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from downstage.streams.video.rtmp import Rtmp

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


@pytest.mark.parametrize("name", ["cam", "p-", "k\xe9y", "\ud800", ""])
async def test_any_guessed_name_is_refused(tmp_path: Path, name: str) -> None:
    nothing: Any = None
    rtmp = Rtmp(nothing, nothing, tmp_path, host="127.0.0.1", port=1, start=print)
    published: Any = SimpleNamespace(name="p-secret")
    rtmp._publishers["1"] = published  # pyright: ignore[reportPrivateUsage]

    async def post(asked: str = name) -> dict[str, str]:
        return {"name": asked}

    async def ours() -> dict[str, str]:
        return await post("p-secret")

    requests: list[Any] = [SimpleNamespace(post=post), SimpleNamespace(post=ours)]
    answers = [await rtmp._on_play(request) for request in requests]  # pyright: ignore[reportPrivateUsage]
    assert [answer.status for answer in answers] == [403, 200]
