"""Serve the example on http://127.0.0.1:8011 until Ctrl-C."""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn

from downstage.services import get_app

sys.path.insert(0, str(Path(__file__).parent))

from streaming_example import StreamingApplicationExampleExtension


def main() -> None:
    """Start the extension, serve, stop it."""
    extension = StreamingApplicationExampleExtension()
    extension.on_startup("streaming_example-1.0.0")
    try:
        uvicorn.run(get_app(), host="127.0.0.1", port=8011, log_level="warning")
    finally:
        extension.on_shutdown()


if __name__ == "__main__":
    main()
