"""What a caller wants of the instance beside application and picture: where, how much, ports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from downstage.contracts.manager import Needs, PortWish

__all__ = ["Wishes"]


@dataclass(frozen=True, slots=True)
class Wishes:
    """Each as `InstanceCreate` says; what is empty is the application's or the platform's."""

    profile: str | None = None
    image: str | None = None
    streaming_mode: Literal["secure", "insecure"] = "secure"
    node: str | None = None
    node_labels: dict[str, str] = field(default_factory=dict[str, str])
    labels: dict[str, str] = field(default_factory=dict[str, str])
    tags: tuple[str, ...] = ()
    needs: Needs = field(default_factory=Needs)
    ports: tuple[PortWish, ...] = ()
    addons: tuple[str, ...] = ()
    name: str | None = None

    def fields(self) -> dict[str, Any]:
        """As fields of `InstanceCreate`; JSON, so that a session that waits keeps them."""
        return {
            "profile": self.profile,
            "image": self.image,
            "streaming_mode": self.streaming_mode,
            "node": self.node,
            "node_labels": self.node_labels,
            "labels": self.labels,
            "tags": list(self.tags),
            "needs": self.needs.model_dump(mode="json"),
            "ports": [port.model_dump(mode="json") for port in self.ports],
            "addons": list(self.addons),
            "name": self.name,
        }

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Wishes:
        """What `fields` wrote."""
        return cls(
            profile=fields["profile"],
            image=fields["image"],
            streaming_mode=fields["streaming_mode"],
            node=fields["node"],
            node_labels=fields["node_labels"],
            labels=fields["labels"],
            tags=tuple(fields["tags"]),
            needs=Needs.model_validate(fields["needs"]),
            ports=tuple(PortWish.model_validate(port) for port in fields["ports"]),
            addons=tuple(fields["addons"]),
            name=fields["name"],
        )
