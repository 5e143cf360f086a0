"""``manifest.yaml`` as Anbox's application packages have it, read as an `ApplicationFile`.

What concerns Android alone (``boot-package``, ``watchdog``, …) is kept in `ApplicationFile.extra`
and has no effect. An application of ours must say what it runs: ``command``, an argument vector,
or ``image``; further keys of ``application.toml`` may stand below ``downstage``.

Aliases, repeated keys and deep nesting are refused: they are how small files become large ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import yaml
from pydantic import ValidationError

from downstage.manager.catalogue.manifest import DEFAULT, ApplicationFile, explain

__all__ = ["YAML_FILE", "read_mapping", "read_yaml", "seconds"]

YAML_FILE = "manifest.yaml"
SIZE = re.compile(r"([0-9]{1,15})\s*(B|[kKMGT]i?B?)?")
SPAN = re.compile(r"([0-9]{1,6})(s|m|h)?")
TYPE = re.compile(r"([ag])([0-9]{1,3})\.([0-9]{1,4})")
UNITS = {"": 1, "B": 1, "k": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
SECONDS = {"s": 1, "m": 60, "h": 3600}
MIB = 1 << 20
DEEPEST = 16
MOST_PORTS = 32
OURS = ("name", "image", "tags", "addons", "command", "title", "description")
FOREIGN = (
    "abi",
    "architecture",
    "boot-activity",
    "boot-package",
    "bootstrap",
    "extra-data",
    "features",
    "inhibit-auto-updates",
    "instance-type",
    "metadata",
    "node-selector",
    "required-permissions",
    "version",
    "video-encoder",
    "watchdog",
)
Keys = Mapping[str, Any]


class _Loader(yaml.SafeLoader):
    """Plain values only, in bounds."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Build the next node; no aliases, not too deep."""
        if self.check_event(yaml.AliasEvent):
            msg = "aliases are not taken"
            raise ValueError(msg)
        self.depth += 1
        if self.depth > DEEPEST:
            msg = "it is nested too deeply"
            raise ValueError(msg)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """A mapping, no key of which may come twice."""
        keys = [key.value for key, _ in node.value]
        if len(set(map(str, keys))) != len(keys):
            msg = "a key stands there twice"
            raise ValueError(msg)
        return super().construct_mapping(node, deep=deep)


def read_mapping(text: bytes) -> Keys:
    """The mapping that *text* is, its keys with dashes.

    Raises:
        ValueError: it is none.
    """
    try:
        found: object = yaml.load(text.decode("utf-8"), Loader=_Loader)  # noqa: S506 - a safe one
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        msg = f"is not YAML: {str(error)[:200]}"
        raise ValueError(msg) from error
    if not isinstance(found, dict):
        msg = "holds no mapping"
        raise ValueError(msg)  # noqa: TRY004 - content, not a type
    items = cast("dict[object, Any]", found)
    return {str(key).replace("_", "-"): value for key, value in items.items()}


def read_yaml(text: bytes) -> ApplicationFile:
    """The manifest that *text* is.

    Raises:
        ValueError: it is none; the message names the key.
    """
    keys = read_mapping(text)
    known = {*OURS, *FOREIGN, "resources", "services", "hooks", "downstage"}
    unknown = sorted(keys.keys() - known)
    if unknown:
        msg = "; ".join(f"{key[:64]}: is not known" for key in unknown)
        raise ValueError(msg)
    values = {key: keys[key] for key in OURS if keys.get(key) is not None}
    values.setdefault("title", values.get("name"))
    values["extra"] = {
        key.replace("-", "_"): _text(keys[key]) for key in FOREIGN if keys.get(key) is not None
    }
    values["ports"] = _ports(keys.get("services"))
    needs = _needs(keys)
    values["profiles"] = {DEFAULT: needs} if needs else {}
    timeout = _mapping(keys, "hooks").get("timeout")
    if timeout is not None:
        values["hooks"] = {"timeout_s": seconds(timeout)}
    more = _mapping(keys, "downstage")
    values |= {str(key).replace("-", "_"): value for key, value in more.items()}
    try:
        return ApplicationFile.model_validate(values)
    except ValidationError as error:
        raise ValueError(explain(error)) from error


def _mapping(keys: Keys, name: str) -> dict[str, Any]:
    found: object = keys.get(name) or {}
    if not isinstance(found, dict):
        msg = f"{name}: is no mapping"
        raise ValueError(msg)  # noqa: TRY004 - content, not a type
    return cast("dict[str, Any]", found)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _needs(keys: Keys) -> dict[str, Any]:
    found = dict[str, Any]()
    kind = keys.get("instance-type")
    if kind is not None:
        match = TYPE.fullmatch(str(kind))
        if match is None:
            msg = "instance-type: is none of a2.3, a4.3, g4.3 and the like"
            raise ValueError(msg)
        found |= {"cpus": int(match[2]), "memory_mb": int(match[3]) * 1024}
        if match[1] == "g":
            found["gpu_slots"] = 1
    readers: dict[str, tuple[str, Callable[[object], object]]] = {
        "cpus": ("cpus", lambda value: value),
        "memory": ("memory_mb", _mib),
        "disk-size": ("disk_mb", _mib),
        "gpu-slots": ("gpu_slots", lambda value: value),
    }
    for key, value in _mapping(keys, "resources").items():
        name = str(key).replace("_", "-")
        if name not in readers:
            msg = f"resources.{name[:64]}: is not known"
            raise ValueError(msg)
        ours, read = readers[name]
        found[ours] = read(value)
    return found


def _mib(value: object) -> int:
    match = SIZE.fullmatch(str(value).strip())
    if match is None:
        msg = f"resources: {str(value)[:32]!r} is no size"
        raise ValueError(msg)
    unit = (match[2] or "").removesuffix("B").removesuffix("i") or (match[2] or "")[:1]
    size = int(match[1]) * UNITS["k" if unit == "K" else unit]
    return max(1, -(-size // MIB))


def seconds(value: object) -> int:
    """A span such as ``5m`` in seconds.

    Raises:
        ValueError: it is none.
    """
    match = SPAN.fullmatch(str(value).strip())
    if match is None:
        msg = "hooks.timeout: is no time such as 5m"
        raise ValueError(msg)
    return int(match[1]) * SECONDS[match[2] or "s"]


def _ports(services: object) -> list[dict[str, Any]]:
    found = list[dict[str, Any]]()
    if services is None:
        return found
    if not isinstance(services, list):
        msg = "services: is no list"
        raise ValueError(msg)  # noqa: TRY004 - content, not a type
    for position, item in enumerate(cast("list[object]", services)):
        if not isinstance(item, dict):
            msg = f"services.{position}: is no mapping"
            raise ValueError(msg)  # noqa: TRY004 - content, not a type
        found += _service(cast("dict[str, Any]", item), position)
    if len(found) > MOST_PORTS:
        msg = f"services: more than {MOST_PORTS} ports"
        raise ValueError(msg)
    return found


def _service(item: dict[str, Any], position: int) -> list[dict[str, Any]]:
    first = item.get("port")
    last = item.get("port-end", item.get("port_end")) or first
    if (
        not isinstance(first, int)
        or not isinstance(last, int)
        or not 0 <= last - first < MOST_PORTS
    ):
        msg = f"services.{position}.port: is no port, or the range is too long"
        raise ValueError(msg)
    protocols: list[object] = item.get("protocols") or ["tcp"]
    return [
        {"name": str(item.get("name")), "number": number, "type": str(protocol).upper()}
        for number in range(first, last + 1)
        for protocol in protocols
    ]
