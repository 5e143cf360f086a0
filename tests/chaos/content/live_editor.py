"""An editor of a live stage as a program of its own, for tests that need several processes.

::

    python live_editor.py URL NAME

It edits by itself, in conflict with every other one, and prints a line for each edit that is on
the server's disk. A line on its standard input ends that: it settles and prints how far the layer
is. The next line says how far all are: when it is there too it prints its layer.
"""

from __future__ import annotations

import queue
import random
import sys
import threading
from typing import Any

from downstage.client import usd
from downstage.client.live.pxr import Gf, Sdf

__all__ = ["DURABLE", "END", "SETTLED", "main"]

DURABLE = "durable"
"""First word of a line: the edits up to the number after it are on disk."""
SETTLED = "settled"
"""First word of a line: all own edits are on disk; the number after it is the layer's."""
END = "layer"
"""The line before the layer's text."""
PRIMS = 6
PAUSE_S = 0.01


def main(url: str, name: str) -> None:
    """Edit until told to end."""
    lines = queue.SimpleQueue[str]()
    threading.Thread(target=lambda: [lines.put(line) for line in sys.stdin], daemon=True).start()
    draw, count, told = random.Random(name), 0, 0
    with usd.open_live(url, timeout_s=60) as live:
        while lines.empty():
            count += 1
            with Sdf.ChangeBlock():
                _edit(live.layer, draw, name, count)
            live.process()
            live.wait(PAUSE_S)
            live.process()
            if live.live.session.is_durable and told != count:
                told = count
                print(DURABLE, count, flush=True)
        live.settle(60, durable=True)
        lines.get()
        print(SETTLED, live.live.session.seq, flush=True)
        last = int(lines.get(timeout=60))
        live.live.settle_until(lambda: live.live.session.seq >= last, 60)
        print(END)
        print(live.layer.ExportToString(), flush=True)


def _edit(layer: Any, draw: random.Random, name: str, count: int) -> None:
    """One own mark, and one thing that the others do as well."""
    mark = Sdf.CreatePrimInLayer(layer, f"/Marks/{name}_{count}")
    mark.SetInfo("comment", str(count))
    path = f"/Shared/p{draw.randrange(PRIMS)}"
    if draw.random() < 0.2 and layer.GetPrimAtPath(path):
        del layer.GetPrimAtPath("/Shared").nameChildren[path.rpartition("/")[2]]
        return
    prim = Sdf.CreatePrimInLayer(layer, path)
    kind = Sdf.ValueTypeNames.Double3 if draw.random() < 0.8 else Sdf.ValueTypeNames.Float
    found = layer.GetAttributeAtPath(f"{path}.x")
    if found and found.typeName != kind:
        prim.RemoveProperty(found)
        found = None
    attribute = found or Sdf.AttributeSpec(prim, "x", kind)
    is_float = kind == Sdf.ValueTypeNames.Float
    attribute.default = float(count) if is_float else Gf.Vec3d(count, draw.randrange(9), 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
