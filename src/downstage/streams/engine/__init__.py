"""The engine that holds entries: a Valkey that we start, or one of somebody's own."""

from __future__ import annotations
