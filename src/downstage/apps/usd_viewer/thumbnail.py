"""One small picture of a stage: ``python -m downstage.apps.usd_viewer.thumbnail STAGE OUT.png``.

Drawn by the viewer's own code, without any display, as the viewer shows the stage when it opens it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

__all__ = ["draw", "main"]

SHIFTS = ((0.25, 0.25), (-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.0, 0.0))
"""Parts of a pixel by which the pictures differ whose mean is shown: smooth edges."""


def draw(stage: str, picture: Path, size: tuple[int, int] = (480, 270)) -> None:
    """Write a PNG of *stage* (a path or an address) to *picture*.

    Raises:
        StageProblem: it cannot be read, and why.
    """
    # VTK looks for an X display first, and writes a warning where there is none.
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    import numpy as np
    import pygame

    from downstage.apps.usd_viewer.draw.renderer import Renderer
    from downstage.apps.usd_viewer.hud import backdrop_rows
    from downstage.apps.usd_viewer.orbit import Orbit
    from downstage.apps.usd_viewer.scene.reader import open_scene
    from downstage.apps.usd_viewer.source import fetch_stage, parse_source

    source = parse_source(stage)
    with tempfile.TemporaryDirectory(prefix="downstage-thumbnail-") as folder:
        scene = open_scene(fetch_stage(source, Path(folder)), source.name)
        renderer = Renderer(size)
        renderer.show(scene)
        for change in scene.at(scene.info.start):
            renderer.apply(change)
        corners = scene.corners()
        orbit = Orbit.framing(corners, scene.info.up).fitted(corners, size[0] / size[1])
        if scene.info.cameras:
            shot = scene.shot(0, scene.info.start)
            orbit = Orbit.from_shot(shot, scene.info.up, orbit.reach)
        drawn = sum(renderer.render(orbit, shift).astype(np.float32) for shift in SHIFTS)
    mean = np.asarray(drawn)[::-1] / len(SHIFTS)
    room = backdrop_rows(size[1])[:, None, :]
    pixels = mean[:, :, :3] + room * (1 - mean[:, :, 3:] / 255)
    whole = np.ascontiguousarray(pixels.clip(0, 255).astype(np.uint8))
    draft = picture.with_name(f".{picture.name}.new.png")
    pygame.image.save(pygame.image.frombuffer(whole.tobytes(), size, "RGB"), str(draft))
    draft.replace(picture)


def main(argv: list[str] | None = None) -> int:
    """Draw what the command line names; 1 where it cannot be drawn, with the reason."""
    from downstage.apps.screen import parse_size

    parser = argparse.ArgumentParser(prog="usd-thumbnail", description=__doc__)
    parser.add_argument("stage", help="path or address")
    parser.add_argument("picture", type=Path, help="PNG to write")
    parser.add_argument("--size", type=parse_size, default=(480, 270), metavar="WxH")
    options = parser.parse_args(argv)
    from downstage.apps.usd_viewer.problem import StageProblem

    try:
        draw(options.stage, options.picture, options.size)
    except ImportError as error:
        print(  # noqa: T201
            f"usd-core and VTK are needed ({error}): pip install 'downstage[demo]'", file=sys.stderr
        )
        return 2
    except StageProblem as problem:
        print(f"{problem.title}: {problem.reason}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
