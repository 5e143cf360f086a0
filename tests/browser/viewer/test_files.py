"""The files page: what a person sees of files, uploads, checkpoints, locks and rights."""

from __future__ import annotations

import asyncio
import hashlib
import json
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import quote

import pytest
from tests.browser.viewer.signed_in import TEXT, SignedInPage
from tests.browser.viewer.tabs import Tab

from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.browser, pytest.mark.anyio, pytest.mark.timeout(120)]

SIZE = (1280, 800)


class FilesPage(SignedInPage):
    """The page as somebody who is signed in sees it."""

    async def go(self, folder: str) -> None:
        """Open *folder*, signed in as the platform's user."""
        await self.open(f"/files{quote(folder)}")

    async def leave(self) -> None:
        """Load the page anew, although it warns that something is on its way."""
        leaving = asyncio.create_task(self.browser.call("Page.reload"))
        for _ in range(200):
            try:
                await self.browser.call("Page.handleJavaScriptDialog", accept=True)
                break
            except RuntimeError:  # not asked yet
                await asyncio.sleep(0.05)
        else:
            pytest.fail("the page did not warn")
        await leaving

    async def press(self, words: str) -> None:
        """Press the button with exactly these *words*."""
        find = (
            f"[...document.querySelectorAll('button')].find(b => b.innerText.trim() === {words!r})"
        )
        await self.until(f"!!{find} && !{find}.disabled")
        await self.browser.evaluate(f"{find}.click()")

    async def choose(self, name: str) -> None:
        """Click a file or folder in the listing."""
        find = f"document.querySelector('main .item[title={json.dumps(name)}]')"
        await self.until(f"!!{find}")
        await self.browser.evaluate(f"{find}.click()")

    async def fill(self, value: str) -> None:
        """Type into the question that is open."""
        await self.until("!!document.querySelector('dialog[open] input')")
        await self.browser.evaluate(f"document.querySelector('dialog input').value = {value!r}")

    async def drop(self, name: str, size: int, seed: int) -> None:
        """Drop a file of *size* bytes that follow from *seed*."""
        await self.until("!!document.querySelector('.files main')")
        await self.browser.evaluate(
            f"""(() => {{
              const bytes = new Uint8Array({size});
              for (let i = 0, x = {seed}; i < bytes.length; i += 1) {{
                x = (Math.imul(x, 1103515245) + 12345) & 0x7fffffff;
                bytes[i] = x >> 16;
              }}
              const held = new DataTransfer();
              held.items.add(new File([bytes], {name!r}, {{ lastModified: 1700000000000 }}));
              const init = {{ dataTransfer: held, bubbles: true, cancelable: true }};
              document.querySelector('.files').dispatchEvent(new DragEvent('drop', init));
            }})()"""
        )


@asynccontextmanager
async def files_page(platform: PlatformProcess, folder: str) -> AsyncGenerator[FilesPage]:
    async with Tab(SIZE) as browser:
        page = FilesPage(browser, platform)
        await page.go(folder)
        yield page


def put(platform: PlatformProcess, path: str, body: bytes) -> None:
    request = urllib.request.Request(
        f"{platform.url}/v1/files{quote(path)}",
        body,
        {"authorization": f"Bearer {platform.facts['token']}"},
        method="PUT",
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status in (200, 201)


def get(platform: PlatformProcess, path: str) -> bytes:
    request = urllib.request.Request(
        f"{platform.url}/v1/files{quote(path)}",
        headers={"authorization": f"Bearer {platform.facts['token']}"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


def expected(size: int, seed: int) -> bytes:
    """The bytes that `FilesPage.drop` makes."""
    found, x = bytearray(size), seed
    for i in range(size):
        x = (x * 1103515245 + 12345) & 0x7FFFFFFF
        found[i] = (x >> 16) & 0xFF
    return bytes(found)


async def test_what_others_do_is_seen_at_once(platform: PlatformProcess) -> None:
    put(platform, "/seen/first.txt", b"1")
    async with files_page(platform, "/seen") as page:
        await page.until(f"{TEXT}.includes('first.txt')")
        put(platform, "/seen/ü #2.txt", b"22")
        await page.until(f"{TEXT}.includes('ü #2.txt')")
        platform.call(
            "POST", "/v1/files-move", {"source": "/seen/first.txt", "target": "/seen/x.txt"}
        )
        await page.until(f"{TEXT}.includes('x.txt') && !{TEXT}.includes('first.txt')")
        platform.call("POST", "/v1/files-folders", {"path": "/seen/deep"})
        await page.choose("deep")
        await page.until("location.pathname === '/files/seen/deep'")
        await page.until(f"{TEXT}.includes('Nothing is here yet')")
        assert page.browser.console == []


async def test_a_drop_is_uploaded_and_resumed_after_a_break(platform: PlatformProcess) -> None:
    size = 12_000_000
    async with files_page(platform, "/") as page:
        await page.press("New folder")
        await page.fill("drops")
        await page.press("Make folder")
        await page.choose("drops")
        await page.until("location.pathname === '/files/drops'")
        # The connection breaks in the middle: the second piece never leaves.
        await page.browser.evaluate(
            """(() => {
              const send = XMLHttpRequest.prototype.send, open = XMLHttpRequest.prototype.open;
              let patches = 0;
              XMLHttpRequest.prototype.open = function (method, ...rest) {
                this.isSecond = method === 'PATCH' && (patches += 1) > 1;
                return open.call(this, method, ...rest);
              };
              XMLHttpRequest.prototype.send = function (body) {
                if (this.isSecond) window.broken = true; else send.call(this, body);
              };
            })()"""
        )
        await page.drop("large.bin", size, 7)
        await page.until("window.broken === true")
        await page.leave()
        await page.until("window.broken !== true && !!document.querySelector('.files main')")
        counted = "performance.getEntriesByType('resource').filter(r => r.name.includes('uploads'))"
        await page.drop("large.bin", size, 7)
        await page.until(f"{TEXT}.includes('1 of 1')")
        # One question where it stopped, one piece: nothing is sent again.
        assert await page.browser.evaluate(f"{counted}.length") == 2
        await page.until(f"{TEXT}.includes('large.bin')")
    kept = get(platform, "/drops/large.bin")
    assert hashlib.sha256(kept).digest() == hashlib.sha256(expected(size, 7)).digest()


async def test_checkpoints_are_made_compared_and_restored(platform: PlatformProcess) -> None:
    put(platform, "/versions/notes.txt", b"one\ntwo\nthree\n")
    async with files_page(platform, "/versions") as page:
        await page.choose("notes.txt")
        await page.press("Make checkpoint")
        await page.fill("")
        await page.browser.evaluate("document.querySelector('dialog form').requestSubmit()")
        await page.until(f"{TEXT}.includes('Say what this checkpoint is')")
        await page.fill("First words")
        await page.browser.evaluate("document.querySelector('dialog form').requestSubmit()")
        await page.until(f"{TEXT}.includes('First words')")
        put(platform, "/versions/notes.txt", b"one\n2\nthree\n")
        await page.until(f"{TEXT}.includes('version 2')")
        await page.press("Compare")
        await page.until("document.querySelectorAll('.compared .gone').length === 1")
        lines = await page.browser.evaluate("document.querySelector('.compared').textContent")
        assert "- two" in lines
        assert "+ 2" in lines
        await page.press("Restore")
        await page.until("!!document.querySelector('dialog[open]')")
        await page.browser.evaluate("document.querySelector('dialog form').requestSubmit()")
        await page.until(f"{TEXT}.includes('&2')")
    assert get(platform, "/versions/notes.txt") == b"one\ntwo\nthree\n"


async def test_locks_and_rights_are_shown_and_changed(platform: PlatformProcess) -> None:
    put(platform, "/shared/plan.txt", b"x")
    async with files_page(platform, "/shared") as page:
        await page.choose("plan.txt")
        await page.press("Lock for me")
        await page.until(f"{TEXT}.includes('Locked by you')")
        await page.until("!!document.querySelector('main .badge')")
        await page.press("Unlock")
        await page.until(f"{TEXT}.includes('Not locked')")
        await page.until(f"{TEXT}.includes('what is said farther up counts')")


async def test_who_is_not_signed_in_signs_in_first(platform: PlatformProcess) -> None:
    async with Tab(SIZE) as browser:
        page = FilesPage(browser, platform)
        await browser.navigate(f"{platform.url}/files/seen")
        await page.until(f"{TEXT}.includes('Sign in')")
