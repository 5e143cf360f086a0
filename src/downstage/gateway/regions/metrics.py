"""Agents and sessions for Prometheus, also by the names that Anbox Cloud's gateway uses."""

from __future__ import annotations

from downstage.gateway.regions.sights import Counts

__all__ = ["metric_lines"]


def metric_lines(agents: Counts, sessions: int) -> list[str]:
    """Lines in Prometheus' form.

    Args:
        agents: those that are known.
        sessions: that have not ended, at this gateway.
    """
    gauges = {
        "agents_total": ("Agents that are known.", agents.total),
        "agents_unresponsive": ("Agents that give no sign of life.", agents.unresponsive),
        "sessions_total": ("Sessions of this gateway that have not ended.", sessions),
    }
    found = list[str]()
    for prefix in ("downstage", "anbox_stream_gateway"):
        for name, (text, number) in gauges.items():
            found += [
                f"# HELP {prefix}_{name} {text}",
                f"# TYPE {prefix}_{name} gauge",
                f"{prefix}_{name} {number}",
            ]
    return found
