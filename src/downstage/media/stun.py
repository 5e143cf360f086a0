"""STUN and TURN as far as a check of the network needs them (RFC 8489, RFC 8656); blocking.

`reflexive` asks a STUN server for our own address as it sees it. `Relay` allocates on a TURN
server and asks it to let peers through, without sending them anything: what it grants shows
whether its deny list holds.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal

from downstage.kernel.errors import PlatformError, Upstream

__all__ = ["Answer", "Relay", "RelayRefused", "reflexive", "resolve"]

COOKIE = 0x2112A442
HEADER = struct.Struct("!HHI12s")
BINDING, ALLOCATE, REFRESH, CREATE_PERMISSION = 0x0001, 0x0003, 0x0004, 0x0008
SUCCESS, ERROR = 0x0100, 0x0110
USERNAME, INTEGRITY, ERROR_CODE, LIFETIME = 0x0006, 0x0008, 0x0009, 0x000D
PEER_ADDRESS, REALM, NONCE, RELAYED = 0x0012, 0x0014, 0x0015, 0x0016
FAMILY, TRANSPORT, MAPPED, FINGERPRINT = 0x0017, 0x0019, 0x0020, 0x8028
FINGERPRINT_XOR = 0x5354554E
UDP = 17
UNAUTHORIZED, STALE_NONCE = 401, 438
TRIES, WAIT_S = 3, 0.7
MAX_DATAGRAM = 2048

Address = tuple[str, int]


class RelayRefused(Upstream):
    """The TURN server answered, and said no."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said: 0 where it agreed, else its error's number."""

    code: int
    attributes: Mapping[int, bytes]
    transaction: bytes


def resolve(url: str) -> Address:
    """Host and port of a ``stun:`` or ``turn:`` address; UDP's port where none is said.

    Raises:
        Upstream: no such host.
    """
    host, _, port = url.partition(":")[2].partition("?")[0].strip("/").rpartition(":")
    if not port.isdigit():
        host, port = f"{host}:{port}".strip(":"), "3478"
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)
    except OSError as error:
        raise Upstream(f"{url}: there is no host {host!r}.") from error
    return str(found[0][4][0]), int(found[0][4][1])


def reflexive(server: Address) -> Address:
    """Our own address as the STUN *server* sees it.

    Raises:
        Upstream: it does not answer, or with nonsense.
    """
    with _socket(server) as line:
        answer = _ask(line, BINDING, {})
    return _address(answer, MAPPED)


class Relay:
    """An allocation on a TURN server, given back on exit.

    Args:
        server: its address, UDP.
        username, credential: as its secret makes them.
        family: of the relayed address.
    """

    def __init__(
        self, server: Address, username: str, credential: str, *, family: Literal[4, 6] = 4
    ) -> None:
        self._server, self._family = server, family
        self._username, self._credential = username, credential
        self._line = _socket(server)
        self._realm = self._nonce = self._key = b""

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> Address:
        """Allocate; the relayed address.

        Raises:
            RelayRefused: with the server's number: 401 wrong credentials, 440 family, 486 quota.
            Upstream: no answer.
        """
        wanted = {
            TRANSPORT: struct.pack("!Bxxx", UDP),
            FAMILY: struct.pack("!Bxxx", 1 if self._family == 4 else 2),  # noqa: PLR2004
        }
        answer = self._request(ALLOCATE, wanted)
        if answer.code:
            raise RelayRefused(f"The relay refused an allocation: {answer.code}.", code=answer.code)
        return _address(answer, RELAYED)

    def permit(self, peer: str) -> int:
        """Ask it to let *peer* through: 0 where it would, else its error's number (403)."""
        return self._request(CREATE_PERMISSION, {PEER_ADDRESS: peer}).code

    def close(self) -> None:
        """Give the allocation back."""
        try:
            if self._key:
                self._request(REFRESH, {LIFETIME: struct.pack("!I", 0)})
        except PlatformError:
            pass
        finally:
            self._line.close()

    def _request(self, method: int, attributes: Mapping[int, bytes | str]) -> Answer:
        answer = _ask(self._line, method, self._signed(attributes), self._key)
        if answer.code in (UNAUTHORIZED, STALE_NONCE) and answer.attributes.get(NONCE):
            is_first = not self._key
            self._challenged(answer)
            if is_first or answer.code == STALE_NONCE:
                answer = _ask(self._line, method, self._signed(attributes), self._key)
        return answer

    def _challenged(self, answer: Answer) -> None:
        self._realm = answer.attributes.get(REALM, self._realm)
        self._nonce = answer.attributes[NONCE]
        secret = f"{self._username}:{self._realm.decode(errors='replace')}:{self._credential}"
        self._key = hashlib.md5(secret.encode(), usedforsecurity=False).digest()

    def _signed(self, attributes: Mapping[int, bytes | str]) -> dict[int, bytes | str]:
        if not self._key:
            return dict(attributes)
        return {
            **attributes,
            USERNAME: self._username.encode(),
            REALM: self._realm,
            NONCE: self._nonce,
        }


def _socket(server: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    line = socket.socket(family, socket.SOCK_DGRAM)
    line.settimeout(WAIT_S)
    line.connect(server)
    return line


def _ask(
    line: socket.socket, method: int, attributes: Mapping[int, bytes | str], key: bytes = b""
) -> Answer:
    transaction = os.urandom(12)
    request = _encode(method, transaction, attributes, key)
    for _ in range(TRIES):
        try:
            line.send(request)
            while True:
                answer = _decode(line.recv(MAX_DATAGRAM), transaction)
                if answer is not None:
                    return answer
        except TimeoutError:
            continue
        except OSError as error:
            raise Upstream(f"The server cannot be reached: {error.strerror}.") from error
    raise Upstream(f"The server did not answer within {TRIES * WAIT_S:.1f} s.")


def _encode(
    method: int, transaction: bytes, attributes: Mapping[int, bytes | str], key: bytes
) -> bytes:
    body = b"".join(
        _attribute(kind, _xor(value, transaction) if isinstance(value, str) else value)
        for kind, value in attributes.items()
    )
    if key:
        signed = HEADER.pack(method, len(body) + 24, COOKIE, transaction) + body
        body += _attribute(INTEGRITY, hmac.new(key, signed, hashlib.sha1).digest())
    summed = HEADER.pack(method, len(body) + 8, COOKIE, transaction) + body
    check = (zlib.crc32(summed) ^ FINGERPRINT_XOR) & 0xFFFFFFFF
    return summed + _attribute(FINGERPRINT, struct.pack("!I", check))


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + b"\0" * (-len(value) % 4)


def _decode(data: bytes, transaction: bytes) -> Answer | None:
    """The answer to *transaction*; None for anything else that came in."""
    if len(data) < HEADER.size:
        return None
    kind, length, cookie, which = HEADER.unpack_from(data)
    if cookie != COOKIE or which != transaction or HEADER.size + length > len(data):
        return None
    attributes, at = dict[int, bytes](), HEADER.size
    while at + 4 <= HEADER.size + length:
        name, size = struct.unpack_from("!HH", data, at)
        attributes.setdefault(name, data[at + 4 : at + 4 + size])
        at += 4 + size + (-size % 4)
    code = 0
    if kind & ERROR == ERROR:
        told = attributes.get(ERROR_CODE, b"\0\0\5\0")
        code = told[2] * 100 + told[3]
    return Answer(code, attributes, transaction)


def _pad(transaction: bytes) -> bytes:
    return struct.pack("!I", COOKIE) + transaction


def _xor(peer: str, transaction: bytes) -> bytes:
    address = ip_address(peer)
    mixed = bytes(a ^ b for a, b in zip(address.packed, _pad(transaction), strict=False))
    return struct.pack("!xBH", 1 if address.version == 4 else 2, 9 ^ (COOKIE >> 16)) + mixed  # noqa: PLR2004


def _address(answer: Answer, kind: int) -> Address:
    value = answer.attributes.get(kind, b"")
    if len(value) not in (8, 20):
        raise Upstream("The server's answer holds no address.")
    port = int.from_bytes(value[2:4], "big") ^ (COOKIE >> 16)
    raw = bytes(a ^ b for a, b in zip(value[4:], _pad(answer.transaction), strict=False))
    address = IPv4Address(raw) if len(raw) == 4 else IPv6Address(raw)  # noqa: PLR2004
    return str(address), port
