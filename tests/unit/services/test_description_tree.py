"""Calls by attribute reach the operation that the description has, and no other."""

from __future__ import annotations

import timeit
from collections.abc import Mapping
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from downstage.services.description import AmbiguousPath, Description, Match, Step
from downstage.services.description.names import attribute_name

pytestmark = pytest.mark.unit

VERBS = ("get", "post", "put", "delete", "patch")


def described(*operations: str, **more: Mapping[str, Any]) -> Description:
    """A description of operations such as ``GET /a/{b}``; *more* by their operationId-like name."""
    paths = dict[str, dict[str, Any]]()
    for text in operations:
        method, path = text.split(" ", 1)
        paths.setdefault(path, {})[method.lower()] = dict(more.get(method.lower(), {}))
    return Description.from_document({"openapi": "3.1.0", "paths": paths})


def steps(*texts: str, literal: bool = False) -> list[Step]:
    return [Step(text, literal) for text in texts]


def found(description: Description, path: str, verb: str | None, **keywords: object) -> Match:
    match = description.find(steps(*[p for p in path.split("/") if p]), verb, keywords)
    assert match is not None
    return match


def test_an_exact_name_a_dash_form_a_parameter_in_this_order() -> None:
    tree = described("GET /a_b", "GET /a-b", "GET /c-d", "GET /{x}")
    assert found(tree, "a_b", "get").segments == ("a_b",)
    assert found(tree, "c_d", "get").segments == ("c-d",)
    match = found(tree, "e_f", "get")
    assert match.segments == ("e_f",)
    assert match.operation is not None
    assert match.operation.path == "/{x}"


def test_literal_steps_take_no_dashes() -> None:
    tree = described("GET /a-b", "GET /x/{id}", "GET /x/log-out")
    assert tree.find(steps("a_b", literal=True), "get", {}) is None
    match = tree.find([Step("x", literal=False), Step("log_out", literal=True)], "get", {})
    assert match is not None
    assert match.segments == ("x", "log_out")
    assert match.operation is not None
    assert match.operation.path == "/x/{id}"


def test_names_that_differ_in_dashes_alone_are_told_apart_or_refused() -> None:
    tree = described("GET /a-b_c", "GET /a_b-c", "POST /a_b-c", "GET /a-b_c/x")
    with pytest.raises(AmbiguousPath, match=r"/a-b_c and /a_b-c"):
        tree.find(steps("a_b_c"), "get", {})
    assert found(tree, "a_b_c", "post").segments == ("a_b-c",)  # only one has it
    assert found(tree, "a_b_c/x", "get").segments == ("a-b_c", "x")  # only one goes on
    assert tree.find(steps("a-b_c", literal=True), "get", {}) is not None


def test_a_dash_within_an_attribute_means_the_plain_dash_form() -> None:
    tree = described("GET /a-b-c", "GET /a_b")
    assert found(tree, "a-b_c", "get").segments == ("a-b-c",)
    assert tree.find(steps("a-b"), "get", {}) is None


def test_a_path_that_has_the_verb_is_meant() -> None:
    tree = described("GET /s/active", "DELETE /s/{id}", "POST /s/{id}/stop", "GET /s/active/log")
    assert found(tree, "s/active", "delete").operation is not None
    assert found(tree, "s/active/stop", "post").segments == ("s", "active", "stop")
    match = found(tree, "s/active", "patch")
    assert (match.method, match.operation) == ("PATCH", None)


def test_what_is_not_described_is_left_to_the_plain_rule() -> None:
    tree = described("GET /a/b")
    assert tree.find(steps("a"), "get", {}) is None
    assert tree.find(steps("a", "b", "c"), "get", {}) is None
    assert Description.from_document({}).find([], "get", {}) is None


def test_the_root_and_verbs_as_names() -> None:
    tree = described("GET /", "POST /post/get", "GET /get")
    assert found(tree, "", "get").segments == ()
    assert found(tree, "post/get", "post").segments == ("post", "get")
    assert found(tree, "get", "get").segments == ("get",)


def test_no_verb_means_the_only_one_else_post() -> None:
    tree = described("PUT /a", "HEAD /a", "GET /b", "DELETE /b", "POST /c", "GET /c")
    assert found(tree, "a", None).method == "PUT"
    assert (found(tree, "b", None).method, found(tree, "b", None).operation) == ("POST", None)
    assert found(tree, "c", None).operation is not None


def test_a_keyword_that_names_the_parameter_below_is_a_segment() -> None:
    tree = described("GET /v1/s", "GET /v1/s/{s_id}", "GET /v1/s/{s_id}/{seat}", "PUT /v1/t/{t_id}")
    match = found(tree, "v1/s", "get", s_id="x", limit=1)
    assert (match.segments, match.path_keywords) == (("v1", "s", "x"), {"s_id"})
    match = found(tree, "v1/s", "get", s_id="x", seat=True)
    assert (match.segments, match.path_keywords) == (("v1", "s", "x", "true"), {"s_id", "seat"})
    match = found(tree, "v1/t", "put", t_id=UUID(int=1))
    assert match.segments == ("v1", "t", "00000000-0000-0000-0000-000000000001")
    assert found(tree, "v1/t", None, t_id=1) == found(tree, "v1/t", "put", t_id=1)
    assert found(tree, "v1/s", "get", s_id=None).segments == ("v1", "s")


def test_a_keyword_that_the_operation_knows_stays_with_it() -> None:
    knowing = {"parameters": [{"name": "s_id", "in": "query"}]}
    tree = described("GET /s", "GET /s/{s_id}", get=knowing)
    match = found(tree, "s", "get", s_id="x")
    assert (match.segments, match.path_keywords) == (("s",), frozenset())


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_a_keyword_cannot_lead_elsewhere(value: str) -> None:
    with pytest.raises(ValueError, match="no path segment"):
        described("GET /s", "GET /s/{i}").find(steps("s"), "get", {"i": value})


def test_segments_with_text_around_a_parameter() -> None:
    tree = described("GET /f/{path}.json", "GET /f/{path}", "GET /m/{a}-{b}", "GET /m/x{c}")
    json = found(tree, "f/r.json", "get").operation
    assert json is not None
    assert json.path == "/f/{path}.json"
    plain = found(tree, "f/.json", "get").operation
    assert plain is not None
    assert plain.path == "/f/{path}"
    match = found(tree, "m", "get", a=1, b=2)
    assert (match.segments, match.path_keywords) == (("m", "1-2"), {"a", "b"})
    assert tree.find(steps("m", "-2"), "get", {}) is None
    assert tree.find(steps("m"), "get", {"a": 1}) is None  # half a segment


def test_a_slash_at_the_end_is_kept_where_it_is_described() -> None:
    tree = described("GET /items/", "GET /both/", "GET /both", "GET /plain", "GET /plain/")
    assert found(tree, "items", "get").segments == ("items", "")
    assert found(tree, "both", "get").segments == ("both",)
    assert found(tree, "plain", "get").segments == ("plain",)
    assert found(described("GET /i/{x}/"), "i", "get", x=1).segments == ("i", "1", "")


@pytest.mark.parametrize(
    "path",
    ["//evil.example/x", "/a//b", "/../x", "/a/./b", "a", "http://evil.example/a", "/x" * 65],
)
def test_A17_paths_that_lead_elsewhere_are_left_out(path: str) -> None:
    tree = Description.from_document({"paths": {path: {"get": {}}}})
    assert tree.operations == ()
    assert tree.children([]) == []


def test_A17_servers_and_foreign_references_are_not_looked_at() -> None:
    document = {
        "servers": [{"url": "http://169.254.169.254"}],
        "paths": {
            "/a": {"get": {"servers": [{"url": "http://169.254.169.254"}]}},
            "/b": {"$ref": "http://169.254.169.254/b.json"},
            "/c": {"$ref": "file:///etc/passwd"},
            "/d": {"$ref": "#/paths/~1d"},
            "/e": {"$ref": "#/paths/~1a"},
            "/f": {"$ref": "./paths/~1a"},
        },
    }
    tree = Description.from_document(document)
    assert [operation.path for operation in tree.operations] == ["/a", "/e"]
    assert found(tree, "a", "get").segments == ("a",)


def test_children_are_attributes_and_verbs() -> None:
    tree = described("GET /a-b", "GET /class", "GET /_x", "GET /1", "POST /s", "PUT /s/{i}/x-y")
    assert tree.children([]) == ["a_b", "s"]
    assert tree.children(steps("s")) == ["post"]
    assert tree.children(steps("s", "9")) == ["x_y"]
    assert tree.children(steps("s", "9", "x_y")) == ["put"]
    assert tree.children(steps("no")) == []


NAMES = st.text("ab_-", min_size=1, max_size=4) | st.sampled_from([*VERBS, "x.y", "ä", "名"])
PARTS = NAMES | st.sampled_from(["{id}", "{x_y}", "{p}.json", "v{n}"])
PATHS = st.lists(PARTS, max_size=4).map(tuple)
VALUES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)


@st.composite
def calls(draw: st.DrawFn) -> tuple[Description, str, str, list[Step], tuple[str, ...]]:
    """A description, an operation of it, and steps that write it by attributes and values."""
    operations = draw(st.sets(st.tuples(st.sampled_from(VERBS), PATHS), min_size=1, max_size=12))
    tree = described(*(f"{verb.upper()} /{'/'.join(parts)}" for verb, parts in sorted(operations)))
    verb, parts = draw(st.sampled_from(sorted(operations)))
    written, sent = list[Step](), list[str]()
    for part in parts:
        before, brace, rest = part.partition("{")
        if brace:
            text = before + draw(VALUES) + rest.partition("}")[2]
            written.append(Step(text, draw(st.booleans())))
            sent.append(text)
        else:
            written.append(Step(attribute_name(part), literal=False))
            sent.append(part)
    return tree, verb, "/" + "/".join(parts), written, tuple(sent)


def _fits(template: str, segments: tuple[str, ...]) -> bool:
    parts = [part for part in template.split("/") if part]
    if len(parts) != len(segments):
        return False
    for part, segment in zip(parts, segments, strict=True):
        before, brace, rest = part.partition("{")
        after = rest.partition("}")[2]
        if not brace:
            if part != segment:
                return False
        elif not (
            segment.startswith(before)
            and segment.endswith(after)
            and len(segment) > len(before) + len(after)
        ):
            return False
    return True


@settings(max_examples=300)
@given(calls())
def test_calls_by_attribute_reach_exactly_the_described_operation(
    case: tuple[Description, str, str, list[Step], tuple[str, ...]],
) -> None:
    tree, verb, path, written, sent = case
    try:
        match = tree.find(written, verb, {})
    except AmbiguousPath:
        alike = [o for o in tree.operations if o.method == verb.upper() and o.path != path]
        assert alike
        return
    assert match is not None
    assert match.operation is not None  # the verb is described: never something else
    assert match.method == verb.upper()
    assert _fits(match.operation.path, match.segments)
    # Written dash-free, two paths may be meant; the one that is spelt so wins over ours.
    if match.operation.path != path:
        spelt = tuple(step.text for step in written)
        assert any(
            o.path != path
            and o.method == verb.upper()
            and _rank(o.path, spelt) <= _rank(path, spelt)
            for o in tree.operations
        )
    else:
        assert match.segments == sent


def _rank(path: str, spelt: tuple[str, ...]) -> tuple[int, ...]:
    """How each step fits: exactly, by dashes, as a value (worse with less text around); or not."""
    parts = [part for part in path.split("/") if part]
    if len(parts) != len(spelt):
        return (9,)
    ranks = list[int]()
    for part, text in zip(parts, spelt, strict=True):
        if "{" in part:
            ranks.append(20 - len(part.replace(part[part.index("{") : part.index("}") + 1], "")))
        else:
            ranks.append(0 if part == text else 1)
    return tuple(ranks)


@settings(max_examples=100)
@given(st.sets(NAMES, min_size=1, max_size=8))
def test_literal_steps_reach_every_name(names: set[str]) -> None:
    tree = described(*(f"GET /{name}" for name in names))
    for name in names:
        match = tree.find([Step(name, literal=True)], "get", {})
        assert match is not None
        assert match.segments == (name,)


@given(st.text("a_", min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_two_names_are_never_mixed_up_in_silence(name: str, dice: Random) -> None:
    one, other = ("".join(dice.choice("_-") if c == "_" else c for c in name) for _ in range(2))
    assume(one != other)
    tree = described(f"GET /{one}", f"GET /{other}")
    attribute = attribute_name(one)
    if attribute in (one, other):
        assert found(tree, attribute, "get").segments == (attribute,)
    else:
        with pytest.raises(AmbiguousPath):
            tree.find(steps(attribute), "get", {})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["get", "parameters", "$ref", "schema", "name", "in", "/a", "requestBody"]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from(["paths", "info", "components"]), JSON), JSON)
def test_what_is_out_of_form_is_left_out(document: dict[str, Any], item: Any) -> None:
    paths: dict[str, Any] = {"/a": item, "/b": {"get": item}, "/c": {"post": {"requestBody": item}}}
    for tree in (Description.from_document(document), Description.from_document({"paths": paths})):
        for operation in tree.operations:
            operation.place({"x": 1})
            operation.signature()
            assert isinstance(operation.doc, str)


def test_a_call_is_understood_within_two_microseconds() -> None:
    tree = described(*(f"GET /v1/r{i}/{{id}}/x-y" for i in range(500)), "GET /v1/plain")
    plain, ids = steps("v1", "plain"), steps("v1", "r77", "abc", "x_y")
    for written in (plain, ids):
        best = min(timeit.repeat(lambda s=written: tree.find(s, "get", {}), number=500, repeat=7))
        assert best / 500 < 6e-6  # measured 0.8 and 1.9 µs; others share this machine
