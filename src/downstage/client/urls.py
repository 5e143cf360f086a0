"""Addresses: cut, made, combined, compared. Pure functions on RFC 3986 and RFC 8089.

`join` is for names that others chose: it adds exactly one segment, whatever the name holds.
`combine_urls` follows references, which may lead anywhere; never give it a name from a listing.
"""

from __future__ import annotations

import re

from downstage.client.url_parts import (
    SAFE_HOST,
    SAFE_PATH,
    SAFE_QUERY,
    SAFE_SEGMENT,
    SAFE_USER,
    Split,
    Url,
    decode,
    encode,
    fix_escapes,
    is_drive,
    is_raw_path,
    lower_ascii,
    remove_dot_segments,
    split,
    split_authority,
    unsplit,
)

__all__ = [
    "Url",
    "break_url",
    "break_url_reference",
    "combine_urls",
    "equal_urls",
    "get_branch_and_checkpoint_from_query",
    "is_local_url",
    "is_valid_url",
    "join",
    "make_file_url",
    "make_file_url_if_possible",
    "make_printable",
    "make_query_from_branch_and_checkpoint",
    "make_relative_url",
    "make_relative_url_if_possible",
    "make_url",
    "normalize_url",
]

MAX_DIGITS = 18
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def break_url_reference(url: str) -> Url:
    """The parts of *url*, decoded; every text has them, a relative reference too."""
    parts = split(url)
    user, host, port = None, None, None
    if parts.authority is not None:
        user, host, port = split_authority(parts.authority)
    return Url(
        scheme=parts.scheme,
        user=None if user is None else decode(user),
        host=host,
        port=port,
        path=decode(parts.path) if parts.path else None,
        query=None if parts.query is None else decode(parts.query),
        fragment=None if parts.fragment is None else decode(parts.fragment),
    )


def break_url(url: str) -> Url:
    r"""The parts of *url*; a path of this machine (``/a``, ``C:\a``) comes back whole."""
    if is_raw_path(url):
        return Url(path=url, is_raw=True)
    return break_url_reference(url)


def make_url(  # noqa: PLR0917 - the order of the parts is the address's own
    scheme: str | None = None,
    user: str | None = None,
    host: str | None = None,
    port: str | None = None,
    path: str | None = None,
    query: str | None = None,
    fragment: str | None = None,
) -> str:
    """An address of these parts, each encoded for its place; the inverse of `break_url`."""
    authority = None
    if host is not None or user is not None or port:
        authority = encode(host or "", SAFE_HOST)
        if user is not None:
            authority = f"{encode(user, SAFE_USER)}@{authority}"
        if port:
            authority += f":{encode(port, '')}"
    return unsplit(
        Split(
            scheme,
            authority,
            encode(path or "", SAFE_PATH),
            None if query is None else encode(query, SAFE_QUERY),
            None if fragment is None else encode(fragment, SAFE_QUERY),
        )
    )


def combine_urls(base: str, url: str) -> str:
    """What the reference *url* means inside *base* (RFC 3986, 5.2.2, strict).

    A name out of a listing is no reference: ``a:b`` or ``//h`` would lead elsewhere; use `join`.
    """
    if is_drive(url) or url.startswith("\\\\"):
        return url
    reference = split(url)
    if reference.scheme is not None:
        return unsplit(reference._replace(path=remove_dot_segments(reference.path)))
    if is_raw_path(base):
        return _combine_raw(base, url) if reference.authority is None else url
    return unsplit(_resolve(split(base), reference))


def _resolve(base: Split, reference: Split) -> Split:
    if reference.authority is not None:
        path = remove_dot_segments(reference.path)
        return reference._replace(scheme=base.scheme, path=path)
    query = reference.query
    if not reference.path:
        path = base.path
        query = base.query if query is None else query
    elif reference.path.startswith("/"):
        path = remove_dot_segments(reference.path)
    else:
        path = _merge(base, reference.path)
    return Split(base.scheme, base.authority, path, query, reference.fragment)


def _merge(base: Split, path: str) -> str:
    if base.authority is not None and not base.path:
        return remove_dot_segments(f"/{path}")
    folder = base.path.rpartition("/")[0] + "/" if "/" in base.path else ""
    return remove_dot_segments(folder + path)


def _combine_raw(base: str, path: str) -> str:
    """The same among paths of a machine, where nothing is encoded."""
    if not path:
        return base
    if is_drive(base):
        drive, rest = base[:2], base[2:].replace("\\", "/")
    elif base.startswith("\\\\"):
        drive, rest = "\\\\", base[2:]
        folder = rest.rpartition("\\")[0]
        return drive + (f"{folder}\\" if folder else "") + path.replace("/", "\\")
    else:
        drive, rest = "", base
    if path.startswith("/"):
        return drive + remove_dot_segments(path)
    return drive + remove_dot_segments(rest.rpartition("/")[0] + "/" + path)


def normalize_url(url: str) -> str:
    """*url* in its one form: for comparing and as a key. A path of this machine stays as it is."""
    if is_raw_path(url):
        return url
    scheme, authority, path, query, fragment = split(url)
    path = fix_escapes(path, SAFE_PATH)
    if scheme is not None:
        scheme = lower_ascii(scheme)
        path = remove_dot_segments(path)
    return unsplit(
        Split(
            scheme,
            None if authority is None else _normal_authority(authority),
            path,
            None if query is None else fix_escapes(query, SAFE_QUERY),
            None if fragment is None else fix_escapes(fragment, SAFE_QUERY),
        )
    )


def _normal_authority(authority: str) -> str:
    user, host, port = split_authority(authority)
    text = fix_escapes(host, SAFE_HOST, lower=True)
    if user is not None:
        text = f"{fix_escapes(user, SAFE_USER)}@{text}"
    return f"{text}:{port}" if port else text


def make_relative_url(base: str, url: str) -> str:
    """The reference that means *url* inside *base*; *url* itself where none does."""
    if is_raw_path(base) != is_raw_path(url):
        return url
    target = combine_urls(base, url)
    if is_raw_path(base):
        relative = _relative_path(base, target, is_raw=True) if base.startswith("/") else url
    else:
        ours, theirs = split(base), split(target)
        if (ours.scheme, ours.authority) != (theirs.scheme, theirs.authority):
            return url
        relative = unsplit(Split(None, None, _relative_path(ours.path, theirs.path), *theirs[3:]))
    return relative if combine_urls(base, relative) == target else url


def _relative_path(base: str, target: str, *, is_raw: bool = False) -> str:
    here, there = base.split("/")[:-1] or [""], target.split("/")
    shared = 0
    most = min(len(here), len(there) - 1)
    while shared < most and here[shared] == there[shared]:
        shared += 1
    path = "/".join([".."] * (len(here) - shared) + there[shared:])
    first = path.partition("/")[0]
    if not first or (is_raw and ":" in first):
        path = f"./{path}"
    return path


def make_relative_url_if_possible(base: str, url: str) -> str:
    """As `make_relative_url`."""
    return make_relative_url(base, url)


def make_file_url(path: str) -> str:
    """The ``file:`` address of a path of a machine (RFC 8089); a relative path stays relative."""
    if path.startswith("\\\\"):
        host, _, rest = path[2:].partition("\\")
        return make_url("file", host=host, path="/" + rest.replace("\\", "/"))
    if is_drive(path):
        return make_url("file", host="", path="/" + path.replace("\\", "/"))
    if path.startswith("/"):
        return make_url("file", host="", path=path)
    return make_url(path=path)


def make_file_url_if_possible(path: str) -> str:
    """As `make_file_url` for a path of a machine; anything else comes back as it is."""
    return make_file_url(path) if is_raw_path(path) else path


def join(base: str, name: str) -> str:
    """The address of the thing called *name* in the folder *base*: exactly one segment more.

    Raises:
        ValueError: *name* is empty, ``.`` or ``..``, or holds what no segment can hold.
    """
    if name in {"", ".", ".."} or "\0" in name:
        raise ValueError(f"{name!r} names nothing in a folder")
    if is_raw_path(base):
        if "/" in name or (not base.startswith("/") and "\\" in name):
            raise ValueError(f"{name!r} is no single name")
        slash = "/" if base.startswith("/") or "\\" not in base else "\\"
        return base.rstrip(slash) + slash + name
    scheme, authority, path, _, _ = split(base)
    if path and not path.endswith("/"):
        path += "/"
    return unsplit(Split(scheme, authority, path + encode(name, SAFE_SEGMENT), None, None))


def equal_urls(first: str, second: str) -> bool:
    """Whether both have the same normal form."""
    return normalize_url(first) == normalize_url(second)


def is_local_url(url: str) -> bool:
    """Whether *url* names a file of this machine."""
    if is_raw_path(url):
        return True
    parts = split(url)
    is_here = parts.authority in {None, "", "localhost"}
    return parts.scheme is not None and lower_ascii(parts.scheme) == "file" and is_here


def is_valid_url(url: str) -> bool:
    """Whether *url* names something by itself: a scheme and more, or a path of this machine."""
    if not url or CONTROL.search(url):
        return False
    if is_raw_path(url):
        return True
    parts = split(url)
    return parts.scheme is not None and bool(parts.authority or parts.path)


def make_printable(url: str) -> str:
    """*url* for eyes: escapes of letters decoded, a password in it hidden. Never an address."""
    if is_raw_path(url):
        return url
    scheme, authority, path, query, fragment = split(url)
    if authority is not None:
        user, host, port = split_authority(authority)
        shown = host + (f":{port}" if port else "")
        if user is not None:
            name, colon, _ = user.partition(":")
            shown = f"{name}{':…' if colon else ''}@{shown}"
        authority = shown
    seen = [None if part is None else _seen(part) for part in (path, query, fragment)]
    return unsplit(Split(scheme, authority, seen[0] or "", seen[1], seen[2]))


def _seen(text: str) -> str:
    decoded = decode(text)
    return decoded if decoded.isprintable() else text


def get_branch_and_checkpoint_from_query(query: str) -> tuple[str, int] | None:
    """Branch and number in a query ``[branch]&checkpoint``; None where it is not of that form."""
    branch, _, number = query.partition("&")
    if not (branch or number) or "=" in branch:
        return None
    if number and not (number.isascii() and number.isdigit() and len(number) <= MAX_DIGITS):
        return None
    return branch, int(number or 0)


def make_query_from_branch_and_checkpoint(branch: str | None, checkpoint: int) -> str:
    """The inverse; 0 leaves the number out."""
    return f"{branch or ''}&{checkpoint}" if checkpoint else branch or ""
