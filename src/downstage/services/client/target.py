"""What an attribute path means: steps, the verb at its end, and how calls of it were understood."""

from __future__ import annotations

from dataclasses import dataclass, field

from downstage.services.client.encoding import encode_path, segment_text
from downstage.services.description import Description, Operation, Step

__all__ = ["OPERATIONS", "VERBS", "Plan", "Target"]

VERBS = frozenset({"get", "post", "put", "delete", "patch"})
OPERATIONS = frozenset({"curl", "download", "pages", "stream", "upload"})
"""What may follow a verb; a path that really goes on so is reached by naming its own verb."""
SOCKET = "ws"
"""What may follow any path."""
KEPT_PLANS = 32


@dataclass(frozen=True, slots=True)
class Plan:
    """How one form of a call is sent: all that does not depend on its values."""

    method: str
    path: str
    operation: Operation | None
    form: str = ""
    """Media type of a form body; "" for JSON."""
    simply: str = ""
    """Where all keywords go as they are: ``query``, ``json``, or ``nowhere`` as there are none."""
    is_keyed: bool = False
    """It is of a verb that gets an idempotency key."""


@dataclass(slots=True)
class Target:
    """The end of an attribute path."""

    steps: tuple[Step, ...]
    """Without the verb."""
    verb: str | None = None
    suffix: str | None = None
    """One of `OPERATIONS`, or `SOCKET`."""
    whole: tuple[Step, ...] = ()
    """With verb and suffix as steps: what they are where the path goes on."""
    is_doubtful: bool = False
    """Could a description read the steps otherwise than the plain rule does?"""
    plans: dict[object, Plan] = field(default_factory=dict[object, Plan], repr=False)
    known_to: Description | None = None
    """The description that `plans` were made with."""
    _path: str | None = None

    def attribute(self, name: str) -> Target:
        """The target of ``node.name``."""
        whole = (*self.whole, Step(name, literal=False))
        doubtful = self.is_doubtful
        if name == SOCKET:
            return Target(self.whole, None, name, whole, doubtful)
        if self.verb is not None and self.suffix is None and name in OPERATIONS:
            return Target(self.steps, self.verb, name, whole, doubtful)
        if name in VERBS:
            return Target(self.whole, name, None, whole, doubtful)
        return Target(whole, None, None, whole, doubtful or "_" in name)

    def item(self, segment: object) -> Target:
        """The target of ``node[segment]``."""
        written = segment_text(segment)
        if written is None:
            raise TypeError(f"{type(segment).__name__} is no path segment")
        whole = (*self.whole, Step(written, literal=True))
        return Target(whole, None, None, whole, self.is_doubtful)

    @property
    def path(self) -> str:
        """The encoded path by the plain rule: dashes for underscores in attributes."""
        if self._path is None:
            self._path = encode_path(plain(step) for step in self.steps)
        return self._path

    def remember(self, key: object, plan: Plan) -> None:
        """Keep *plan* for calls of the same form."""
        if len(self.plans) >= KEPT_PLANS:
            self.plans.clear()  # many ids: none is worth more than another
        self.plans[key] = plan


def plain(step: Step) -> str:
    """A step by the rule that holds without a description."""
    return step.text if step.literal else step.text.replace("_", "-")
