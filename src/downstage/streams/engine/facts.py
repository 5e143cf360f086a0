"""What an engine is and what it can promise, as it says itself; and why one is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from downstage.kernel.errors import PlatformError
from downstage.streams.engine.replies import NotReady
from downstage.streams.engine.resp import Lane
from downstage.streams.model import Durability

__all__ = ["Facts", "examine", "read_facts", "refusal", "version_refusal"]

FIXED_REDIS = (8, 6, 3)
FIXED_VALKEY = {(7, 2): 13, (8, 0): 9, (8, 1): 7, (9, 0): 4}
"""Branch → first release without the hole; every later branch began without it."""
REPLICA = re.compile(r"ip=([^,]+),port=(\d+),state=online")
DEADLINE_S = 5.0
Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Facts:
    """One node, at the moment it was asked."""

    product: str
    """``valkey`` or ``redis``."""
    version: Version
    run_id: str
    """Another one after every start of its process."""
    is_primary: bool
    primary: tuple[str, int] | None
    """Whom it follows, where it is a replica."""
    replicas: tuple[tuple[str, int], ...]
    """Who follows it and is up to date."""
    is_cluster: bool
    is_loading: bool
    durability: Durability
    """Of what it has answered: never more than is known."""
    policy: str
    """What it does where its memory is full."""
    memory_used: int
    memory_limit: int
    can_write_log: bool
    """False where the last write to its log failed."""


async def examine(lane: Lane) -> Facts:
    """Ask the node behind *lane*.

    Raises:
        NotReady: it does not answer, or answers with nonsense.
    """
    try:
        answer = await lane.call("INFO", deadline_s=DEADLINE_S)
    except NotReady:
        raise
    except PlatformError as error:
        raise NotReady(f"The engine does not tell what it is: {error.detail}") from error
    return read_facts(_fields(bytes(answer).decode("utf-8", "replace")), await _fsync(lane))


async def _fsync(lane: Lane) -> str | None:
    """When it writes to the disk; None where we may not ask."""
    try:
        pair = await lane.call("CONFIG", "GET", "appendfsync", deadline_s=DEADLINE_S)
    except NotReady:
        raise
    except PlatformError:
        return None
    return bytes(pair[1]).decode() if pair else None


def _fields(text: str) -> dict[str, str]:
    lines = (line.partition(":") for line in text.splitlines() if line and line[0] != "#")
    return {name: value for name, _, value in lines}


def read_facts(fields: Mapping[str, str], fsync: str | None) -> Facts:
    """Facts from the fields of INFO and the engine's ``appendfsync``.

    Raises:
        NotReady: these are no fields of such an engine.
    """
    product = "valkey" if "valkey_version" in fields else "redis"
    try:
        is_primary = fields.get("role", "master") == "master"
        return Facts(
            product,
            _version(fields[f"{product}_version"]),
            fields["run_id"],
            is_primary,
            None if is_primary else (fields["master_host"], int(fields["master_port"])),
            tuple(_replicas(fields)),
            fields.get("cluster_enabled") == "1",
            fields.get("loading") == "1",
            _durability(fields.get("aof_enabled") == "1", fsync),
            fields.get("maxmemory_policy", ""),
            int(fields.get("used_memory", 0)),
            int(fields.get("maxmemory", 0)),
            fields.get("aof_last_write_status", "ok") == "ok",
        )
    except (KeyError, ValueError) as error:
        raise NotReady("What answers there is no Valkey and no Redis.") from error


def _version(text: str) -> Version:
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", text)
    if found is None:
        raise ValueError(text)
    return int(found[1]), int(found[2]), int(found[3])


def _replicas(fields: Mapping[str, str]) -> list[tuple[str, int]]:
    lines = (fields.get(f"slave{n}", "") for n in range(int(fields.get("connected_slaves", 0))))
    return [(found[1], int(found[2])) for line in lines if (found := REPLICA.match(line))]


def _durability(keeps_log: bool, fsync: str | None) -> Durability:
    if keeps_log and fsync == "always":
        return Durability.ALWAYS
    if keeps_log and fsync == "everysec":
        return Durability.EVERYSEC
    return Durability.MEMORY  # ``no``, or we may not ask: promise the least


def version_refusal(product: str, version: Version) -> str | None:
    """Why that version is not taken; None where it is."""
    if product == "redis":
        is_fixed, wanted = version >= FIXED_REDIS, "Redis 8.6.3 or later"
    else:
        branch = version[:2]
        least = FIXED_VALKEY.get(branch)
        is_fixed = branch > max(FIXED_VALKEY) if least is None else version[2] >= least
        wanted = "Valkey 7.2.13, 8.0.9, 8.1.7, 9.0.4, 9.1 or later"
    if is_fixed:
        return None
    shown = ".".join(map(str, version))
    return (
        f"The engine at streams.url is {product.capitalize()} {shown}, in which a waiting reader "
        f"can be made to corrupt the engine's memory (CVE-2026-23479). Use {wanted}, or leave "
        "streams.url empty: then an engine of our own is started. "
        "For tests on loopback: streams.allow_old_engines."
    )


def refusal(facts: Facts, *, allow_old: bool) -> str | None:
    """Why this engine is not taken; None where it is."""
    if not allow_old and (why := version_refusal(facts.product, facts.version)):
        return why
    if facts.policy and facts.policy != "noeviction":
        return (
            f"The engine at streams.url throws entries away where its memory is full "
            f"(maxmemory-policy {facts.policy}). Set maxmemory-policy noeviction there: then a "
            "push is refused instead."
        )
    return None
