"""Pages that show a description: drawn in a real browser, from this machine alone."""

from __future__ import annotations

from typing import Any

import pytest

from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.browser, pytest.mark.anyio, pytest.mark.timeout(120)]


@pytest.mark.parametrize(
    ("page", "operation"),
    [("/docs", "/v1/sessions"), ("/backend/api-docs", "/session-service/session")],
)
async def test_a_page_shows_its_operations(
    platform: PlatformProcess, open_page: Any, page: str, operation: str
) -> None:
    async with open_page(platform.url + page) as shown:
        paths = "[...document.querySelectorAll('.opblock [data-path]')].map(e => e.dataset.path)"
        await shown.until(f"{paths}.includes('{operation}')")
