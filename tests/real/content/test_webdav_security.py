"""What WebDAV refuses: paths, bombs, other servers, and those who are nobody."""

from __future__ import annotations

import base64
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

pytestmark = pytest.mark.real

PATHS = [
    "/..", "/%2e%2e", "/%2e%2e/x", "/..%2fx", "/a%2f%2e%2e%2f%2e%2e%2fetc", "/a//b", "/a/./b",
    "/..%c0%af", "/%ff", "/%", "/%zz", "/a%5cb", "/C:", "/C:/x", "/a%00b", "/a%0ab", "/a.", "/a%20",
    "/" + "x" * 300, "/" + "x/" * 70, "/%e2%80%ae", "/a%2500%2e%2e%2f..", "/%ef%bf%bf",
]  # fmt: skip


def raw(served: Any, lines: list[str], name: str = "alice") -> bytes:
    """What the server answers to a request that no library would send."""
    address = urlsplit(served.url)
    basic = base64.b64encode(":".join(served.keys[name]).encode()).decode()
    head = [lines[0], f"Host: {address.netloc}", f"Authorization: Basic {basic}", *lines[1:]]
    with socket.create_connection((address.hostname, address.port), timeout=10) as sock:
        sock.sendall(("\r\n".join([*head, "Connection: close", "", ""])).encode("latin-1"))
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    return answer


@pytest.mark.parametrize("path", PATHS)
def test_C01_dav_no_path_leads_elsewhere(served: Any, path: str) -> None:
    for method in ("GET", "PUT", "MKCOL", "PROPFIND", "DELETE"):
        answer = raw(served, [f"{method} /dav{path} HTTP/1.1", "Content-Length: 0", "Depth: 0"])
        status = int(answer.split()[1])
        assert status == 400 or (status == 404 and path.startswith("/..")), (method, answer)


def test_C01_dav_names_are_one_per_case_and_form(folder: Any) -> None:
    client, base = folder
    assert client.put(f"{base}/Caf%C3%A9", content=b"1").status_code == 201
    assert client.get(f"{base}/Cafe%CC%81").content == b"1"
    assert client.put(f"{base}/CAF%C3%89", content=b"2").status_code == 409


@pytest.mark.parametrize(
    ("destination", "status"),
    [
        ("http://elsewhere.invalid/dav/x", 502),
        ("//elsewhere.invalid/dav/x", 502),
        ("/v1/files/x", 502),
        ("/davx", 502),
        ("file:///etc/passwd", 502),
        ("/dav/%2e%2e/x", 400),
        ("/dav/a%2fb", 400),
        ("/dav/x?y", 400),
        ("relative", 400),
        ("http://[::1", 400),
        ("", 400),
    ],
)
def test_C01_dav_destinations_lie_here(folder: Any, destination: str, status: int) -> None:
    client, base = folder
    client.put(f"{base}/f", content=b"1")
    for method in ("COPY", "MOVE"):
        found = client.request(method, f"{base}/f", headers={"destination": destination})
        assert found.status_code == status, (destination, found.text)
    assert client.get(f"{base}/f").content == b"1"


BOMBS = {
    "entities": b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
    b'<propfind xmlns="DAV:"><prop>&b;</prop></propfind>',
    "external": b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><propfind xmlns="DAV:"><allprop/>'
    b"</propfind>",
    "depth": b'<propfind xmlns="DAV:"><prop>' + b"<a>" * 100_000,
    "width": b'<propfind xmlns="DAV:"><prop>' + b"<a/>" * 50_000 + b"</prop></propfind>",
    "names": b'<propfind xmlns="DAV:"><prop>'
    + b"".join(b"<a%d/>" % number for number in range(300))
    + b"</prop></propfind>",
    "long names": b'<propfind xmlns="DAV:"><prop>'
    + b"".join(b"<a%d%s/>" % (number, b"x" * 1000) for number in range(17))
    + b"</prop></propfind>",
    "not xml": b"\x00\x01",
    "another": b'<propertyupdate xmlns="DAV:"/>',
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_in_xml_are_refused(folder: Any, name: str) -> None:
    client, base = folder
    for method in ("PROPFIND", "PROPPATCH", "LOCK"):
        found = client.request(method, base, content=BOMBS[name], headers={"depth": "0"})
        assert found.status_code in (400, 207 if name == "names" else 400), (method, found.text)


def test_a_search_without_end_is_refused(folder: Any) -> None:
    client, base = folder
    for headers in ({"depth": "infinity"}, {}):
        found = client.request("PROPFIND", base, headers=headers)
        assert found.status_code == 403
        assert "propfind-finite-depth" in found.text


def test_a_body_of_xml_has_an_end(folder: Any) -> None:
    client, base = folder

    def endless() -> Any:
        yield b'<propfind xmlns="DAV:"><prop>'
        for _ in range(64):
            yield b" " * 32_768

    found = client.request("PROPFIND", base, content=endless(), headers={"depth": "0"})
    assert found.status_code == 413


def test_properties_are_bounded(folder: Any) -> None:
    client, base = folder
    client.put(f"{base}/f", content=b"1")
    large = (
        '<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><x>{}</x></D:prop></D:set>'
        "</D:propertyupdate>"
    )
    found = client.request("PROPPATCH", f"{base}/f", content=large.format("y" * 100_000))
    assert found.status_code == 422
    guarded = (
        '<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><D:getetag>x</D:getetag><y/></D:prop>'
        "</D:set></D:propertyupdate>"
    )
    found = client.request("PROPPATCH", f"{base}/f", content=guarded)
    assert found.status_code == 207
    assert "403 Forbidden" in found.text
    assert "424 Failed Dependency" in found.text


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"t-aaaaaaaaaaaaaaaaaaaaaaaaaa:x").decode(),
        "Bearer x.y.z",
        "Digest username=alice",
        "Basic " + "A" * 20_000,
    ],
)
def test_nobody_gets_in(served: Any, authorization: str | None) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    with served.http() as client:
        found = client.request("PROPFIND", "/dav/", headers=headers, auth=None)
    assert found.status_code == 401
    assert found.headers["www-authenticate"].startswith("Basic ")


def test_a_key_and_a_token_open_and_end_at_once(served: Any) -> None:
    bearer = {"authorization": f"Bearer {served.tokens['alice']}"}
    with served.http() as client:
        made = client.post("/v1/files-keys", json={"name": "x"}, headers=bearer, auth=None).json()
        key = (made["access_key_id"], made["secret_access_key"])
        assert client.request("OPTIONS", "/dav/", auth=key).status_code == 200
        wrong = (key[0], key[1][:-1] + ("a" if key[1][-1] != "a" else "b"))
        assert client.request("OPTIONS", "/dav/", auth=wrong).status_code == 401
        named = ("alice", served.tokens["alice"])
        assert client.request("OPTIONS", "/dav/", auth=named).status_code == 200
        other = ("bob", served.tokens["alice"])
        assert client.request("OPTIONS", "/dav/", auth=other).status_code == 401
        assert client.request("OPTIONS", "/dav/", headers=bearer, auth=None).status_code == 200
        gone = client.delete(f"/v1/tokens/{key[0]}", headers=bearer, auth=None)
        assert gone.status_code == 204
        assert client.request("OPTIONS", "/dav/", auth=key).status_code == 401


def test_guessing_passwords_is_slow_here_too(served: Any, fresh: str) -> None:
    found = set[int]()
    # From an address of its own: that one may try nothing more for a while.
    elsewhere = httpx.HTTPTransport(local_address="127.0.0.2")
    with served.http(transport=elsewhere) as client:
        for number in range(12):
            answer = client.request("OPTIONS", "/dav/", auth=(f"{fresh}@x", f"guess{number}"))
            found.add(answer.status_code)
    assert found == {401, 429}


def test_a_password_opens_until_it_is_changed(served: Any, fresh: str) -> None:
    admin = {"authorization": f"Bearer {served.tokens['admin']}"}
    name = (f"u{fresh}", "correct.horse.battery")  # as a token, but for what is in it
    with served.http() as client:
        body = {"name": name[0], "password": name[1], "groups": []}
        assert client.post("/v1/users", json=body, headers=admin, auth=None).status_code == 201
        for _ in range(2):  # the second time from memory
            assert client.request("OPTIONS", "/dav/", auth=name).status_code == 200
        assert client.request("OPTIONS", "/dav/", auth=(name[0], "wrong")).status_code == 401
        changed = {"password": "another horse battery"}
        user = f"/v1/users/{name[0]}"
        assert client.patch(user, json=changed, headers=admin, auth=None).status_code == 200
        assert client.request("OPTIONS", "/dav/", auth=name).status_code == 401
