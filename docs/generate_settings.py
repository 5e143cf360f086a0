"""Write `downstage.example.toml` and `docs/reference/settings.md` from the settings' model.

Run without arguments to write both; a test holds the two files to what this would write.
"""

from __future__ import annotations

import types
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Union, cast, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from downstage.kernel.settings import Settings

__all__ = ["example", "page", "write"]

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "downstage.example.toml"
PAGE = ROOT / "docs" / "reference" / "settings.md"
TEXTS = (
    ("services", "", "http://127.0.0.1:8700"),
    ("bus", "nats://", "nats://127.0.0.1:4222"),
    ("bus", "", "downstage"),
    ("platform", "PostgreSQL", "postgresql://downstage:password@database.example/downstage"),
    ("agent", "", "stun:stun.example:3478"),
    ("gateway", "", "https://gateway-1.example"),
    ("platform content streams", "browsers reach", "https://downstage.example"),
    ("platform content streams media", "", "192.0.2.1"),
)
"""Where, what the description says, and one value that the setting may have there."""
UNITS = (("D", 86400), ("H", 3600), ("M", 60), ("S", 1))

EXAMPLE_HEAD = """\
# Settings of Downstage. Each line shows what holds without it: copy this file, take away the `#`
# where you want something else, and start with `downstage up --config FILE`. A line marked
# (no default) shows one possible value.
#
# An environment variable overrules a line: DOWNSTAGE_PLATFORM__PORT=8700. An option of the command
# line overrules both. A key that does not exist is refused, wherever it stands.
#
# Written by docs/generate_settings.py from the model in src/downstage/kernel/settings.py.
"""

PAGE_HEAD = """\
# Settings

<!-- Written by docs/generate_settings.py from src/downstage/kernel/settings.py: change that. -->

Four places, each overruling the one before: defaults, a TOML file (`downstage up --config FILE`,
or `DOWNSTAGE_CONFIG`), environment variables, options of the command line. A key that does not
exist is refused wherever it stands, and the message says where that is.

In the environment a setting is called `DOWNSTAGE_SECTION__KEY`: `DOWNSTAGE_PLATFORM__PORT=8700`.
Lists are given as `a,b` or as JSON, tables as JSON; an empty value means none. Lengths of time are
seconds or ISO 8601 (`90`, `"PT5M"`), ranges of ports `"50000-50100"`.
"""


def example() -> str:
    """The text of `downstage.example.toml`."""
    parts = [EXAMPLE_HEAD]
    for name, model in _sections():
        lines = [f"# {_plain(model.__doc__)}", f"[{name}]"]
        for key, field in model.model_fields.items():
            none = field.default is None
            lines += ["", f"# {_plain(field.description)}{' (no default)' if none else ''}"]
            lines.append(f"# {key} = {_toml(_sample(name, field) if none else field.default)}")
        parts.append("\n".join(lines) + "\n")
    return "\n\n".join(parts)


def page() -> str:
    """The text of the reference page."""
    parts = [PAGE_HEAD]
    for name, model in _sections():
        lines = [f"## `{name}`", "", model.__doc__ or "", "", "| key | kind | default | meaning |"]
        lines.append("|---|---|---|---|")
        for key, field in model.model_fields.items():
            default = "none" if field.default is None else f"`{_toml(field.default)}`"
            kind = _kind(field.annotation).replace("|", "\\|")
            lines.append(f"| `{key}` | {kind} | {default} | {field.description} |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def write() -> None:
    """Write both files."""
    EXAMPLE.write_text(example(), encoding="utf-8")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")


def _sections() -> list[tuple[str, type[BaseModel]]]:
    # ``exts`` is no section: what stands there is each extension's own matter.
    fields = [(name, field) for name, field in Settings.model_fields.items() if name != "exts"]
    return [(name, cast("type[BaseModel]", field.annotation)) for name, field in fields]


def _plain(text: str | None) -> str:
    return (text or "").replace("``", '"').replace("`", "").replace("\n", " ")


def _toml(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case timedelta():
            return f'"{_iso(value)}"'
        case str() | Path():
            return f'"{value}"'
        case list():
            return "[" + ", ".join(_toml(item) for item in cast("list[Any]", value)) + "]"
        case (int() as low, int() as high):
            return f'"{low}-{high}"'
        case _:
            return str(value)


def _iso(span: timedelta) -> str:
    """``PT8H``, ``P30D``: the largest unit that fits without a rest."""
    seconds = int(span.total_seconds())
    letter, size = next((item for item in UNITS if seconds % item[1] == 0), ("S", 1))
    return f"P{'' if letter == 'D' else 'T'}{seconds // size}{letter}"


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        return next(part for part in get_args(annotation) if part is not type(None))
    return annotation


def _sample(section: str, field: FieldInfo) -> Any:
    """One value that a setting without a default may have."""
    inner = _without_none(field.annotation)
    if get_origin(inner) is Literal:
        return get_args(inner)[0]
    kind = _kind(inner)
    samples = {
        "yes or no": True,
        "path": Path("/path/to/file"),
        "range of ports": "50000-50100",
        "number": _number(section, field),
    }
    if kind in samples:
        return samples[kind]
    text = str(field.description)
    return next(value for where, words, value in TEXTS if section in where and words in text)


def _number(section: str, field: FieldInfo) -> float:
    if section == "agent":
        return 52.5
    if _without_none(field.annotation) is float:
        return 16.0
    if "AMS" in str(field.description):
        return 8444
    return 8601 if "ort" in str(field.description)[:4] else 1_000_000


def _kind(annotation: Any) -> str:
    """What a value is, in words."""
    inner = _without_none(annotation)
    while hasattr(inner, "__metadata__"):
        inner = inner.__origin__
    if get_origin(inner) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(inner))
    if get_origin(inner) is list:
        return f"list: {_kind(get_args(inner)[0])}"
    if get_origin(inner) is tuple:
        return "range of ports"
    if get_origin(inner) is dict:
        return "table"
    names = {bool: "yes or no", int: "number", str: "text", Path: "path", timedelta: "time"}
    return {**names, float: "number", SecretStr: "text, never shown"}[inner]


if __name__ == "__main__":
    write()
