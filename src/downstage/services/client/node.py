"""Paths as attributes: `Node` is a path under a client; calling it makes the request."""

from __future__ import annotations

import inspect
from typing import Any, Protocol

from downstage.services.client.target import OPERATIONS, SOCKET, VERBS, Target
from downstage.services.description import AmbiguousPath, Description, Operation

__all__ = ["Node", "Performer"]

CACHED_NODES = 120
"""Attribute nodes kept for each parent; ids reached by getattr must not grow it for ever."""
CALLED_BY_TOOLS = frozenset({"getdoc"})
"""What IPython's ``?`` calls on anything that has it: it would make a request."""
SIGNATURE = inspect.signature(lambda *arguments, **keywords: None)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]


class Performer(Protocol):
    """What nodes hand their calls to."""

    @property
    def shown(self) -> str:
        """The client as `repr` shows it."""
        ...

    def perform(
        self, target: Target, arguments: tuple[object, ...], keywords: dict[str, Any]
    ) -> Any:
        """Make the call, or what stands for it: a coroutine, a stream, a result."""
        ...

    def known_description(self) -> Description | None:
        """What `dir` and help may draw on."""
        ...


class _Signature:
    """``inspect.signature(node)``: from the description where it is there."""

    def __get__(self, node: Node | None, owner: type) -> inspect.Signature:
        if node is None:
            raise AttributeError("__signature__")
        operation = _operation(node)
        return SIGNATURE if operation is None else operation.signature()


class _Doc:
    """``help(node)`` and IPython's ``node?``."""

    def __get__(self, node: Node | None, owner: type) -> str:
        if node is None:
            return "A path under a client; calling it makes the request."
        operation = _operation(node)
        return f"{node!r}" if operation is None else operation.doc


class Node:
    """A path under a client; calling it makes the request."""

    __doc__ = _Doc()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    __signature__ = _Signature()

    def __init__(self, performer: Performer, target: Target) -> None:
        self._performer = performer
        self._target = target

    def __getattr__(self, name: str) -> Node:
        if name.startswith("_"):
            # Debuggers, copy and IPython probe such names: they must not become requests.
            raise AttributeError(name)
        if name in CALLED_BY_TOOLS:
            description = self._performer.known_description()
            if description is None or name not in description.children(self._target.whole):
                raise AttributeError(f"{name}: write client[{name!r}] for a path of that name")
        node = Node(self._performer, self._target.attribute(name))
        if len(self.__dict__) < CACHED_NODES:
            self.__dict__[name] = node
        return node

    def __getitem__(self, segment: object) -> Node:
        return Node(self._performer, self._target.item(segment))

    def __call__(self, /, *arguments: object, **keywords: Any) -> Any:
        """Make the request."""
        return self._performer.perform(self._target, arguments, keywords)

    def __repr__(self) -> str:
        path = "/".join(
            step.text if step.literal else step.text.replace("_", "-")
            for step in self._target.whole
        )
        return f"<{self._performer.shown} /{path}>"

    def __dir__(self) -> list[str]:
        return names_below(self._performer, self._target)

    def __reduce_ex__(self, protocol: object) -> str:
        # Nothing in it ever changes: a copy is the node itself. It cannot be pickled.
        return repr(self)


def names_below(performer: Performer, target: Target) -> list[str]:
    """What may follow *target*, as far as the description is there already."""
    if target.verb is not None and target.suffix is None:
        return sorted(OPERATIONS)
    names = {SOCKET}
    description = performer.known_description()
    names.update(VERBS if description is None else description.children(target.whole))
    return sorted(name for name in names if not name.startswith("_"))


def _operation(node: Node) -> Operation | None:
    inside = vars(node)
    performer, target = inside.get("_performer"), inside.get("_target")
    if performer is None or not isinstance(target, Target):
        return None
    description = performer.known_description()
    if description is None or target.suffix is not None:
        return None
    try:
        match = description.find(target.steps, target.verb, {})
    except AmbiguousPath:
        return None
    return None if match is None else match.operation
