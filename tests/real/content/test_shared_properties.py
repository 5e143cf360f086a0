"""Properties belong to all dialects: what one of them lets in must not hurt another's readers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any
from xml.etree.ElementTree import fromstring

import httpx
import pytest

pytestmark = pytest.mark.real

ENTITIES = (
    '<!DOCTYPE x [<!ENTITY a "'
    + "a" * 20_000
    + '"><!ENTITY b "'
    + "&a;" * 200
    + '">]><x xmlns="u:">&b;</x>'
)
POISON = {
    "entities": {"dav:{u:}x": ENTITIES},
    "no xml": {"dav:{u:}x": "<x"},
    "another name": {"dav:{u:}x": "<y xmlns='v:'/>"},
    "no name": {"dav:": "<x/>"},
    "a name that is none": {"dav:{u:}a b": "<x/>"},
    "depth": {"dav:{u:}x": "<a>" * 4000 + "</a>" * 4000},
    "lines in a type": {"content-type": "text/plain\r\nset-cookie: x=1"},
    "other letters in a type": {"content-type": "text/\u30c6\u30ad\u30b9\u30c8"},
    "control characters in a type": {"content-type": "text/plain\x01"},
    "lines in metadata": {"s3:meta:a": "b\r\nx: y", "s3:header:expires": "\n"},
    "lines in a name of metadata": {"s3:meta:a\r\nx": "b", "s3:meta:": "c", "s3:meta:a b": "d"},
    "other letters in metadata": {"s3:meta:a": "\u30c6", "s3:meta:\u30c6": "a"},
}


@pytest.fixture
def poisoned(served: Any, folder: Any) -> Callable[[dict[str, str]], None]:
    """Sets properties of the file ``f`` in the folder, by the platform's own API."""
    client, base = folder
    assert client.put(f"{base}/f", content=b"1").status_code == 201

    def put(properties: dict[str, str]) -> None:
        headers = {"authorization": f"Bearer {served.tokens['alice']}"}
        body = {"path": f"{base.removeprefix('/dav')}/f", "put": properties}
        found = httpx.patch(f"{served.url}/v1/files-properties", json=body, headers=headers)
        assert found.status_code == 200, found.text

    return put


@pytest.mark.parametrize("name", POISON)
def test_a_folder_is_listed_whatever_properties_say(
    folder: Any, poisoned: Callable[[dict[str, str]], None], name: str
) -> None:
    client, base = folder
    poisoned(POISON[name])
    for body in (b"", b'<propfind xmlns="DAV:"><prop><x xmlns="u:"/></prop></propfind>'):
        found = client.request("PROPFIND", base, headers={"depth": "1"}, content=body)
        assert found.status_code == 207, found.text
        assert len(fromstring(found.content)) == 2
        assert len(found.content) < 200_000


@pytest.mark.parametrize("name", POISON)
def test_a_file_is_read_whatever_properties_say(
    served: Any, folder: Any, poisoned: Callable[[dict[str, str]], None], name: str
) -> None:
    client, base = folder
    poisoned(POISON[name])
    found = client.get(f"{base}/f")
    assert (found.status_code, found.content) == (200, b"1")
    assert "set-cookie" not in found.headers
    with closing(served.boto()) as boto:
        got = boto.get_object(Bucket=base.removeprefix("/dav/"), Key="f")
        assert got["Body"].read() == b"1"
