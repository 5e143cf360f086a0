"""How streams are measured: clients that cost next to nothing, a floor, a plain server."""

from __future__ import annotations
