"""What clients of S3 tell of an object beside its bytes, kept as our properties."""

from __future__ import annotations

import re
from collections.abc import Mapping

from downstage.content.dialects.s3_errors import S3Error
from downstage.content.dialects.s3_visit import Visit
from downstage.content.dialects.webdav_props import CONTENT_TYPE, known_properties
from downstage.content.model import Entry, Family

__all__ = ["family_of", "metadata_of", "replace_metadata", "told_metadata"]

META = "x-amz-meta-"
KEPT = "s3:meta:"
PLAIN = ("cache-control", "content-encoding", "content-language", "expires")
"""Kept and told again as they came; a disposition is not: what users store is never shown."""
PLAIN_KEPT = "s3:header:"
OURS = (CONTENT_TYPE, KEPT, PLAIN_KEPT)
MAX_METADATA = 2048
NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
VALUE = re.compile(r"[\x20-\x7e\x80-\xff]*")
"""What goes into a header as it is: other dialects let any text be a property."""
DEFAULT_TYPES = ("", "application/octet-stream", "binary/octet-stream")


def metadata_of(visit: Visit) -> dict[str, str]:
    """Our properties for what the request tells of its object.

    Raises:
        S3Error: more than S3 takes.
    """
    found: dict[str, str] = {}
    for name, value in visit.exchange.headers.items():
        if name.startswith(META):
            found[KEPT + name[len(META) :]] = value
        elif name in PLAIN:
            kept = _without_chunks(value) if name == "content-encoding" else value
            found |= {PLAIN_KEPT + name: kept} if kept else {}
    if sum(len(name) + len(value) for name, value in found.items()) > MAX_METADATA:
        raise S3Error("MetadataTooLarge", 400, f"At most {MAX_METADATA} bytes of metadata.")
    kind = visit.exchange.header("content-type")
    if kind not in DEFAULT_TYPES and len(kind) < 256:  # noqa: PLR2004 - a media type
        found[CONTENT_TYPE] = kind
    return found


def _without_chunks(coding: str) -> str:
    """``aws-chunked`` is how a body travels, not what it is."""
    parts = [part.strip() for part in coding.split(",")]
    return ",".join(part for part in parts if part and part.lower() != "aws-chunked")


def family_of(values: Mapping[str, str]) -> Family:
    """What of *values* an object of S3 has, in place of what it had."""
    return Family(OURS, {name: text for name, text in values.items() if name.startswith(OURS)})


async def replace_metadata(visit: Visit, entry: Entry, wanted: Mapping[str, str]) -> None:
    """Let *wanted* be what is told of an object that stays as it is."""
    before = await known_properties(visit.content, visit.caller, entry.path)
    gone = [name for name in before if name.startswith(OURS) and name not in wanted]
    put = {name: text for name, text in wanted.items() if before.get(name) != text}
    if put or gone:
        await visit.content.patch_properties(visit.caller, entry.path, put, gone)


def told_metadata(properties: Mapping[str, str]) -> dict[str, str]:
    """Headers that tell of an object what was told of it."""
    found = {META + k[len(KEPT) :]: v for k, v in properties.items() if k.startswith(KEPT)}
    for name in PLAIN:
        if PLAIN_KEPT + name in properties:
            found[name] = properties[PLAIN_KEPT + name]
    return {k: v for k, v in found.items() if NAME.fullmatch(k) and VALUE.fullmatch(v)}
