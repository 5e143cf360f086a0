"""The manager's figures, for Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from downstage.manager.instances import Instances
from downstage.manager.nodes.fleet import Fleet

__all__ = ["metrics"]

STATES = ("starting", "running", "ending")


def metrics(instances: Instances, fleet: Fleet, pools: Mapping[str, tuple[int, int]]) -> list[str]:
    """Places, instances by node and state, pools, and how sessions got their instances."""
    living = Counter((r.node, r.instance.state) for r in instances.living)
    return [
        "# HELP downstage_instances Instances that are somebody's and have not ended.",
        "# TYPE downstage_instances gauge",
        f"downstage_instances {instances.running}",
        "# HELP downstage_capacity Instances that may run at once.",
        "# TYPE downstage_capacity gauge",
        f"downstage_capacity {instances.capacity}",
        "# HELP downstage_node_instances Instances of a node, those of pools included.",
        "# TYPE downstage_node_instances gauge",
        *(
            f"downstage_node_instances{_of(node=node.name, state=state)} {living[node.name, state]}"
            for node in fleet.nodes
            for state in STATES
        ),
        "# HELP downstage_node_online Whether a node answers.",
        "# TYPE downstage_node_online gauge",
        *(
            f"downstage_node_online{_of(node=node.name)} {int(node.status == 'online')}"
            for node in fleet.nodes
        ),
        "# HELP downstage_node_places Instances that a node may run at once.",
        "# TYPE downstage_node_places gauge",
        *(f"downstage_node_places{_of(node=node.name)} {node.places}" for node in fleet.nodes),
        "# HELP downstage_pool_waiting Instances that wait in a pool for a session.",
        "# TYPE downstage_pool_waiting gauge",
        *(f"downstage_pool_waiting{_of(pool=name)} {has}" for name, (has, _) in pools.items()),
        "# HELP downstage_pool_size Instances that shall wait in a pool.",
        "# TYPE downstage_pool_size gauge",
        *(f"downstage_pool_size{_of(pool=name)} {shall}" for name, (_, shall) in pools.items()),
        "# HELP downstage_placements_total Sessions that asked for an instance, by what they got.",
        "# TYPE downstage_placements_total counter",
        *(
            f"downstage_placements_total{_of(how=how)} {count}"
            for how, count in instances.placed.items()
        ),
    ]


def _of(**labels: str) -> str:
    def escaped(text: str) -> str:
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return "{" + ",".join(f'{key}="{escaped(value)}"' for key, value in labels.items()) + "}"
