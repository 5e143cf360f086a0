"""Names of a stub's classes, and texts that cannot end the string they stand in."""

from __future__ import annotations

import ast
import builtins
import keyword
import re
from collections.abc import Iterable

from downstage.services.description.names import clean_text

__all__ = ["IMPORTED", "Names", "docstring", "pascal"]

IMPORTED: dict[str, tuple[str, ...]] = {
    "collections.abc": ("AsyncIterator", "Iterator", "Mapping", "Sequence"),
    "contextlib": ("AbstractAsyncContextManager", "AbstractContextManager"),
    "datetime": ("date", "datetime"),
    "typing": (
        "Any",
        "ClassVar",
        "Literal",
        "NotRequired",
        "Protocol",
        "Self",
        "TypeAlias",
        "TypedDict",
        "Unpack",
        "overload",
    ),
    "uuid": ("UUID",),
}
"""What every stub imports."""
MOST = 60
"""Characters of a name's readable part."""
APART = re.compile(r"[^0-9A-Za-z]+")


def pascal(*texts: str) -> str:
    """``/v1/sessions/{id}`` → ``V1SessionsId``; of ASCII alone; "" where there is none."""
    words = [word for text in texts for word in APART.split(text) if word]
    return "".join(word[0].upper() + word[1:] for word in words)[:MOST]


class Names:
    """Gives out class names: each once, none that means something in the stub already."""

    def __init__(self, taken: Iterable[str]) -> None:
        self.taken = {*taken, *dir(builtins), *keyword.kwlist, *keyword.softkwlist}
        self.taken.update(name for names in IMPORTED.values() for name in names)
        self._next = dict[str, int]()

    def take(self, wanted: str) -> str:
        """*wanted*, or *wanted* with a number."""
        base = wanted or "Part"
        if base[0].isdigit():
            base = f"N{base}"
        name, number = base, self._next.get(base, 2)
        while name in self.taken:
            name, number = f"{base}{number}", number + 1
        self._next[base] = number
        self.taken.add(name)
        return name


def docstring(text: str, indent: str) -> str:
    """*text* as a docstring that ends where it should, whatever it holds."""
    cleaned = clean_text(text)
    inside = cleaned.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    if inside.endswith('"'):
        inside = f'{inside[:-1]}\\"'
    lines = [f"{indent}{line}" if line else "" for line in inside.split("\n")]
    quoted = '"""' + "\n".join(lines).lstrip()
    quoted += f'\n{indent}"""' if len(lines) > 1 else '"""'
    if inside == cleaned:
        return quoted  # nothing in it that could end it
    try:
        is_one = isinstance(ast.literal_eval(quoted), str)
    except (ValueError, SyntaxError):
        is_one = False
    return quoted if is_one else ascii(cleaned)
