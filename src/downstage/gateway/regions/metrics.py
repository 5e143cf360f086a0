"""Agents and sessions for Prometheus, also by the names that Anbox Cloud's gateway uses."""

from __future__ import annotations

from downstage.gateway.regions.sights import Counts

__all__ = ["metric_lines"]

ALIAS = "anbox_stream_gateway"


def metric_lines(agents: Counts, sessions: int) -> list[str]:
    """Lines in Prometheus' form.

    Args:
        agents: those that are known.
        sessions: that have not ended, at this gateway.
    """
    figures = (
        ("agents", "agents_total", "Agents that are known.", agents.total),
        (
            "agents_unresponsive",
            "agents_unresponsive",
            "Agents that give no sign of life.",
            agents.unresponsive,
        ),
        ("sessions", "sessions_total", "Sessions of this gateway that have not ended.", sessions),
    )
    found = list[str]()
    for ours, theirs, text, number in figures:
        # The other system's names say of gauges that they are totals: they are left untyped.
        for name, kind in ((f"downstage_{ours}", "gauge"), (f"{ALIAS}_{theirs}", "untyped")):
            found += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", f"{name} {number}"]
    return found
