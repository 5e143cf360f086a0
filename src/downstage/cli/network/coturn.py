"""A configuration for coturn that relays people's pictures and reaches nothing of ours.

A usual deny list of IPv4 networks is open through IPv6: mapped, NAT64 and 6to4 addresses lead back
into it. Both lists are written; `downstage doctor --network` probes whether the server keeps them.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from downstage.kernel.errors import SetupError

__all__ = ["FORBIDDEN", "PUBLIC", "RelayPlan", "coturn", "read_or_make_secret"]

DENIED_V4 = (
    "0.0.0.0-0.255.255.255",
    "10.0.0.0-10.255.255.255",
    "100.64.0.0-100.127.255.255",
    "127.0.0.0-127.255.255.255",
    "169.254.0.0-169.254.255.255",
    "172.16.0.0-172.31.255.255",
    "192.0.0.0-192.0.0.255",
    "192.168.0.0-192.168.255.255",
    "198.18.0.0-198.19.255.255",
    "224.0.0.0-255.255.255.255",
)
"""The host itself, private and carrier networks, link-local with the clouds' metadata, special use
and multicast."""
DENIED_V6 = (
    "::1",
    "::ffff:0.0.0.0-::ffff:255.255.255.255",
    "64:ff9b::-64:ff9b::ffff:ffff",
    "2002::-2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "fe80::-febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
)
"""The host, IPv4 mapped, NAT64, 6to4, unique local, link-local. Never ``::``: it refuses all."""

FORBIDDEN = (
    "127.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "0.0.0.0",  # noqa: S104 - an address to be refused
    "192.0.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "fd00::1",
    "fe80::1",
)
"""One address of each network that no relay of ours may reach."""
PUBLIC = ("8.8.8.8", "2606:4700::1")
"""Addresses that it must reach, or nothing is relayed at all."""

SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class RelayPlan:
    """What differs between two TURN servers."""

    listen: str
    realm: str
    secret: str
    relays: tuple[str, ...] = ()
    """Addresses that pictures leave by, at most one a family; empty: as `listen`."""
    port: int = 3478
    ports: tuple[int, int] = (49160, 49200)
    """UDP ports of the relay; one an allocation."""
    certificate: Path | None = None
    key: Path | None = None
    tls_port: int = 443
    allowed: tuple[str, ...] = ()
    """Addresses of streamers in a private network, to be reached all the same."""
    user_quota: int = 12


def coturn(plan: RelayPlan) -> str:
    """The text of ``turnserver.conf``."""
    lines = [
        "# coturn, as Downstage needs it. Take coturn 4.9 or newer: older ones relay to private",
        "# addresses that are written as IPv6. Holds a secret: readable by the server alone.",
        f"listening-ip={plan.listen}",
        *(f"relay-ip={address}" for address in plan.relays or (plan.listen,)),
        f"listening-port={plan.port}",
        f"min-port={plan.ports[0]}",
        f"max-port={plan.ports[1]}",
        f"realm={plan.realm}",
        "use-auth-secret",
        f"static-auth-secret={plan.secret}",
        "fingerprint",
        "stale-nonce=600",
        f"user-quota={plan.user_quota}",
        f"total-quota={100 * plan.user_quota}",
        "no-cli",
        "no-multicast-peers",
        "no-tcp-relay",
        "no-rfc5780",
        "no-stun-backward-compatibility",
        "response-origin-only-with-rfc5780",
        *_tls(plan),
        *(f"allowed-peer-ip={address}" for address in plan.allowed),
        *(f"denied-peer-ip={span}" for span in (*DENIED_V4, *DENIED_V6)),
    ]
    for line in lines:
        _check(line)
    return "\n".join(lines) + "\n"


def _tls(plan: RelayPlan) -> Sequence[str]:
    if plan.certificate is None or plan.key is None:
        return ("no-tls", "no-dtls")
    return (
        f"cert={plan.certificate.absolute()}",
        f"pkey={plan.key.absolute()}",
        f"tls-listening-port={plan.tls_port}",
        "no-tlsv1",
        "no-tlsv1_1",
    )


def _check(line: str) -> None:
    if any(ord(character) < ord(" ") for character in line):
        raise SetupError("An option of the TURN server holds a control character.")


def read_or_make_secret(path: Path) -> str:
    """The secret in *path*, made (mode 0600) where there is none.

    Raises:
        SetupError: the file cannot be read or written.
    """
    try:
        if path.exists():
            return path.read_text(encoding="ascii").strip()
        path.parent.mkdir(parents=True, exist_ok=True)
        secret = secrets.token_urlsafe(SECRET_BYTES)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secret + "\n")
    except OSError as error:
        raise SetupError(f"{path} cannot be used: {error.strerror}.") from error
    return secret
