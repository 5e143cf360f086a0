"""A page as somebody who is signed in sees it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from downstage.testing.platform import PlatformProcess

__all__ = ["TEXT", "SignedInPage"]

TEXT = "(document.body?.innerText ?? '')"


class SignedInPage:
    """One tab of a browser, at pages of one platform."""

    def __init__(self, browser: Any, platform: PlatformProcess) -> None:
        self.browser = browser
        self.platform = platform

    async def open(self, path: str, token: str | None = None) -> None:
        """Open *path* with *token*; without one, as the platform's user."""
        kept = json.dumps(
            {"token": token or self.platform.facts["token"], "expires_at": "2100-01-01T00:00:00Z"}
        )
        await self.browser.navigate(f"{self.platform.url}/favicon.svg")
        await self.until("location.pathname === '/favicon.svg'")
        await self.browser.evaluate(f"sessionStorage.setItem('downstage.token', {kept!r})")
        await self.browser.navigate(f"{self.platform.url}{path}")

    async def until(self, expression: str, seconds: float = 20) -> Any:
        """The first true value of *expression*; fails with what the page shows instead."""
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            try:
                value = await self.browser.evaluate(f"(async () => {expression})()")
            except RuntimeError as error:
                if "navigated" not in str(error):
                    raise
                value = None  # the page went in this very moment: the next is asked
            if value:
                return value
            await asyncio.sleep(0.05)
        shown = await self.browser.evaluate(TEXT)
        pytest.fail(f"never came true: {expression}; the page: {shown} {self.browser.console}")
