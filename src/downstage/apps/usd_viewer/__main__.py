"""Run the viewer: ``python -m downstage.apps.usd_viewer [STAGE]``."""

from __future__ import annotations

import argparse
import sys

from downstage.apps.screen import Screen, end_on_signals, parse_rate, parse_size

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Show a stage until the window is closed or the program is told to end."""
    options = _parse(argv)
    end_on_signals()
    try:
        from downstage.apps.usd_viewer.loading import load_in_background
        from downstage.apps.usd_viewer.viewer import Viewer
    except ImportError as error:
        print(  # noqa: T201
            f"usd-core and VTK are needed ({error}): pip install 'downstage[demo]'",
            file=sys.stderr,
        )
        return 2
    screen = Screen("Downstage USD viewer", options.size, cover=not options.windowed)
    try:
        name = "Kinetic theatre" if options.stage in ("", "demo") else options.stage[-60:]
        viewer = Viewer(screen, fps=options.fps, name=name)
        load_in_background(options.stage)
        viewer.run()
    finally:
        screen.close()
    return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="usd-viewer", description=__doc__)
    parser.add_argument("stage", nargs="?", default="demo", help="path or address; or: demo")
    parser.add_argument("--size", type=parse_size, default=(1280, 720), metavar="WxH")
    parser.add_argument(
        "--fps", type=parse_rate, default=30.0, help="most pictures a second, 1 to 240"
    )
    parser.add_argument("--windowed", action="store_true", help="keep --size, cover nothing")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
