"""The data server's API at its original paths: a thin translation."""

from __future__ import annotations
