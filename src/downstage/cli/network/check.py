"""``downstage doctor --network``: why a picture stays black, and what to do about it.

A picture goes from the instance to the browser by UDP: straight, where one of them can be reached
from outside, else through a TURN server. Each part is tried from here with what the settings say.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from downstage.auth.turn import turn_credentials
from downstage.cli.network.coturn import FORBIDDEN, PUBLIC
from downstage.gateway.ice import Relay as RelaySettings
from downstage.gateway.ice import read_relay
from downstage.kernel.errors import PlatformError, SetupError
from downstage.kernel.settings import Settings
from downstage.media.stun import Relay, RelayRefused, reflexive, resolve

__all__ = ["NetworkFinding", "examine_network", "relay_findings"]

ROUTE = ("192.0.2.1", 9)
"""Nothing is sent there: the system only says by which address it would be."""
LIFETIME = timedelta(minutes=5)
UNREACHABLE_FAMILY = 440


@dataclass(frozen=True, slots=True)
class NetworkFinding:
    """One fact; `fix` is empty where all is well."""

    name: str
    fact: str
    fix: str = ""
    is_hint: bool = False


@dataclass(slots=True)
class _Paths:
    """What was found on the way to the verdict."""

    direct: bool = False
    relayed: bool = False


def examine_network(settings: Settings) -> list[NetworkFinding]:
    """Try every path that the settings name; blocking, some seconds at most."""
    paths = _Paths()
    found = [*_addresses(settings, paths), *_stun(settings)]
    found += _relay(settings, paths)
    found.append(_verdict(paths))
    return found


def _addresses(settings: Settings, paths: _Paths) -> Iterator[NetworkFinding]:
    own = _own_address()
    public = settings.media.public_ip
    if public is not None:
        paths.direct = True
        yield NetworkFinding("address", f"browsers are told {public} (media.public_ip)")
    elif own is None:
        yield NetworkFinding("address", "this machine has no route out", "connect it to a network")
    elif ip_address(own).is_global:
        paths.direct = True
        yield NetworkFinding("address", f"{own} can be reached from anywhere, if UDP may pass")
    else:
        yield NetworkFinding(
            "address",
            f"{own} is private: only this network reaches it",
            "set media.public_ip and forward media.udp_ports, or set up a TURN server "
            "(downstage turn config)",
            is_hint=True,
        )


def _own_address() -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(ROUTE)
        except OSError:
            return None
        return str(probe.getsockname()[0])


def _stun(settings: Settings) -> Iterator[NetworkFinding]:
    urls = [server.get("urls", "") for server in settings.media.ice_servers]
    for url in (url for url in urls if url.startswith("stun:")):
        try:
            host, port = reflexive(resolve(url))
        except PlatformError as error:
            fix = "take another STUN server, or let UDP out of this network"
            yield NetworkFinding("stun", f"{url}: {error.detail}", fix)
        else:
            yield NetworkFinding("stun", f"{url} sees us as {host}:{port}")


def _relay(settings: Settings, paths: _Paths) -> Iterator[NetworkFinding]:
    try:
        relay = read_relay(settings.turn)
    except SetupError as error:
        yield NetworkFinding("turn", error.detail, "see docs/operate/turn")
        return
    if relay is None:
        yield NetworkFinding("turn", "no TURN server is set", "downstage turn config", is_hint=True)
        return
    for url in relay.urls:
        findings = list(relay_findings(url, relay))
        paths.relayed = paths.relayed or not any(finding.fix for finding in findings)
        yield from findings


def relay_findings(url: str, relay: RelaySettings) -> Iterator[NetworkFinding]:
    """Allocate on the TURN server at *url* as a seat would, and probe its deny list."""
    if url.startswith("turns:") or "transport=tcp" in url:
        yield NetworkFinding("turn", f"{url} is tried by browsers alone, not from here")
        return
    granted = turn_credentials(relay.secret, "doctor", now=datetime.now(UTC), lifetime=LIFETIME)
    try:
        server = resolve(url)
        with Relay(server, granted.username, granted.credential) as v4:
            host, port = v4.open()
            yield NetworkFinding("turn", f"{url} relays by {host}:{port}")
            v4_open = _granted(v4, (peer for peer in FORBIDDEN if ":" not in peer))
            is_shut = bool(v4.permit(PUBLIC[0]))
        v6_open, is_shut_v6 = _probe_v6(server, granted.username, granted.credential)
    except RelayRefused as error:
        fix = "its static-auth-secret and our turn.secret_file must be the same"
        why = fix if error.context.get("code") == 401 else "see its log"  # noqa: PLR2004 - STUN
        yield NetworkFinding("turn", f"{url}: {error.detail}", why)
    except PlatformError as error:
        fix = "start it, and let UDP through to its port"
        yield NetworkFinding("turn", f"{url}: {error.detail}", fix)
    else:
        yield _deny_list(url, [*v4_open, *v6_open], shut=is_shut or is_shut_v6)


def _granted(relay: Relay, peers: Iterable[str]) -> list[str]:
    return [peer for peer in peers if relay.permit(peer) == 0]


def _probe_v6(server: tuple[str, int], username: str, credential: str) -> tuple[list[str], bool]:
    """The IPv6 half; a relay without IPv6 reaches none of it."""
    with Relay(server, username, credential, family=6) as relay:
        try:
            relay.open()
        except RelayRefused as error:
            if error.context.get("code") == UNREACHABLE_FAMILY:
                return [], False
            raise
        v6 = _granted(relay, (peer for peer in FORBIDDEN if ":" in peer))
        return v6, bool(relay.permit(PUBLIC[1]))


def _deny_list(url: str, opened: list[str], *, shut: bool) -> NetworkFinding:
    if opened:
        shown = ", ".join(opened[:6]) + (" …" if len(opened) > 6 else "")  # noqa: PLR2004
        fix = "anybody with a seat reaches these: use coturn 4.9 and `downstage turn config`"
        return NetworkFinding("turn", f"{url} relays to {shown}", fix)
    if shut:
        fix = "its deny list refuses public addresses too: use `downstage turn config`"
        return NetworkFinding("turn", f"{url} relays to nobody", fix)
    fact = f"{url} refuses all {len(FORBIDDEN)} private addresses that were tried"
    return NetworkFinding("turn", fact)


def _verdict(paths: _Paths) -> NetworkFinding:
    if paths.direct and paths.relayed:
        return NetworkFinding("picture", "straight where UDP may pass, else by the relay")
    if paths.direct:
        return NetworkFinding(
            "picture",
            "straight by UDP; where a browser's network lets no UDP out, by WebSocket after 3 s",
        )
    if paths.relayed:
        return NetworkFinding("picture", "from other networks by the relay")
    return NetworkFinding(
        "picture",
        "from other networks there is no UDP path: the picture stays black for 3 s, then comes "
        "by WebSocket, with more delay",
        "set media.public_ip, or set up a TURN server (downstage turn config)",
        is_hint=True,
    )
