"""Move a prim of a stage that others have open; they see it move.

python examples/live-edit/move.py omniverse://127.0.0.1:8600/Projects/theatre.usda /World/box
"""

from __future__ import annotations

import argparse
import math
import time
from typing import Any

from pxr import Gf, UsdGeom

from downstage.client import usd

RATE = 60


def main() -> None:
    """Move it around a circle, then put it back where it was."""
    parser = argparse.ArgumentParser(description="Move a prim of a live stage around a circle.")
    parser.add_argument("url", help="of the stage")
    parser.add_argument("prim", nargs="?", default="", help="its path; by default the first one")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--radius", type=float, default=1.0, help="in the stage's own units")
    parser.add_argument("--merge", metavar="MESSAGE", help="write what was done into the file")
    asked = parser.parse_args()
    with usd.open_live(asked.url) as live:
        prim = find(live.stage, asked.prim)
        place = UsdGeom.XformCommonAPI(prim)
        start = place.GetXformVectors(0)[0]
        print(f"{prim.GetPath()}: {len(live.people)} here")
        for step in range(int(asked.seconds * RATE)):
            turn = 2 * math.pi * step / RATE / 2
            offset = Gf.Vec3d(math.cos(turn) - 1, 0, math.sin(turn)) * asked.radius
            place.SetTranslate(start + offset)
            live.process()  # sends this, and applies what others did
            time.sleep(1 / RATE)
        place.SetTranslate(start)
        live.settle(durable=True)
        if asked.merge:
            print(f"written as {live.merge(asked.merge)[:12]}")


def find(stage: Any, path: str) -> Any:
    """The prim at *path*, or the first that has a place."""
    if path:
        prim = stage.GetPrimAtPath(path)
        if not prim:
            raise SystemExit(f"there is no {path} in this stage")
        return prim
    for prim in stage.Traverse():
        if prim.IsA(UsdGeom.Gprim):
            return prim
    raise SystemExit("there is nothing to move in this stage")


if __name__ == "__main__":
    main()
