"""The administration page: documents of the data server's clients, edited by one of two people."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.browser.viewer.signed_in import TEXT, SignedInPage
from tests.browser.viewer.tabs import Tab

from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.browser, pytest.mark.anyio, pytest.mark.timeout(120)]

SIZE = (1280, 800)
PHONE = (390, 844)
AREA = "document.querySelector('.editor textarea')"
CTRL = 2
CAKE = {
    "name": "Pinwheels",
    "ingredients": ["1 flour tortilla", "peanut butter", "jelly"],
    "tools": ["cutting board", "butter knife"],
    "instructions": ["Lay the tortilla on the board.", "Spread the peanut butter.", "Roll it up."],
}


class AdminPage(SignedInPage):
    """The page as somebody who is signed in sees it."""

    async def go(self, path: str, token: str) -> None:
        """Open *path* with *token*."""
        await self.open(path, token)

    async def press(self, words: str, where: str = "body") -> None:
        """Press the button with exactly these *words*."""
        find = (
            f"[...document.querySelectorAll('{where} button')]"
            f".find(b => b.innerText.trim() === {words!r})"
        )
        await self.until(f"!!{find} && !{find}.disabled")
        await self.browser.evaluate(f"{find}.click()")

    async def choose(self, words: str) -> None:
        """Click the document that says *words*."""
        find = (
            "[...document.querySelectorAll('.document')]"
            f".find(b => b.innerText.includes({words!r}))"
        )
        await self.until(f"!!{find}")
        await self.browser.evaluate(f"{find}.click()")

    async def replace(self, old: str, new: str) -> None:
        """Select *old* in the editor and type *new* over it, as a keyboard does."""
        await self.until(f"!!{AREA} && {AREA}.value.includes({old!r})")
        await self.browser.evaluate(
            f"(a => {{ a.focus(); const at = a.value.indexOf({old!r});"
            f" a.setSelectionRange(at, at + {len(old)}); }})({AREA})"
        )
        await self.browser.call("Input.insertText", text=new)

    async def save(self) -> None:
        """Press Ctrl+S."""
        for kind in ("rawKeyDown", "keyUp"):
            await self.browser.call(
                "Input.dispatchKeyEvent", type=kind, modifiers=CTRL, key="s", code="KeyS",
                windowsVirtualKeyCode=83,
            )  # fmt: skip

    async def fits(self) -> None:
        """Nothing of the page is beyond its right edge."""
        wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        assert await self.browser.evaluate(wide)


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where screenshots are kept: pytest's own folder of this test, or the one that is named."""
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@asynccontextmanager
async def admin_page(
    platform: PlatformProcess, path: str, token: str = "", size: tuple[int, int] = SIZE
) -> AsyncGenerator[AdminPage]:
    async with Tab(size) as browser:
        page = AdminPage(browser, platform)
        await page.go(path, token or operator(platform))
        yield page


def operator(platform: PlatformProcess) -> str:
    """A token that may do everything."""
    return (platform.data / "run" / "operator.token").read_text(encoding="ascii")


def make(platform: PlatformProcess, id_: str, **fields: Any) -> None:
    made = platform.call("POST", "/recipes", {"_id": id_, **CAKE, **fields})
    assert made.status == 200, made.body


def recipe(platform: PlatformProcess, id_: str) -> Any:
    return platform.call("GET", f"/recipes/{id_}").body


async def test_a_recipe_of_a_client_is_shown_edited_and_deleted(
    platform: PlatformProcess, shots: Path
) -> None:
    make(platform, "pinwheels")
    make(platform, "65b2c1d4e8f0a1b2c3d4e5f6", name="Coffee", ingredients=["water", "coffee"])
    make(platform, "mug cake/2", name="Mug cake")
    platform.call("PUT", "/sessions/recipe/pinwheels")
    async with admin_page(platform, "/") as page:
        await page.until(f"{TEXT}.includes('Admin')")
        await page.browser.evaluate("document.querySelector('nav a[href=\"/admin\"]').click()")
        await page.until("location.pathname === '/admin'")
        await page.choose("Mug cake")
        await page.until("location.pathname === '/admin/recipes/mug%20cake%2F2'")
        await page.choose("Pinwheels")
        await page.until(f"{AREA}?.value.includes('1 flour tortilla')")
        # What is wrong is told with its place, and is not saved.
        await page.replace('"Pinwheels",', '"Nut pinwheels"')
        await page.until(f"{TEXT}.includes('Line 3, column 3')")
        await page.browser.screenshot(shots / "admin-fault.png")
        await page.save()
        assert recipe(platform, "pinwheels")["name"] == "Pinwheels"
        # Leaving it asks first.
        await page.choose("Coffee")
        await page.until(f"{TEXT}.includes('Leave without saving?')")
        await page.press("Cancel")
        await page.replace('"Nut pinwheels"', '"Nut pinwheels",')
        await page.until(f"{TEXT}.includes('Valid JSON')")
        await page.save()
        await page.until(f"{TEXT}.includes('Saved')")
        assert recipe(platform, "pinwheels")["name"] == "Nut pinwheels"
        named = "[...document.querySelectorAll('.document b')].map(b => b.innerText)"
        await page.until(f"{named}.includes('Nut pinwheels') && !{named}.includes('Pinwheels')")
        await page.until("document.querySelector('dialog') === null")
        await page.browser.screenshot(shots / "admin.png")
        # The filter finds any text.
        await page.browser.evaluate("document.querySelector('aside input').focus()")
        await page.browser.call("Input.insertText", text="COFFEE")
        await page.until(f"{TEXT}.includes('1 of ')")
        await page.press("Delete", ".pane")
        await page.press("Delete", "dialog")
        await page.until("location.pathname === '/admin/recipes'")
        assert recipe(platform, "pinwheels") is None
        await page.browser.evaluate("history.back()")
        await page.until(f"{TEXT}.includes('There is no document pinwheels.')")
        assert page.browser.console == []


async def test_two_people_at_one_document(platform: PlatformProcess, shots: Path) -> None:
    make(platform, "shared", name="Waffles")
    async with admin_page(platform, "/admin/recipes/shared") as page:
        await page.replace("Waffles", "Mine")
        platform.call("PUT", "/recipes/shared", {"name": "Theirs"})
        await page.save()
        await page.until(f"{TEXT}.includes('Changed meanwhile')")
        await page.until(
            "document.querySelector('.diff .gone').innerText.includes('Theirs')"
            " && document.querySelector('.diff .new').innerText.includes('Mine')"
        )
        await page.browser.screenshot(shots / "admin-conflict.png")
        assert recipe(platform, "shared")["name"] == "Theirs"
        await page.press("Overwrite theirs")
        await page.until(f"{TEXT}.includes('Saved')")
        assert recipe(platform, "shared")["name"] == "Mine"
        await page.replace("Mine", "Mine again")
        platform.call("PUT", "/recipes/shared", {"name": "Theirs again"})
        await page.save()
        await page.press("Take theirs, drop mine")
        await page.until(f"{AREA}.value.includes('Theirs again')")
        await page.replace("Theirs again", "Last")
        platform.call("DELETE", "/recipes/shared")
        await page.save()
        await page.until(f"{TEXT}.includes('Deleted meanwhile')")
        await page.press("Save it again")
        await page.until(f"{TEXT}.includes('Saved')")
        assert recipe(platform, "shared")["name"] == "Last"


async def test_a_new_document_on_a_phone(platform: PlatformProcess, shots: Path) -> None:
    make(platform, "there already", name="Porridge")
    async with admin_page(platform, "/admin", size=PHONE) as page:
        await page.press("New")
        await page.until("!!document.querySelector('dialog input')")
        await page.browser.call("Input.insertText", text="by phone")
        await page.press("Begin")
        await page.replace('"name": ""', '"name": "Toast"')
        await page.until(f"{TEXT}.includes('Not saved yet')")
        await page.fits()
        await page.browser.screenshot(shots / "admin-phone.png")
        await page.press("Save")
        await page.until("location.pathname === '/admin/recipes/by%20phone'")
        assert recipe(platform, "by%20phone")["name"] == "Toast"
        await page.press("Back")
        await page.until(f"location.pathname === '/admin/recipes' && {TEXT}.includes('Toast')")
        await page.fits()
        await page.browser.screenshot(shots / "admin-phone-list.png")
        await page.browser.evaluate(
            "document.querySelector('.collections a[href=\"/admin/session\"]').click()"
        )
        await page.until("location.pathname === '/admin/session'")
        assert page.browser.console == []


async def test_who_is_no_administrator_is_told_so(platform: PlatformProcess, shots: Path) -> None:
    async with admin_page(platform, "/", platform.facts["token"]) as page:
        await page.until(f"{TEXT}.includes('Your sessions')")
        assert not await page.browser.evaluate(f"{TEXT}.includes('Admin')")
        await page.browser.navigate(f"{platform.url}/admin")
        await page.until(f"{TEXT}.includes('For administrators')")
        await page.browser.screenshot(shots / "admin-refused.png")
        await page.press("Sign in as somebody else")
        await page.until(f"{TEXT}.includes('Password')")
