"""Paths of specs as USD writes them: ``/Prim/child.property``, ``/Prim{set=variant}child``."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from downstage.kernel.errors import BadMessage

__all__ = [
    "MAX_DEPTH",
    "MAX_PATH",
    "ROOT",
    "Shape",
    "ancestors",
    "check",
    "is_under",
    "name_of",
    "parent_of",
    "shape_of",
]

ROOT = "/"
MAX_PATH = 4096
"""Characters of a path."""
MAX_DEPTH = 128
"""Elements of a path; USD's own stages seldom reach 20."""

Shape = Literal["layer", "prim", "property", "variants", "variant"]
"""What a path can name; a property is an attribute or a relationship."""

_KNOWN = 65536


def shape_of(path: str) -> Shape:
    """What *path* names, judged by its end alone."""
    if path == ROOT:
        return "layer"
    if path.endswith("=}"):
        return "variants"
    if path.endswith("}"):
        return "variant"
    return "property" if path[_cut(path)] == "." else "prim"


@lru_cache(_KNOWN)
def parent_of(path: str) -> str:
    """The spec that holds *path*: a variant lies in its set, a set in its prim."""
    cut = _cut(path)
    if path.endswith("}") and not path.endswith("=}"):
        return path[: path.index("=", cut) + 1] + "}"
    if path[cut] == "}":
        cut += 1
    return path[:cut] or ROOT


def name_of(path: str) -> str:
    """The last element, without its separator."""
    return path[_cut(path) :].lstrip("/.}")


@lru_cache(_KNOWN)
def ancestors(path: str) -> tuple[str, ...]:
    """*path* and all that hold it, nearest first; the root is the last."""
    return (path,) if path == ROOT else (path, *ancestors(parent_of(path)))


def is_under(path: str, root: str) -> bool:
    """*path* is *root*, or lies in it."""
    return path == root or root in ancestors(path)


@lru_cache(_KNOWN)
def check(path: str) -> str:
    """*path* itself, where it is in form.

    Raises:
        BadMessage: it is not.
    """
    if len(path) > MAX_PATH:
        raise BadMessage(f"A path has at most {MAX_PATH} characters.")
    if path == ROOT:
        return path
    held, depth = path, 0
    while held != ROOT:
        depth += 1
        if depth > MAX_DEPTH:
            raise BadMessage(f"A path has at most {MAX_DEPTH} elements.")
        if not held.startswith(ROOT) or not _is_formed(held):
            raise BadMessage("This is no path of a spec.", path=path[:256])
        held = parent_of(held)
    return path


def _cut(path: str) -> int:
    """Where the last element begins (at its separator)."""
    if path.endswith("}"):
        return path.rfind("{")
    return max(path.rfind("/"), path.rfind("."), path.rfind("}"))


def _is_formed(path: str) -> bool:
    cut = _cut(path)
    if cut < 0:
        return False
    element, holder = path[cut + 1 :], path[: cut + (path[cut] == "}")]
    match path[cut]:
        case "{":
            return cut > 0 and _is_set(element[:-1]) and _holds_prims(holder)
        case ".":
            return cut > 0 and _holds_prims(holder) and _is_property(element)
        case "/":
            return element.isidentifier() and (cut == 0 or _ends_in_name(holder))
        case _:
            return element.isidentifier() and _holds_prims(holder)


def _holds_prims(path: str) -> bool:
    return shape_of(path) in ("prim", "variant") if path else False


def _ends_in_name(path: str) -> bool:
    return shape_of(path) == "prim"


def _is_set(text: str) -> bool:
    name, equals, variant = text.partition("=")
    plain = variant.removeprefix(".").replace("|", "_").replace("-", "_")
    return bool(equals) and name.isidentifier() and (not variant or f"_{plain}".isidentifier())


def _is_property(text: str) -> bool:
    return all(part.isidentifier() for part in text.split(":"))
