"""The page on transports: its samples run, its figures are the code's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from downstage.services.transports import MAX_ANSWER, MAX_MESSAGE, known_schemes, pool
from downstage.services.transports import http as http_transport
from downstage.services.transports.exchange import HIGH_WATER

pytestmark = [pytest.mark.contract]

PAGE = (Path(__file__).parents[3] / "docs/reference/transports.md").read_text(encoding="utf-8")


def test_the_samples_run() -> None:
    samples = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(samples) == 2
    names: dict[str, Any] = {}
    try:
        for sample in samples:
            exec(compile(sample, "transports.md", "exec"), names)
    finally:
        http_transport.use_tls(http_transport.TlsOptions())
    assert names["book"] == {"title": "The Stage"}


def test_the_figures_hold() -> None:
    for figure, value in (
        ("64 MiB (`MAX_ANSWER`)", MAX_ANSWER / 2**20 == 64),
        ("16 MiB (`MAX_MESSAGE`)", MAX_MESSAGE / 2**20 == 16),
        ("256 KiB, or 1024", HIGH_WATER / 2**10 == 256),
        ("| 256; more calls wait", pool.MAX_CALLS == 256),
        ("| 4096 |", pool.MAX_CHANNELS == 4096),
        ("| to connect | 10 s |", http_transport.CONNECT_S == 10),
    ):
        assert figure in PAGE
        assert value, figure


def test_every_scheme_is_on_the_page() -> None:
    for scheme in known_schemes():
        assert f"{scheme}://" in PAGE
