"""What an agent says: its manager's paths once more (see `downstage.contracts.manager`).

An agent stands for one region. Gateways call it and never the manager; errors come through with
status, problem and Retry-After as the manager gave them. ``GET /v1/health`` answers within
2 s, or 503 with why.
"""

from __future__ import annotations

__all__ = ["ANY_INSTANCE_CHANGED", "instance_changed"]

ANY_INSTANCE_CHANGED = "agent.*.instance.changed"
"""Pattern of what every agent relays."""


def instance_changed(region: str) -> str:
    """Bus subject on which the agent of *region* repeats its manager's hints of instances."""
    return f"agent.{region}.instance.changed"
