"""What WebDAV says in XML: bodies read with bounds and without entities, answers written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree.ElementTree import (
    Element,
    ParseError,
    TreeBuilder,
    register_namespace,
    tostring,
)

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from downstage.kernel.errors import InvalidInput

__all__ = [
    "CLOSE",
    "DAV",
    "MAX_XML",
    "OPEN",
    "Ask",
    "Change",
    "LockAsk",
    "dumps",
    "element",
    "error_body",
    "multistatus",
    "parse",
    "read_lockinfo",
    "read_propertyupdate",
    "read_propfind",
]

register_namespace("D", "DAV:")  # old clients know no other prefix
DAV = "{DAV:}"
MAX_XML = 1024 * 1024
"""Bytes of a body of XML."""
MAX_NESTING = 64
MAX_ELEMENTS = 10_000
MAX_ASKED = 256
"""Properties that one PROPFIND may name: they are answered for each thing in a folder."""
MAX_NAMES = 16 * 1024
"""Characters of all their names."""
MAX_OWNER = 2048
"""Characters of a lock's owner, as XML."""


class _Bounded(TreeBuilder):
    """Builds a tree that is neither deep nor wide enough to hurt."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._open = 0
        self._left = most

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        self._open += 1
        self._left -= 1
        if self._open > MAX_NESTING or self._left < 0:
            raise InvalidInput("The XML is nested too deeply, or has too many elements.")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        self._open -= 1
        return super().end(tag)


def parse(body: bytes, *roots: str, most: int = MAX_ELEMENTS) -> Element:
    """The element, one of *roots*, that *body* is. DTDs, entities and external things are refused.

    Raises:
        InvalidInput: it is no such XML.
    """
    parser = DefusedXMLParser(target=_Bounded(most), forbid_dtd=True)
    try:
        parser.feed(body)
        found: Element = parser.close()
    except DefusedXmlException as error:
        raise InvalidInput("The XML must not declare a document type or entities.") from error
    except (ParseError, ValueError, LookupError) as error:
        raise InvalidInput("The body is not well-formed XML.") from error
    if found.tag not in roots:
        raise InvalidInput(f"The body must be {roots[0].removeprefix(DAV)}.")
    return found


@dataclass(frozen=True, slots=True)
class Ask:
    """What a PROPFIND wants: all, names alone, or the properties *names*."""

    kind: Literal["all", "names", "some"]
    names: tuple[str, ...] = ()
    """In the form ``{namespace}name``; with ``all``, what is wanted besides."""


def read_propfind(body: bytes) -> Ask:
    """What a PROPFIND asks for; without a body, everything.

    Raises:
        InvalidInput: the body is out of form, or asks for too many properties.
    """
    if not body.strip():
        return Ask("all")
    root = parse(body, f"{DAV}propfind")
    wanted, include = root.find(f"{DAV}prop"), root.find(f"{DAV}include")
    given = [*(wanted if wanted is not None else ()), *(include if include is not None else ())]
    names = tuple(dict.fromkeys(item.tag for item in given))
    if len(names) > MAX_ASKED or sum(map(len, names)) > MAX_NAMES:
        raise InvalidInput(f"A PROPFIND names at most {MAX_ASKED} properties, and short ones.")
    if root.find(f"{DAV}propname") is not None:
        return Ask("names")
    if root.find(f"{DAV}allprop") is not None:
        return Ask("all", names)
    if wanted is None:
        raise InvalidInput("propfind holds one of prop, propname and allprop.")
    return Ask("some", names)


@dataclass(frozen=True, slots=True)
class Change:
    """One step of a PROPPATCH; *value* is the element as XML, None: remove it."""

    name: str
    value: str | None


def read_propertyupdate(body: bytes) -> list[Change]:
    """The steps of a PROPPATCH, in their order.

    Raises:
        InvalidInput: the body is out of form.
    """
    root = parse(body, f"{DAV}propertyupdate")
    found: list[Change] = []
    for step in root:
        if step.tag not in (f"{DAV}set", f"{DAV}remove"):
            continue
        for props in step.iterfind(f"{DAV}prop"):
            language = _language(root, step, props)
            found += [_change(item, language, keep=step.tag == f"{DAV}set") for item in props]
    if not found:
        raise InvalidInput("propertyupdate sets or removes at least one property.")
    return found


LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


def _language(*around: Element) -> str | None:
    """xml:lang is inherited: what stands around a property belongs to it."""
    found = [item.get(LANGUAGE) for item in around if item.get(LANGUAGE) is not None]
    return found[-1] if found else None


def _change(item: Element, language: str | None, *, keep: bool) -> Change:
    if not keep:
        return Change(item.tag, None)
    if language is not None and item.get(LANGUAGE) is None:
        item.set(LANGUAGE, language)
    item.tail = None
    return Change(item.tag, tostring(item, encoding="unicode"))


@dataclass(frozen=True, slots=True)
class LockAsk:
    """What a LOCK wants."""

    shared: bool
    owner: str
    """The element ``owner`` as XML; empty: none was given."""


def read_lockinfo(body: bytes) -> LockAsk:
    """What a LOCK asks for.

    Raises:
        InvalidInput: the body is out of form.
    """
    root = parse(body, f"{DAV}lockinfo")
    scope, kind = root.find(f"{DAV}lockscope"), root.find(f"{DAV}locktype")
    if scope is None or kind is None or kind.find(f"{DAV}write") is None:
        raise InvalidInput("lockinfo needs a lockscope and the locktype write.")
    shared = scope.find(f"{DAV}shared") is not None
    if not shared and scope.find(f"{DAV}exclusive") is None:
        raise InvalidInput("The lockscope is exclusive or shared.")
    owner = root.find(f"{DAV}owner")
    text = ""
    if owner is not None:
        owner.tail = None
        text = tostring(owner, encoding="unicode")
    if len(text) > MAX_OWNER:
        raise InvalidInput(f"The owner of a lock has at most {MAX_OWNER} characters.")
    return LockAsk(shared, text)


def element(name: str, *children: Element, text: str | None = None) -> Element:
    """An element of WebDAV's namespace, or of another as ``{namespace}name``."""
    found = Element(name if name.startswith("{") else DAV + name)
    found.text = text
    found.extend(children)
    return found


HEAD = b'<?xml version="1.0" encoding="utf-8"?>\n'
OPEN = HEAD + b'<D:multistatus xmlns:D="DAV:">'
CLOSE = b"</D:multistatus>"


def dumps(root: Element) -> bytes:
    """*root* as a document."""
    return HEAD + tostring(root, encoding="utf-8", xml_declaration=False)


def multistatus(responses: Iterable[Element]) -> bytes:
    """Part of a multistatus: responses alone, between `OPEN` and `CLOSE`."""
    return b"".join(tostring(item, encoding="utf-8", xml_declaration=False) for item in responses)


def error_body(condition: str, hrefs: Sequence[str] = ()) -> bytes:
    """The body that names the *condition* which did not hold."""
    named = element(condition, *(element("href", text=href) for href in hrefs))
    return dumps(element("error", named))
