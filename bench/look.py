"""Open a page that shows a session in a fresh Chromium and say what is seen there.

python bench/look.py 'http://127.0.0.1:8600/…#join=…' --seconds 5 --screenshot page.png

Prints one JSON object: the viewer's own state and figures, and what the page wrote to its console.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from measuring.browser import Browser

VIEWER = "document.querySelector('downstage-viewer')"


async def look(options: argparse.Namespace) -> dict[str, Any]:
    """Wait for pictures, watch them for a while."""
    width, height = map(int, options.size.split("x"))
    async with Browser((width, height)) as browser:
        await browser.navigate(options.url)
        seen: dict[str, Any] = {"ok": False}
        end = time.monotonic() + options.wait
        while time.monotonic() < end and not seen["ok"]:
            frames = await browser.evaluate(f"{VIEWER}?.stats().then(s => s.decodedFrames)")
            seen["ok"] = bool(frames)
            await asyncio.sleep(0.1)
        before = await browser.evaluate(f"{VIEWER}?.stats()")
        began = time.monotonic()
        await asyncio.sleep(options.seconds)
        after = await browser.evaluate(f"{VIEWER}?.stats()")
        if before and after:
            count = after["decodedFrames"] - before["decodedFrames"]
            seen["fps"] = round(count / (time.monotonic() - began), 1)
        seen["stats"] = after
        seen["state"] = await browser.evaluate(f"{VIEWER}?.state")
        seen["console"] = browser.console
        if options.screenshot:
            await browser.screenshot(options.screenshot)
        return seen


def main() -> None:
    """Read options, look, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--wait", type=float, default=20, help="seconds for the first picture")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--screenshot", type=Path)
    seen = asyncio.run(look(parser.parse_args()))
    print(json.dumps(seen))
    sys.exit(not seen["ok"])


if __name__ == "__main__":
    main()
