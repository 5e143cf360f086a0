"""What relative addresses are resolved against: a stack for each thread and each task."""

from __future__ import annotations

from contextvars import ContextVar

from downstage.client.url_parts import is_raw_path, split
from downstage.client.urls import combine_urls, normalize_url

__all__ = [
    "combine_with_base_url",
    "get_base_url",
    "has_aliases",
    "pop_base_url",
    "push_base_url",
    "set_alias",
    "without_alias",
]

# A task of asyncio has its own; what was stacked where it was made is seen there too.
_stack: ContextVar[tuple[str, ...]] = ContextVar("downstage_base_urls", default=())
_aliases: dict[str, str] = {}


def push_base_url(url: str) -> None:
    """Resolve relative addresses against *url* from now on, in this thread or task."""
    _stack.set((*_stack.get(), combine_with_base_url(url)))


def pop_base_url(url: str) -> bool:
    """Take *url* away again; False, and nothing changes, where it is not the last one pushed."""
    stack = _stack.get()
    if not stack or stack[-1] not in {url, combine_with_base_url(url)}:
        return False
    _stack.set(stack[:-1])
    return True


def get_base_url() -> str:
    """The base in force; empty where none was pushed."""
    stack = _stack.get()
    return stack[-1] if stack else ""


def combine_with_base_url(url: str) -> str:
    """What *url* means under the base in force; *url* itself where there is none."""
    base = get_base_url()
    if not base or is_raw_path(url) or split(url).scheme is not None:
        return url
    return combine_urls(base, url)


def set_alias(alias: str, url: str) -> None:
    """Take every address that begins with *alias* for one that begins with *url*.

    Whole parts count: ``omniverse://assets`` stands for ``omniverse://assets/a``, not for
    ``omniverse://assets2``. An empty *url* takes the alias away.
    """
    key = normalize_url(alias).rstrip("/")
    if url:
        _aliases[key] = url.rstrip("/")
    else:
        _aliases.pop(key, None)


def has_aliases() -> bool:
    """Whether there are any."""
    return bool(_aliases)


def without_alias(url: str) -> str:
    """*url* as it stands once aliases are replaced, the longest first, once."""
    if not _aliases or is_raw_path(url):
        return url
    plain = normalize_url(url)
    for alias in sorted(_aliases, key=len, reverse=True):
        rest = plain.removeprefix(alias)
        if plain.startswith(alias) and (not rest or rest[0] in "/?#"):
            return _aliases[alias] + rest
    return url
