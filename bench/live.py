"""Live layers in three real processes through a real server: how late, how many.

    python bench/live.py

A edits, B follows, C joins late. Clocks are one machine's monotonic clock. The server keeps every
batch on disk; the times are those of telling, which does not wait for the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

from downstage.testing.platform import PlatformProcess

RATE = 60
SAMPLES = 480
FIELDS = 10_000
BLOCK = 100
SUSTAINED_S = 5.0
BOX = "/World/box"


def now() -> float:
    """Seconds on a clock that all processes share."""
    return time.monotonic_ns() / 1e9


def editor(url: str) -> None:
    """A: what is asked for on standard input, one word a line."""
    from downstage.client import usd
    from downstage.client.live.pxr import Sdf

    with usd.open_live(url) as live:
        layer = live.layer
        box = Sdf.CreatePrimInLayer(layer, BOX)
        attribute = Sdf.AttributeSpec(box, "x", Sdf.ValueTypeNames.Double)
        fields = list[Any]()
        for word in map(str.strip, sys.stdin):
            if word == "transform":
                due = now()
                for _ in range(SAMPLES):
                    due += 1 / RATE
                    while now() < due:
                        live.wait(max(0.0, due - now()))
                        live.process()
                    attribute.default = now()
                    live.process()
                say(done=SAMPLES)
            elif word == "prepare":
                with Sdf.ChangeBlock():
                    for n in range(FIELDS // 10):
                        prim = Sdf.CreatePrimInLayer(layer, f"/Many/p{n}")
                        for k in range(10):
                            fields.append(
                                Sdf.AttributeSpec(prim, f"f{k}", Sdf.ValueTypeNames.Double)
                            )
                live.settle()
                say(done=len(fields))
            elif word == "block":
                begun = now()
                with Sdf.ChangeBlock():
                    for field in fields:
                        field.default = begun
                authored = now()
                live.process()
                say(begun=begun, set_ms=(authored - begun) * 1e3, send_ms=(now() - authored) * 1e3)
                live.settle()
            elif word == "sustained":
                begun, count = now(), 0
                while now() - begun < SUSTAINED_S:
                    with Sdf.ChangeBlock():
                        for field in fields[:BLOCK]:
                            field.default = float(count)
                            count += 1
                    live.process()
                live.settle()
                say(rate=count / (now() - begun))
            elif word == "text":
                live.settle()
                say(text=layer.ExportToString(), seq=live.live.session.seq)
            else:
                return


def follower(url: str) -> None:
    """B: tells when each value arrived."""
    from downstage.client import usd

    with usd.open_live(url) as live:
        layer, word = live.layer, sys.stdin.readline().strip()
        while word:
            if word == "transform":
                late, last = list[float](), 0.0
                while len(late) < SAMPLES * 0.98:
                    live.wait(1.0)
                    live.process()
                    found = layer.GetAttributeAtPath(f"{BOX}.x")
                    value = found.default if found else None
                    if value and value != last:
                        late.append((now() - value) * 1e3)
                        last = value
                say(late=late)
            elif word == "block":
                path, value = f"/Many/p{FIELDS // 10 - 1}.f9", None
                while value is None:
                    live.wait(1.0)
                    begun = now()
                    live.process()
                    found = layer.GetAttributeAtPath(path)
                    value = found.default if found else None
                say(applied=now(), apply_ms=(now() - begun) * 1e3)
            elif word == "follow":
                say(ready=True)
            elif word == "text":
                quiet = now()
                while now() - quiet < 1.5:
                    live.wait(0.1)
                    if live.process():
                        quiet = now()
                say(text=layer.ExportToString(), seq=live.live.session.seq)
            word = sys.stdin.readline().strip()


def say(**facts: object) -> None:
    """One answer."""
    print(json.dumps(facts), flush=True)


class Program:
    """One of the processes."""

    def __init__(self, role: str, url: str, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--role", role, "--url", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def ask(self, word: str) -> None:
        """Begin."""
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """What it says next."""
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        """Close its input and wait."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def measure(server: PlatformProcess, folder: Path) -> None:
    """Run all and print one table."""
    token = folder / "token"
    token.write_text(str(server.facts["token"]))
    authority = server.url.partition("://")[2]
    environment = os.environ | {
        "DOWNSTAGE_TOKEN_FILE": str(token),
        "DOWNSTAGE_CONTENT_HOST": authority,
        "DOWNSTAGE_CLIENT_CACHE": str(folder / "cache" / "files"),
    }
    request = urllib.request.Request(
        f"{server.url}/v1/files/bench.usda", data=b"#usda 1.0\n", method="PUT"
    )
    request.add_header("Authorization", f"Bearer {server.facts['token']}")
    urllib.request.urlopen(request, timeout=10).close()
    url = f"omniverse://{authority}/bench.usda"
    a, b = (Program(role, url, environment) for role in ("editor", "follower"))
    table = Table("what", "figure", title="Live layers, three processes, one server, loopback")
    b.ask("follow")
    b.answer()
    b.ask("transform")
    a.ask("transform")
    a.answer()
    late = sorted(b.answer()["late"])
    cut = quantiles(late, n=100)
    table.add_row(
        f"1 transform at {RATE} Hz, set at A to applied at B, {len(late)} samples",
        f"p50 {cut[49]:.2f}  p99 {cut[98]:.2f}  max {late[-1]:.2f} ms",
    )
    a.ask("prepare")
    a.answer()
    b.ask("block")
    a.ask("block")
    sent, applied = a.answer(), b.answer()
    table.add_row(
        f"{FIELDS} fields in one change block: set / capture, encode, send / apply at B",
        f"{sent['set_ms']:.0f} / {sent['send_ms']:.0f} / {applied['apply_ms']:.0f} ms",
    )
    whole = (applied["applied"] - sent["begun"]) * 1e3
    table.add_row("the same, from the first set to applied at B", f"{whole:.0f} ms")
    b.ask("text")
    a.ask("sustained")
    table.add_row(
        f"sustained edits, {BLOCK} a block, until the own echo, B applying",
        f"{a.answer()['rate']:,.0f} /s",
    )
    b.answer()
    b.ask("text")
    a.ask("text")
    c = Program("follower", url, environment)
    c.ask("text")
    texts = [program.answer() for program in (a, b, c)]
    equal = len({item["text"] for item in texts}) == 1
    table.add_row("layers of A, B and C (who joined late) are the same text", str(equal))
    table.add_row("batches", str(texts[0]["seq"]))
    for program in (a, b, c):
        program.end()
    Console().print(table)


def main() -> None:
    """Start a server, or play one of the parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--role", choices=("editor", "follower"))
    parser.add_argument("--url")
    asked = parser.parse_args()
    if asked.role:
        {"editor": editor, "follower": follower}[asked.role](asked.url)
        return
    with tempfile.TemporaryDirectory(prefix="ds-", dir="/tmp") as name:
        server = PlatformProcess(Path(name) / "platform")
        try:
            server.start()
            measure(server, Path(name))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
