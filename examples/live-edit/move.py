"""Move a prim along a circle in a stage that others look at."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pxr import Gf, Usd, UsdGeom

from downstage.cli.facts import find_platform
from downstage.client import usd
from downstage.kernel.errors import PlatformError, SetupError

DEMO = "/Projects/theatre.usdc"
SUFFIX = "circle"
RATE = 30
"""Edits a second."""
ROUND_S = 4.0


def main() -> int:
    """Open, move, say what is done; 1 with a line of words where it cannot be."""
    options = parse()
    try:
        url = options.url or demo_stage()
        with usd.open_live(url) as live:
            move(live, options.prim, options.seconds, options.radius)
            if options.merge:
                print(f"Written into the file as {live.merge(options.merge)[:12]}")
    except PlatformError as error:
        print(error.detail, file=sys.stderr)
        return 1
    return 0


def demo_stage() -> str:
    """The stage of the platform that runs on this folder's data."""
    data = Path(os.environ.get("DOWNSTAGE_PLATFORM__DATA", "downstage-data"))
    platform = find_platform(data)
    if platform is None:
        raise SetupError(f"No platform runs on {data.absolute()}: make demo, or give a URL.")
    return f"omniverse://{urlsplit(platform.url).netloc}{DEMO}"


def move(live: Any, path: str | None, seconds: float, radius: float | None) -> None:
    """Move one prim of *live* for a while."""
    prim = live.stage.GetPrimAtPath(path) if path else pick(live.stage)
    if not prim:
        raise SetupError(f"There is no prim {path or 'that could be moved'} in this stage.")
    op, first, radius = circle(prim, radius)
    is_z_up = UsdGeom.GetStageUpAxis(live.stage) == UsdGeom.Tokens.z
    others = len(live.people) - 1
    print(f"Moving {prim.GetPath()} for {seconds:g} s, {others} looking on")
    began = time.monotonic()
    count = round(seconds * RATE)
    for number in range(count):
        angle = first + math.tau * number / RATE / ROUND_S
        away = radius * (math.cos(angle) - 1), radius * math.sin(angle)
        op.Set(Gf.Vec3d(*away, 0) if is_z_up else Gf.Vec3d(away[0], 0, away[1]))
        live.process()  # sends what was set, applies what others did
        time.sleep(max(0.0, began + (number + 1) / RATE - time.monotonic()))
    live.settle()
    print(f"{count} edits, all of them on the server")


def pick(stage: Usd.Stage) -> Usd.Prim:
    """What there is to move: the sculpture of the demo, or the first thing with a place."""
    heart = stage.GetPrimAtPath("/Theatre/Sculpture/Heart")
    things = (prim for prim in stage.Traverse() if prim.IsA(UsdGeom.Gprim))
    return heart or next(things, Usd.Prim())


def circle(prim: Usd.Prim, radius: float | None) -> tuple[UsdGeom.XformOp, float, float]:
    """The op that moves *prim* in the space around it, the angle it has, and the radius."""
    form = UsdGeom.Xformable(prim)
    name = f"xformOp:translate:{SUFFIX}"
    found = [op for op in form.GetOrderedXformOps() if op.GetOpName() == name]
    ops = form.GetOrderedXformOps()
    op = found[0] if found else form.AddTranslateOp(opSuffix=SUFFIX)
    if not found:
        form.SetXformOpOrder([op, *ops])
    box = UsdGeom.BBoxCache(Usd.TimeCode.EarliestTime(), [UsdGeom.Tokens.default_])
    radius = radius or max(box.ComputeWorldBound(prim).ComputeAlignedRange().GetSize()) / 2
    at = op.Get() or Gf.Vec3d(0)
    return op, math.atan2(at[1] or at[2], at[0] + radius), radius


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", help=f"of a stage; else {DEMO} of the demo")
    parser.add_argument("--prim", help="path of the prim to move")
    parser.add_argument(
        "--radius", type=float, help="in the stage's units; else by the prim's size"
    )
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument(
        "--merge",
        nargs="?",
        const="Moved by examples/live-edit",
        metavar="MESSAGE",
        help="write it into the file at the end, as a checkpoint",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
