"""A call as a ``curl`` command, for documentation: nothing is sent, no secret is shown."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, cast
from urllib.parse import quote, urlsplit

import msgspec
from pydantic import BaseModel, SecretBytes, SecretStr

from downstage.services.client.asked import read_call
from downstage.services.client.building import IDEMPOTENCY_KEY
from downstage.services.client.decoding import SECRET_HEADERS, TELLING
from downstage.services.client.encoding import encode_json
from downstage.services.client.engine import Engine
from downstage.services.client.outgoing import Outgoing
from downstage.services.client.propagation import REQUEST_ID, TIMEOUT, TRACE
from downstage.services.client.target import Target

__all__ = ["to_curl"]

MASK = "***"
WITH_SCHEME = frozenset({"authorization", "proxy-authorization"})
UNSAID = frozenset({REQUEST_ID, TIMEOUT, TRACE, IDEMPOTENCY_KEY, "content-length"})


def to_curl(
    engine: Engine, target: Target, arguments: tuple[object, ...], keywords: dict[str, Any]
) -> str:
    """The command for a call, quoted for a shell; by the description only if it is there."""
    shown = tuple(_without_secrets(argument) for argument in arguments)
    out = engine.outgoing(
        read_call(target, shown, {k: _in_call(k, v) for k, v in keywords.items()})
    )
    words = ["curl", *_method(out)]
    base = engine.shown_uri
    parts = urlsplit(engine.uri)
    if parts.scheme == "unix":
        socket, _, below = parts.path.partition(":")
        words += ["--unix-socket", socket]
        base = f"http://localhost{below.rstrip('/')}"
    words += [word for field in _fields(engine, out) for word in ("-H", field)]
    words += _body(out)
    pairs = (f"{_quote(k)}={MASK if TELLING.search(k) else _quote(v)}" for k, v in out.query)
    query = "&".join(pairs)
    words.append(base + out.path + (f"?{query}" if query else ""))
    return " ".join(shlex.quote(word) for word in words)


def _in_call(name: str, value: object) -> object:
    return value if name.startswith("__") else _without_secrets(value, name)


def _method(out: Outgoing) -> list[str]:
    if out.method == "HEAD":
        return ["--head"]
    return [] if out.method == ("POST" if out.body else "GET") else ["-X", out.method]


def _fields(engine: Engine, out: Outgoing) -> list[str]:
    fields = [f"{name}: {MASK}" for name in sorted(engine.header_names())]
    for name, value in out.headers.items():
        low = name.lower()
        if low in UNSAID or low in engine.header_names():
            continue
        fields.append(f"{name}: {_shown(low, value, engine.secret_names)}")
    return fields


def _shown(name: str, value: str, secret_names: frozenset[str]) -> str:
    if name not in SECRET_HEADERS | secret_names and not TELLING.search(name):
        return value
    scheme, space, _ = value.partition(" ")
    return f"{scheme} {MASK}" if space and name in WITH_SCHEME else MASK


def _body(out: Outgoing) -> list[str]:
    if not out.body:
        return []
    if not isinstance(out.body, bytes):
        return ["--data-binary", "@FILE"]
    try:
        return ["--data-raw", out.body.decode()]
    except UnicodeDecodeError:
        return ["--data-binary", "@FILE"]


def _without_secrets(value: object, name: str = "") -> object:
    """*value* as it may be shown: what is secret by its type or its name is masked."""
    if isinstance(value, SecretStr | SecretBytes) or (TELLING.search(name) and value is not None):
        return MASK
    if isinstance(value, BaseModel | msgspec.Struct) or is_dataclass(value):
        value = msgspec.json.decode(msgspec.json.encode(value, enc_hook=_masked))
    if isinstance(value, Mapping):
        fields = cast("Mapping[object, object]", value)
        return {key: _without_secrets(inner, str(key)) for key, inner in fields.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_without_secrets(inner) for inner in cast("list[object]", value)]
    return value


def _masked(value: object) -> Any:
    """What the JSON encoder does not know by itself, with its secrets masked."""
    if isinstance(value, SecretStr | SecretBytes):
        return MASK
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    return msgspec.json.decode(encode_json(value))


def _quote(text: str) -> str:
    return quote(text, safe="")
