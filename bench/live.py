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
QUIET_S = 2.0
"""Nothing came for so long: it was all."""
BOX = "/World/box"


def now() -> float:
    """Seconds on a clock that all processes share."""
    return time.monotonic_ns() / 1e9


class Editor:
    """A: what is asked for on standard input, one word a line."""

    def __init__(self, live: Any) -> None:
        from downstage.client.live.pxr import Sdf

        self.live, self.layer, self.sdf = live, live.layer, Sdf
        self.fields = list[Any]()

    def transform(self) -> None:
        """Set one value at a rate; the value is the time."""
        box = self.sdf.CreatePrimInLayer(self.layer, BOX)
        attribute = self.sdf.AttributeSpec(box, "x", self.sdf.ValueTypeNames.Double)
        due = now()
        for _ in range(SAMPLES):
            due += 1 / RATE
            while (left := due - now()) > 0:
                self.live.wait(left)
                self.live.process()
            attribute.default = now()
            self.live.process()
        say(done=SAMPLES)

    def prepare(self) -> None:
        """Make what the next ones set."""
        with self.sdf.ChangeBlock():
            for n in range(FIELDS // 10):
                prim = self.sdf.CreatePrimInLayer(self.layer, f"/Many/p{n}")
                for k in range(10):
                    kind = self.sdf.ValueTypeNames.Double
                    self.fields.append(self.sdf.AttributeSpec(prim, f"f{k}", kind))
        self.live.settle()
        say(done=len(self.fields))

    def block(self) -> None:
        """Set all of it in one block."""
        begun = now()
        with self.sdf.ChangeBlock():
            for field in self.fields:
                field.default = begun
        authored = now()
        self.live.process()
        say(begun=begun, set_ms=(authored - begun) * 1e3, send_ms=(now() - authored) * 1e3)
        self.live.settle()

    def sustained(self) -> None:
        """Block after block."""
        begun, count = now(), 0
        while now() - begun < SUSTAINED_S:
            with self.sdf.ChangeBlock():
                for field in self.fields[:BLOCK]:
                    field.default = float(count)
                    count += 1
            self.live.process()
        self.live.settle()
        say(rate=count / (now() - begun))

    def text(self) -> None:
        """The layer."""
        self.live.settle()
        say(text=self.layer.ExportToString(), seq=self.live.live.session.seq)


class Follower:
    """B and C: tell when values arrived."""

    def __init__(self, live: Any) -> None:
        self.live, self.layer = live, live.layer

    def value(self, path: str) -> float | None:
        """Of an attribute, if it has come."""
        found = self.layer.GetAttributeAtPath(path)
        return found.default if found else None

    def transform(self) -> None:
        """How late each value was; those that came together count once, by the last."""
        late, last, quiet = list[float](), 0.0, now()
        while not late or now() - quiet < QUIET_S:
            self.live.wait(0.2)
            self.live.process()
            value = self.value(f"{BOX}.x")
            if value and value != last:
                late.append((now() - value) * 1e3)
                last, quiet = value, now()
        say(late=late)

    def floor(self) -> None:
        """How late a line on a pipe is: what waking a process costs on this machine now."""
        late = list[float]()
        while (line := sys.stdin.readline().strip()) != "end":
            late.append((now() - float(line)) * 1e3)
        say(late=late)

    def block(self) -> None:
        """When the last of the block was there."""
        value, begun = None, now()
        while value is None:
            self.live.wait(1.0)
            begun = now()
            self.live.process()
            value = self.value(f"/Many/p{FIELDS // 10 - 1}.f9")
        say(applied=now(), apply_ms=(now() - begun) * 1e3)

    def text(self) -> None:
        """The layer, once nothing more comes."""
        quiet = now()
        while now() - quiet < QUIET_S:
            self.live.wait(0.1)
            if self.live.process():
                quiet = now()
        say(text=self.layer.ExportToString(), seq=self.live.live.session.seq)


def play(role: str, url: str) -> None:
    """Do what standard input says."""
    from downstage.client import usd

    with usd.open_live(url) as live:
        part = Editor(live) if role == "editor" else Follower(live)
        say(ready=True)
        while word := sys.stdin.readline().strip():
            getattr(part, word)()


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
    a.answer()
    b.answer()
    b.ask("floor")
    for _ in range(SAMPLES // 2):
        time.sleep(1 / RATE)
        b.ask(str(now()))
    b.ask("end")
    late = b.answer()["late"]
    cut = quantiles(late, n=100)
    table.add_row(
        f"floor: a line on a pipe at {RATE} Hz, written to read",
        f"p50 {cut[49]:.2f}  p99 {cut[98]:.2f}  max {max(late):.2f} ms",
    )
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
    c.answer()
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
        play(asked.role, asked.url)
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
