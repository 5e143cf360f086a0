"""The paths of a service as a tree of segments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from downstage.services.description.names import attribute_name, is_attribute
from downstage.services.description.operation import Match, Operation, Step
from downstage.services.description.references import References, mapping, sequence
from downstage.services.description.template import Template, split_path

__all__ = ["AmbiguousPath", "Description"]

METHODS = ("get", "post", "put", "delete", "patch", "head", "options", "trace")
MAX_PARAMETERS = 64
"""Kinds of parameters in one place: each is tried for each call."""
QUIET = frozenset({"HEAD", "OPTIONS", "TRACE"})
"""Methods that nobody means who names none."""


class AmbiguousPath(ValueError):
    """Two paths of the description fit; the text names both."""


_EMPTY: dict[str, Any] = {}
"""Never written to."""


class _Node:
    """What may follow a path, and what may be done with it."""

    __slots__ = (
        "_above",
        "_part",
        "literals",
        "matches",
        "named",
        "operations",
        "parameters",
        "similar",
        "slashed",
    )

    def __init__(self, above: _Node | None = None, part: str = "") -> None:
        self._above = above
        self._part = part
        # A large service has tens of thousands of nodes: what is empty is shared by all.
        self.literals: dict[str, _Node] = _EMPTY
        self.similar: dict[str, tuple[str, ...]] = _EMPTY
        """Attribute name → the literals that it may mean."""
        self.parameters = tuple[tuple[Template, _Node], ...]()
        self.named: frozenset[str] = frozenset()
        """Names of the parameters next below."""
        self.operations: dict[str, Operation] = _EMPTY
        """By method in upper case."""
        self.matches: dict[str, Match] = _EMPTY
        """By method as callers write it, for paths without parameters."""
        self.slashed = False
        """The document writes a slash after this path."""

    @property
    def steps(self) -> tuple[str, ...]:
        """As the document writes them, parameters in braces."""
        parts = list[str]()
        node = self
        while node._above is not None:
            parts.append(node._part)
            node = node._above
        return tuple(reversed(parts))

    def only_method(self) -> str:
        """What a call without a verb means: the one method there is, else POST."""
        loud = [method for method in self.operations if method not in QUIET]
        return loud[0] if len(loud) == 1 else "POST"


_Trail = tuple[_Node, tuple[str, ...]]
"""Where steps have led, and the segments they became."""
_Fits = Callable[[_Node], bool]


class Description:
    """A service's OpenAPI document, resolved for calls. Immutable: share it."""

    def __init__(self, root: _Node, operations: tuple[Operation, ...], title: str) -> None:
        self._root = root
        self.operations = operations
        """All, in the order of the document."""
        self.title = title

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Description:
        """Build the tree. What is out of form is left out, never an error; `servers` is ignored."""
        references = References(document)
        root, operations = _Node(), list[Operation]()
        for path, entry in mapping(document.get("paths")).items():
            parts = split_path(path)
            item = references.resolve(entry)
            if parts is None or not item:
                continue
            found = list(_operations(path, item, references))
            if found:
                operations += found
                _plant(root, parts, found)
        title = mapping(document.get("info")).get("title")
        return cls(root, tuple(operations), title if isinstance(title, str) else "")

    def find(
        self, steps: Sequence[Step], verb: str | None, keywords: Mapping[str, Any]
    ) -> Match | None:
        """What a call along *steps* means; None where no path fits (the plain rule holds then).

        Each step: exact name, then the dash form, then a ``{parameter}`` verbatim; of several
        paths, one that has the verb. *keywords* that name the ``{parameter}`` next below become
        segments. Without *verb*: the one verb of the path, else POST.

        Raises:
            AmbiguousPath: names that differ in ``_`` and ``-`` alone, and none is exact.
            ValueError: a keyword's value can be no segment.
        """
        if verb is not None:
            node, segments = _plainly(self._root, steps)
            if node is not None and node.named.isdisjoint(keywords):
                match = node.matches.get(verb)
                if match is not None:
                    return match
                operation = node.operations.get(verb.upper())
                if operation is not None and not node.slashed:
                    return Match(operation.method, tuple(segments), operation)
        return self._find_slowly(steps, verb, keywords)

    def _find_slowly(
        self, steps: Sequence[Step], verb: str | None, keywords: Mapping[str, Any]
    ) -> Match | None:
        method = verb.upper() if verb is not None else None
        start: _Trail = (self._root, ())
        trail = _walk(start, steps, lambda node: _has(node, method))
        if trail is None and keywords:
            # Nothing here has the verb: a parameter named by a keyword may have it.
            trail = _walk(start, steps, lambda node: bool(_below((node, ()), method, keywords)))
        if trail is None:
            trail = _walk(start, steps, lambda node: _has(node, None))
        if trail is None:
            return None
        taken = frozenset[str]()
        below = _below(trail, method, keywords) if keywords else None
        if below is not None:
            trail, taken = below
        node, segments = trail
        chosen = method or node.only_method()
        if node.slashed and segments:
            segments = (*segments, "")
        return Match(chosen, segments, node.operations.get(chosen), taken)

    def children(self, steps: Sequence[Step]) -> list[str]:
        """Attribute names (dashes as ``_``) and verbs below *steps*, for `dir()`."""
        found = set[str]()
        trails: list[_Node] = [self._root]
        for step in steps:
            trails = [node for at in trails for node, _ in _every_next(at, step)]
        for node in trails:
            found |= {name for name in node.similar if is_attribute(name)}
            found |= {method.lower() for method in node.operations}
        return sorted(found)


def _operations(path: str, item: Mapping[str, Any], references: References) -> Iterator[Operation]:
    shared = sequence(item.get("parameters"))
    for method in METHODS:
        raw = item.get(method)
        if not isinstance(raw, Mapping):
            continue
        raw = mapping(raw)  # pyright: ignore[reportUnknownArgumentType]
        if shared:
            # The operation's own come first: the first of a name counts.
            raw = {**raw, "parameters": [*sequence(raw.get("parameters")), *shared]}
        summary, text = raw.get("summary"), raw.get("description")
        yield Operation(
            method.upper(),
            path,
            summary if isinstance(summary, str) else "",
            text if isinstance(text, str) else "",
            raw,
            references,
        )


def _plant(root: _Node, parts: list[str], operations: list[Operation]) -> None:
    slashed = len(parts) > 0 and parts[-1] == ""
    node = root
    for part in parts[:-1] if slashed else parts:
        below = _child(node, part)
        if below is None:
            return
        node = below
    if slashed != node.slashed and node.operations:
        if slashed:
            return  # both forms are described: the plain one is meant
        node.operations, node.matches = _EMPTY, _EMPTY
    node.slashed = slashed
    node.operations = {**node.operations}
    is_plain = not any("{" in step for step in node.steps)
    for operation in operations:
        node.operations.setdefault(operation.method, operation)
    if is_plain:
        segments = (*node.steps, "") if slashed and node.steps else node.steps
        matches = [Match(name, segments, known) for name, known in node.operations.items()]
        node.matches = {match.method: match for match in matches}
        node.matches |= {match.method.lower(): match for match in matches}


def _child(node: _Node, part: str) -> _Node | None:
    template = Template.of(part)
    if template is None:
        if part not in node.literals:
            name = attribute_name(part)
            if not node.literals:
                node.literals, node.similar = {}, {}
            node.literals[part] = _Node(node, part)
            node.similar[name] = (*node.similar.get(name, ()), part)
        return node.literals[part]
    for known, child in node.parameters:
        if known.text == part:
            return child
    if len(node.parameters) >= MAX_PARAMETERS:
        return None
    child = _Node(node, part)
    # ``{name}.json`` says more than ``{name}``.
    node.parameters = tuple(sorted([*node.parameters, (template, child)], key=_vagueness))
    node.named |= {*template.names}
    return child


def _vagueness(entry: tuple[Template, _Node]) -> int:
    return -entry[0].said


def _has(node: _Node, method: str | None) -> bool:
    return bool(node.operations) if method is None else method in node.operations


def _plainly(node: _Node, steps: Sequence[Step]) -> tuple[_Node | None, list[str]]:
    """The first choice at every step, where there is no doubt: `_walk` would end there too."""
    segments = list[str]()
    for step in steps:
        text = step.text
        below = node.literals.get(text)
        if below is None and not step.literal:
            names = node.similar.get(text)
            if names is None and "-" in text:
                return None, segments
            if names is not None:
                if len(names) != 1:
                    return None, segments
                text = names[0]
                below = node.literals[text]
        if below is None:
            for template, child in node.parameters:
                if template.fits(text):
                    below = child
                    break
            else:
                return None, segments
        node = below
        segments.append(text)
    return node, segments


def _walk(start: _Trail, steps: Sequence[Step], fits: _Fits) -> _Trail | None:
    """The best trail along *steps* whose end *fits*; each node of the tree is seen once at most."""
    node, segments = start
    if not steps:
        return start if fits(node) else None
    step, rest = steps[0], steps[1:]
    text = step.text
    exact = node.literals.get(text)
    if exact is not None:
        found = _walk((exact, (*segments, text)), rest, fits)
        if found is not None:
            return found
    if not step.literal:
        found = _walk_similar(start, text, rest, fits)
        if found is not None:
            return found
    for template, child in node.parameters:
        if template.fits(text):
            found = _walk((child, (*segments, text)), rest, fits)
            if found is not None:
                return found
    return None


def _walk_similar(start: _Trail, text: str, rest: Sequence[Step], fits: _Fits) -> _Trail | None:
    node, segments = start
    found = list[_Trail]()
    for name in _similar(node, text):
        trail = _walk((node.literals[name], (*segments, name)), rest, fits)
        if trail is not None:
            found.append(trail)
    if len(found) > 1:
        both = " and ".join("/" + "/".join(trail[0].steps) for trail in found[:2])
        raise AmbiguousPath(f'{text!r} may mean {both}: write client["..."] for the one you mean.')
    return found[0] if found else None


def _similar(node: _Node, text: str) -> list[str]:
    """Literals that attribute *text* may mean, itself not among them."""
    if "-" in text:  # from getattr(): no identifier
        dashed = text.replace("_", "-")
        return [dashed] if dashed != text and dashed in node.literals else []
    return [name for name in node.similar.get(text, ()) if name != text]


def _every_next(node: _Node, step: Step) -> Iterator[tuple[_Node, str]]:
    exact = node.literals.get(step.text)
    if exact is not None:
        yield exact, step.text
    elif not step.literal:
        for name in _similar(node, step.text):
            yield node.literals[name], name
    for template, child in node.parameters:
        if template.fits(step.text):
            yield child, step.text


def _below(
    at: _Trail, method: str | None, keywords: Mapping[str, Any]
) -> tuple[_Trail, frozenset[str]] | None:
    """Where *keywords* lead from here: parameters that they name, as far down as they go."""
    node, segments = at
    own = node.operations.get(method or node.only_method())
    for template, child in node.parameters:
        values = [keywords.get(name) for name in template.names]
        if any(value is None for value in values):
            continue
        if own is not None and any(own.knows(name) for name in template.names):
            continue
        trail = (child, (*segments, template.filled(values)))
        further = _below(trail, method, keywords)
        if further is not None:
            return further[0], further[1] | {*template.names}
        if _has(child, method):
            return trail, frozenset(template.names)
    return None
