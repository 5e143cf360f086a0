"""Documents of S3: written, and read with bounds."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from xml.etree.ElementTree import Element, tostring

from downstage.content.dialects import webdav_xml
from downstage.content.dialects.s3_errors import S3Error
from downstage.kernel.errors import InvalidInput

__all__ = ["MAX_XML", "XML_TYPE", "document", "node", "read", "stamp", "texts"]

MAX_XML = 2 * 1024 * 1024
"""Bytes of a body of XML: a thousand keys of a thousand bytes, or ten thousand parts."""
MAX_ELEMENTS = 100_000
SPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
XML_TYPE = "application/xml"


def node(name: str, content: str | Iterable[Element] | None = "") -> Element:
    """An element with a text or with elements."""
    found = Element(name)
    if isinstance(content, str):
        found.text = content
    elif content is not None:
        found.extend(content)
    return found


def document(name: str, content: Iterable[Element]) -> bytes:
    """A whole answer."""
    root = node(name, content)
    root.set("xmlns", SPACE)
    return tostring(root, encoding="utf-8", xml_declaration=True)


def stamp(ns: int) -> str:
    """A moment as S3 writes it, from nanoseconds since the epoch."""
    at = datetime.fromtimestamp(ns / 10**9, UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def read(body: bytes, name: str) -> Element:
    """The element *name* that *body* is, with or without S3's namespace.

    Raises:
        S3Error: it is no such XML.
    """
    try:
        return webdav_xml.parse(body, name, f"{{{SPACE}}}{name}", most=MAX_ELEMENTS)
    except InvalidInput as error:
        raise S3Error("MalformedXML", 400, error.detail) from error


def texts(parent: Element) -> dict[str, str]:
    """The texts of an element's children, by name without namespace."""
    return {child.tag.rpartition("}")[2]: child.text or "" for child in parent}
