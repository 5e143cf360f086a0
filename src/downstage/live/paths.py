"""Paths of specs as USD writes them: ``/Prim/child.property``, ``/Prim{set=variant}child``."""

from __future__ import annotations

import re
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
_NAME = r"[^/.{}=:]+"
_FORM = re.compile(
    rf"(?:/{_NAME})+(?:\{{{_NAME}=v\}}(?:{_NAME}(?:/{_NAME})*)?)*"
    rf"(?:\{{{_NAME}=\}}|\.{_NAME}(?::{_NAME})*)?"
)
"""Of a path in which each variant is called ``v``; no part of it can be read in two ways."""
_VARIANT = re.compile(r"=\.?([^/.{}=:]*)(?<!=)\}")
_BETWEEN = re.compile(r"[/.{}=:]+")
_IN_VARIANT = re.compile(r"\}[^.{]")
_VARIANT_SIGNS = str.maketrans("|-", "__")


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
    """*path* itself, where it is in form. A few searches: strangers send 50,000 at a time.

    Raises:
        BadMessage: it is not.
    """
    if len(path) > MAX_PATH:
        raise BadMessage(f"A path has at most {MAX_PATH} characters.")
    if path == ROOT:
        return path
    plain = path
    if "{" in path:
        variants = "_" + "_".join(_VARIANT.findall(path))
        plain = _VARIANT.sub("=v}", path) if _is_variants(variants) else ""
    if _FORM.fullmatch(plain) is None or not _are_names(plain):
        raise BadMessage("This is no path of a spec.", path=path[:256])
    if _depth(plain) > MAX_DEPTH:
        raise BadMessage(f"A path has at most {MAX_DEPTH} elements.")
    return path


def _cut(path: str) -> int:
    """Where the last element begins (at its separator)."""
    if path.endswith("}"):
        return path.rfind("{")
    return max(path.rfind("/"), path.rfind("."), path.rfind("}"))


def _is_variants(text: str) -> bool:
    """Whether variants may be called so, joined behind underscores."""
    return text.translate(_VARIANT_SIGNS).isidentifier()


def _are_names(plain: str) -> bool:
    return all(map(str.isidentifier, filter(None, _BETWEEN.split(plain))))


def _depth(plain: str) -> int:
    """How many specs hold one another down to here, itself included; a variant lies in its set."""
    sets = 2 * plain.count("{") - plain.endswith("=}")
    return plain.count("/") + sets + len(_IN_VARIANT.findall(plain)) + ("." in plain)
