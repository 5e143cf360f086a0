"""What a container with network may reach: the world, but neither this machine nor what is near.

The rules lie in the container's own network namespace, put there before anything of it runs; it
has no privilege to change them. Refused are private, link-local and multicast networks (clouds
tell their secrets on 169.254.169.254) and every address of this machine, public ones too: the
platform's ports, its bus and its database listen there. From outside nothing reaches the
container but its published ports.
"""

from __future__ import annotations

import ipaddress
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from downstage.spawners.container.body import Published

__all__ = ["EgressError", "addresses_of_this_machine", "apply", "resolvers", "rules"]

DENIED = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3"),
)
RULES_S = 10.0
TABLE = re.compile(r"\|-- (\d+\.\d+\.\d+\.\d+)\n\s+/32 host LOCAL")
RESOLVER = re.compile(r"^\s*nameserver\s+(\S+)", re.MULTILINE)
MAX_RESOLVERS = 3


class EgressError(Exception):
    """The rules cannot be set; without them nothing may run."""


def rules(own: Iterable[str], resolving: Iterable[str], ports: Sequence[Published]) -> str:
    """The rules as ``iptables-restore`` reads them.

    Args:
        own: addresses of this machine.
        resolving: name servers, which may be asked on port 53 wherever they are.
        ports: what is published of the container.
    """
    lines = ["*filter", ":INPUT DROP [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT ACCEPT [0:0]"]
    known = "-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"
    lines += ["-A INPUT -i lo -j ACCEPT", f"-A INPUT {known}"]
    lines += [
        f"-A INPUT -p {str(port['type']).lower()} --dport {int(port['number'])} -j ACCEPT"
        for port in ports
    ]
    lines += ["-A OUTPUT -o lo -j ACCEPT", f"-A OUTPUT {known}"]
    lines += [
        f"-A OUTPUT -d {address} -p {kind} --dport 53 -j ACCEPT"
        for address in resolving
        for kind in ("udp", "tcp")
    ]
    lines += [f"-A OUTPUT -d {network} -j REJECT" for network in (*DENIED, *own)]
    return "\n".join([*lines, "COMMIT", ""])


def addresses_of_this_machine(table: str | None = None) -> list[str]:
    """Its own IPv4 addresses, from the kernel's table of routes."""
    text = Path("/proc/net/fib_trie").read_text("ascii") if table is None else table
    return sorted(set(TABLE.findall(text)))


def resolvers(text: str) -> list[str]:
    """Name servers of a ``resolv.conf`` that a container can ask at all."""
    found = list[str]()
    for word in RESOLVER.findall(text):
        try:
            address = ipaddress.IPv4Address(word)
        except ValueError:
            continue
        if not address.is_loopback:
            found.append(str(address))
    return found[:MAX_RESOLVERS]


def apply(pid: int, text: str, *, in_user_namespace: bool) -> None:
    """Set the rules in the network namespace of *pid*.

    Raises:
        EgressError: they cannot be set here.
    """
    user = ["-U", "--preserve-credentials"] if in_user_namespace else []
    command = ["nsenter", "-t", str(pid), *user, "-n", "iptables-restore"]
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=RULES_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EgressError(f"iptables-restore cannot be run: {error}") from error
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no word why"]
        raise EgressError(f"iptables-restore failed: {last[0][:300]}")
