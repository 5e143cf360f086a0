"""What goes over the line to the gateway: JSON objects."""

from __future__ import annotations

from typing import Any

__all__ = ["Message"]

Message = dict[str, Any]
