"""Connections outward lead to the public internet, or where the operator said."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import pytest

from downstage.kernel.errors import BadUrl, Forbidden, Upstream
from downstage.kernel.net import Guard, is_loopback, is_public, system_resolver

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.0.9",
        "0.0.0.0",
        "10.1.2.3",
        "172.31.0.1",
        "192.168.1.1",
        "100.100.100.200",
        "169.254.169.254",
        "192.0.0.192",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:a9fe:a9fe",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "2606:4700::1%1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "not an address",
        "",
    ],
)
def test_C05_addresses_inside_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_public_addresses_are(address: str) -> None:
    assert is_public(address)


class Answers:
    """A resolver that answers each question with the next of its answers."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = list[tuple[str, int]]()

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return self.answers.pop(0)


async def test_C05_one_inner_address_among_public_ones_refuses_the_host() -> None:
    guard = Guard(resolver=Answers(["8.8.8.8", "10.0.0.1"]))
    with pytest.raises(Forbidden):
        await guard.resolve("mixed.invalid", 80)


async def test_C05_what_was_checked_is_what_is_connected_to() -> None:
    """DNS rebinding: the second answer never counts, and the peer is looked at once more."""
    answers = Answers(["8.8.8.8"], ["127.0.0.1"])
    guard = Guard(resolver=answers)
    assert await guard.resolve("rebind.invalid", 80) == ["8.8.8.8"]
    guard.check_peer("8.8.8.8", 80)
    with pytest.raises(Forbidden):
        guard.check_peer("127.0.0.1", 80)
    with pytest.raises(Forbidden):
        await guard.resolve("rebind.invalid", 80)


async def test_operator_may_allow_a_host_or_one_port_of_it() -> None:
    guard = Guard(
        ["Files.Corp.invalid", "[::1]:8080", "127.0.0.1:9000"],
        resolver=Answers(["10.0.0.5"]),
    )
    assert await guard.resolve("files.corp.invalid.", 443) == ["10.0.0.5"]
    guard.check_peer("10.0.0.5", 443)
    with pytest.raises(Forbidden):
        guard.check_peer("10.0.0.5", 22)
    assert await guard.resolve("::1", 8080) == ["::1"]
    with pytest.raises(Forbidden):
        await guard.resolve("::1", 8081)
    with pytest.raises(Forbidden):
        await guard.resolve("127.0.0.1", 9001)


async def test_a_host_without_address_is_a_fault_of_the_other_side() -> None:
    with pytest.raises(Upstream):
        await Guard(resolver=Answers([])).resolve("nowhere.invalid", 80)


async def test_names_that_the_machine_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr("anyio.getaddrinfo", unknown)
    with pytest.raises(Upstream):
        await system_resolver("nowhere.invalid", 80)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1"])
async def test_C05_every_spelling_of_this_machine_is_refused(host: str) -> None:
    async def libc(name: str, port: int) -> Sequence[str]:
        # As getaddrinfo reads them; the tests' own guard refuses to ask for such names.
        return ["127.0.0.1"] if name == "localhost" else [socket.inet_ntoa(socket.inet_aton(name))]

    with pytest.raises(Forbidden):
        await Guard(resolver=libc).check_url(f"http://{host}/secret")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.com/",
        "gopher://example.com/",
        "http://",
        "http:///x",
        "//example.com/x",
        "http://user:secret@example.com/",
        "http://[::1",
        "http://example.com:99999/",
    ],
)
async def test_C05_other_schemes_and_forms_are_refused(url: str) -> None:
    with pytest.raises(BadUrl):
        await Guard(resolver=Answers(["8.8.8.8"])).check_url(url)


async def test_ports_follow_the_scheme() -> None:
    answers = Answers(["8.8.8.8"], ["8.8.8.8"], ["8.8.8.8"])
    guard = Guard(resolver=answers)
    for url in ("http://a.invalid/", "https://a.invalid/", "https://a.invalid:8443/"):
        await guard.check_url(url)
    assert [port for _, port in answers.asked] == [80, 443, 8443]


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_what_only_this_machine_reaches(host: str, own: bool) -> None:
    assert is_loopback(host) is own
