"""Addresses: the conformance data whole, and what must hold for every address."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.client import urls
from downstage.client.url_parts import decode, split, unsplit
from downstage.client.urls import Url

pytestmark = pytest.mark.unit

CASES = json.loads(
    (Path(__file__).parents[2] / "data/client/client_urls.json").read_text(encoding="utf-8")
)

pieces = st.sampled_from(
    ["a", "B", "..", ".", "", "c.usd", "d:e", "%7e", "%2F", "%zz", "%", "日", " ", "?", "#", "~"]
)
paths = st.lists(pieces, max_size=6).map("/".join)
hosts = st.sampled_from(["h", "Host", "h:80", "u@h", "u:p@h:3009", "[::1]:8", ""])
schemes = st.sampled_from(["http", "omniverse", "file", "X+y"])
addresses = st.builds(lambda s, h, p: f"{s}://{h}/{p}", schemes, hosts, paths)
anything = st.one_of(addresses, paths, st.text(max_size=30), paths.map(lambda path: "/" + path))
names = st.one_of(
    st.text(min_size=1, max_size=20).filter(lambda name: name not in {".", ".."}),
    st.sampled_from(["a:b", "//h", "../x", "a/b", "a?b#c", "%2e%2e", "...", "http://h/", " "]),
).filter(lambda name: "\0" not in name and not any(0xD800 <= ord(c) <= 0xDFFF for c in name))


def plain(value: Any) -> Any:
    if isinstance(value, Url):
        return asdict(value)
    return list(value) if isinstance(value, tuple) else value


def test_the_data_is_whole() -> None:
    assert len(CASES) == 321


@pytest.mark.parametrize("number", range(len(CASES)))
def test_conformance(number: int) -> None:
    case = CASES[number]
    function, arguments = getattr(urls, case["fn"]), case["args"]
    found = function(**arguments[0]) if case["fn"] == "make_url" else function(*arguments)
    assert plain(found) == case["result"], case


@given(anything)
def test_every_text_is_cut_and_put_together(text: str) -> None:
    assert split(unsplit(split(text)))[1:2] == split(text)[1:2]
    urls.break_url(text)


@given(anything)
def test_normal_forms_are_their_own(url: str) -> None:
    once = urls.normalize_url(url)
    assert urls.normalize_url(once) == once
    assert urls.equal_urls(url, once)


@given(addresses)
def test_making_undoes_breaking(url: str) -> None:
    parts = urls.break_url_reference(url)
    made = urls.make_url(**{k: v for k, v in asdict(parts).items() if k != "is_raw"})
    again = urls.break_url_reference(made)
    assert (again.host, again.path, again.query) == (parts.host, parts.path, parts.query)


@given(addresses, addresses)
def test_relative_means_the_target(base: str, target: str) -> None:
    relative = urls.make_relative_url(base, target)
    assert urls.combine_urls(base, relative) == urls.combine_urls(base, target)


@given(st.sampled_from(["a://h", "a://h/", "a://h/x/y.usd", "a://h/x/", "a://h//x/y"]), paths)
def test_relative_never_leads_elsewhere(base: str, path: str) -> None:
    relative = urls.make_relative_url(base, f"a://h/{path}")
    assert urls.combine_urls(base, relative) == urls.combine_urls(base, f"a://h/{path}")
    if not relative.startswith("a://"):
        assert not relative.startswith("//")
        assert ":" not in relative.split("/", maxsplit=1)[0].split("?")[0].split("#")[0]


@given(st.sampled_from(["omniverse://h", "omniverse://h/a", "http://h/a/?q#f", "file:///"]), names)
def test_join_adds_exactly_one_segment(base: str, name: str) -> None:
    """The attack: a file called ``//h``, ``a:b`` or ``../x`` in a folder that somebody lists."""
    joined = urls.join(base, name)
    parts, whole = split(base), split(joined)
    assert (whole.scheme, whole.authority) == (parts.scheme, parts.authority)
    assert (whole.query, whole.fragment) == (None, None)
    folder, _, last = whole.path.rpartition("/")
    assert folder == parts.path.rstrip("/")
    assert decode(last) == name
    assert urls.combine_urls(base, joined) == joined
    assert split(urls.normalize_url(joined)).path.count("/") == whole.path.count("/")


@pytest.mark.parametrize("name", ["", ".", "..", "a\0b"])
@pytest.mark.parametrize("base", ["omniverse://h/a", "/tmp"])
def test_join_refuses_what_is_no_name(base: str, name: str) -> None:
    with pytest.raises(ValueError, match="names nothing"):
        urls.join(base, name)


def test_join_on_a_path_of_this_machine() -> None:
    assert urls.join("/tmp/a/", "b?c") == "/tmp/a/b?c"
    assert urls.join("C:\\a", "b") == "C:\\a\\b"
    assert urls.join("C:/a", "b") == "C:/a/b"
    for name in ("b/c", "../x"):
        with pytest.raises(ValueError, match="no single name"):
            urls.join("/tmp", name)
    with pytest.raises(ValueError, match="no single name"):
        urls.join("C:\\a", "b\\c")


def test_join_without_a_folder() -> None:
    assert urls.join("", "a:b") == "./a:b"


@pytest.mark.parametrize(
    ("base", "url", "whole"),
    [
        ("/a/b.usd", "../c.usd", "/c.usd"),
        ("/a/b.usd", "", "/a/b.usd"),
        ("/a/b.usd", "/x/y", "/x/y"),
        ("/a/b.usd", "omniverse://h/x", "omniverse://h/x"),
        ("/a/b.usd", "//h/x", "//h/x"),
        ("C:\\a\\b.usd", "t/x.png", "C:/a/t/x.png"),
        ("\\\\srv\\share\\a", "b/c", "\\\\srv\\share\\b\\c"),
        ("omniverse://h/a", "C:/x", "C:/x"),
        ("a/b", "c", "a/c"),
    ],
)
def test_combining_with_paths_of_a_machine(base: str, url: str, whole: str) -> None:
    assert urls.combine_urls(base, url) == whole


def test_relative_among_paths_of_a_machine() -> None:
    assert urls.make_relative_url("/a/b/c", "/a/d:e") == "../d:e"
    assert urls.make_relative_url("/a/b/c", "/a/b/d:e") == "./d:e"
    assert urls.make_relative_url("/a", "omniverse://h/a") == "omniverse://h/a"
    assert urls.make_relative_url_if_possible("a://h/x", "a://h/y") == "y"


def test_bytes_that_are_no_utf8_survive() -> None:
    parts = urls.break_url_reference("file:///a%FFb")
    assert urls.make_url("file", host="", path=parts.path) == "file:///a%FFb"


def test_names_of_files_of_this_machine() -> None:
    assert urls.make_file_url("a b") == "a%20b"
    assert urls.make_file_url_if_possible("a b") == "a b"
    assert urls.make_file_url_if_possible("/a b") == "file:///a%20b"
    assert urls.is_local_url("/a")
    assert urls.is_local_url("FILE://localhost/a")
    assert not urls.is_local_url("file://other/a")
    assert not urls.is_local_url("omniverse://h/a")


@pytest.mark.parametrize("url", ["", "a", "//h", "http:", "http://h/\n", "http://h/\x7f"])
def test_what_names_nothing_by_itself(url: str) -> None:
    assert not urls.is_valid_url(url)


@pytest.mark.parametrize("url", ["/", "C:/a", "omniverse://h", "file:/a", "data:,x"])
def test_what_names_something(url: str) -> None:
    assert urls.is_valid_url(url)


def test_printable_addresses_hide_passwords_and_tricks() -> None:
    assert urls.make_printable("http://u:geheim@h:8/%C3%BC?q%20r#%41") == "http://u:…@h:8/ü?q r#A"
    assert urls.make_printable("http://h/%0A%E2%80%AE") == "http://h/%0A%E2%80%AE"
    assert urls.make_printable("/a%20b") == "/a%20b"


@pytest.mark.parametrize("query", ["", "&", "a=1&b=2", "b&x", "&-1", "&1&2", "&" + "9" * 40, "&٣"])
def test_queries_that_name_no_checkpoint(query: str) -> None:
    assert urls.get_branch_and_checkpoint_from_query(query) is None


@given(st.text("abz", max_size=4), st.integers(0, 10**9))
def test_queries_of_checkpoints_are_read_back(branch: str, number: int) -> None:
    query = urls.make_query_from_branch_and_checkpoint(branch, number)
    if query:
        assert urls.get_branch_and_checkpoint_from_query(query) == (branch, number)
