"""Where arguments go, and what IPython shows of an operation."""

from __future__ import annotations

import ast
import inspect
import keyword
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.services.description import Description, Operation, Step
from downstage.services.description.names import clean_text, keyword_name

pytestmark = pytest.mark.unit

CREATE: dict[str, Any] = {
    "summary": "Start a session",
    "description": "It is queued where no place is free.\n\nAnswers at once.",
    "parameters": [
        {"name": "dry-run", "in": "query", "schema": {"type": "boolean", "default": False}},
        {"name": "X-Mark", "in": "header", "description": "Kept in the log."},
        {"name": "shade", "in": "cookie"},
        {"$ref": "#/components/parameters/Limit"},
    ],
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": {"properties": {"no": {}}}},
            "application/json; charset=utf-8": {"schema": {"$ref": "#/components/schemas/New"}},
        },
    },
    "responses": {
        "201": {
            "description": "Made",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Session"}}},
        },
        "404": {"$ref": "#/components/responses/Missing"},
    },
}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "paths": {
        "/s": {"post": CREATE, "get": {}},
        "/s/{id}": {
            "parameters": [
                {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
                {"name": "deep", "in": "query", "schema": {"type": "integer"}},
            ],
            "get": {"parameters": [{"name": "deep", "in": "query", "schema": {"type": "string"}}]},
            "put": {
                "requestBody": {"content": {"text/plain": {"schema": {"type": "string"}}}},
                "responses": {"204": {"description": "Done"}},
            },
        },
    },
    "components": {
        "parameters": {"Limit": {"name": "limit", "in": "query", "schema": {"type": "integer"}}},
        "responses": {"Missing": {"description": "Not there"}},
        "schemas": {
            "Session": {"properties": {"id": {"type": "string"}}},
            "Base": {
                "properties": {"application": {"type": "string"}, "from": {"type": "string"}},
                "required": ["application"],
            },
            "New": {
                "allOf": [
                    {"$ref": "#/components/schemas/Base"},
                    {
                        "properties": {
                            "kind": {"enum": ["a", "b"]},
                            "when": {"type": "string", "format": "date-time"},
                            "next": {"$ref": "#/components/schemas/New"},
                            "self": {"type": ["array", "null"], "items": {"type": "integer"}},
                        }
                    },
                ]
            },
        },
    },
}


def operation(verb: str, *path: str, document: dict[str, Any] = DOCUMENT) -> Operation:
    steps = [Step(text, literal=True) for text in path]
    match = Description.from_document(document).find(steps, verb, {})
    assert match is not None
    assert match.operation is not None
    return match.operation


def test_keywords_go_where_the_operation_has_them() -> None:
    placed = operation("post", "s").place(
        {"dry_run": 1, "x_mark": 2, "shade": 3, "limit": 4, "application": 5, "from_": 6, "new": 7}
    )
    assert placed.query == {"dry-run": 1, "limit": 4}
    assert placed.headers == {"X-Mark": 2}
    assert placed.cookies == {"shade": 3}
    assert placed.body == {"application": 5, "from": 6, "new": 7}


def test_a_parameter_comes_before_a_field_of_its_name() -> None:
    schema = {"properties": {"mode": {}, "x": {}}}
    raw = {
        "parameters": [{"name": "mode", "in": "query"}],
        "requestBody": {"content": {"application/json": {"schema": schema}}},
    }
    placed = Operation("POST", "/", "", "", raw).place({"mode": 1, "x": 2})
    assert (placed.query, placed.body) == ({"mode": 1}, {"x": 2})


def test_spellings_of_the_wire_are_understood_too() -> None:
    placed = operation("post", "s").place({"dry-run": 1, "X-Mark": 2, "from": 3})
    assert (placed.query, placed.headers, placed.body) == (
        {"dry-run": 1},
        {"X-Mark": 2},
        {"from": 3},
    )


def test_unknown_keywords_go_by_the_verb() -> None:
    assert operation("get", "s").place({"a": 1}).query == {"a": 1}
    for method in ("PUT", "DELETE", "PATCH"):
        assert Operation(method, "/", "", "", {}).place({"a": None}).body == {"a": None}
    assert Operation("HEAD", "/", "", "", {}).place({"a": 1}).query == {"a": 1}


def test_an_operation_knows_its_parameters_before_its_path_s() -> None:
    read = operation("get", "s", "9")
    assert str(read.signature()) == "(*, deep: str = None) -> Any"
    assert read.knows("deep")
    assert not read.knows("id")


@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("header", "Host"),
        ("header", "authorization"),
        ("header", "Content-Length"),
        ("header", "Transfer-Encoding"),
        ("header", "Proxy-Authorization"),
        ("header", "X-A\r\nX-B"),
        ("cookie", "a=b; c"),
    ],
)
def test_A17_a_description_cannot_steer_arguments_into_the_frame_of_a_request(
    where: str, name: str
) -> None:
    raw = {"parameters": [{"name": name, "in": where}]}
    placed = Operation("GET", "/", "", "", raw).place({keyword_name(name.lower()): 1, name: 2})
    assert placed.headers == placed.cookies == {}
    assert name in placed.query


def test_names_that_python_spells_alike_stay_apart() -> None:
    raw = {"parameters": [{"name": n, "in": "query"} for n in ("a-b", "a_b", "a.b", "a b")]}
    it = Operation("GET", "/", "", "", raw)
    assert list(it.signature().parameters) == ["a_b_2", "a_b", "a_b_3", "a_b_4"]
    placed = it.place({"a_b": 1, "a_b_2": 2, "a_b_3": 3, "a_b_4": 4})
    assert placed.query == {"a_b": 1, "a-b": 2, "a.b": 3, "a b": 4}


def test_the_signature_says_types_and_defaults() -> None:
    shown = operation("post", "s").signature()
    first = next(iter(shown.parameters.values()))
    assert (first.name, str(first)) == ("application", "application: str")
    assert first.kind is inspect.Parameter.KEYWORD_ONLY
    texts = {str(parameter) for parameter in shown.parameters.values()}
    assert {
        "dry_run: bool = False",
        "limit: int = None",
        "kind: Literal['a', 'b'] = None",
        "when: datetime | str = None",
        "self_: Sequence[int] | None = None",
        "from_: str = None",
    } <= texts
    assert str(shown).endswith(" -> Session")


def test_a_body_that_is_no_object_is_given_as_it_is() -> None:
    put = operation("put", "s", "9")
    assert str(put.signature()) == "(body: str = None, /, *, deep: int = None) -> None"
    assert put.media == "text/plain"


def test_the_doc_tells_summary_parameters_and_answers() -> None:
    assert operation("post", "s").doc.startswith(
        "Start a session\n\nIt is queued where no place is free.\n\nAnswers at once.\n\nPOST /s\n\n"
        "Args:\n    dry_run (query, optional)\n    x_mark (header, optional): Kept in the log.\n"
    )
    assert operation("post", "s").doc.endswith("Answers:\n    201: Made\n    404: Not there")
    assert operation("get", "s").doc == "GET /s"


def test_A17_what_is_shown_holds_no_tricks_for_terminals() -> None:
    raw = {
        "parameters": [{"name": "a\x1b[2J", "in": "query", "description": "\x1b]0;x\x07\u202e"}],
        "responses": {"2\x1b": {"description": "\x9b31m"}},
    }
    it = Operation("GET", "/\x1b[31m", "sum\x1bmary\ud800", "x\r\ny\x00", raw)
    assert all(c == "\n" or c.isprintable() for c in it.doc)
    assert "summary\n\nx\ny" in it.doc
    assert str(it.signature()) == "(*, a__2J: Any = None) -> Any"


def test_A17_schemas_that_go_round_or_explode_are_bounded() -> None:
    schemas: dict[str, Any] = {
        f"L{i}": {"anyOf": [{"$ref": f"#/components/schemas/L{i + 1}"}] * 50} for i in range(60)
    }
    schemas["Round"] = {"$ref": "#/components/schemas/Round"}
    schemas["Items"] = {"type": "array", "items": {"$ref": "#/components/schemas/Items"}}
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/L0"}}}}
    names = ("L0", "Round", "Items")
    parameters = [
        {"name": name, "in": "query", "schema": {"$ref": f"#/components/schemas/{name}"}}
        for name in names
    ]
    document = {
        "paths": {"/a": {"post": {"requestBody": body, "parameters": parameters}}},
        "components": {"schemas": schemas},
    }
    shown = operation("post", "a", document=document).signature().parameters
    assert str(shown["Round"]) == "Round: Any = None"
    assert str(shown["Items"]).startswith("Items: Sequence[Sequence[")


@given(
    st.text(max_size=20) | st.sampled_from([*keyword.kwlist, "self", "__debug__", "ﬁ", "℘", "·"])
)
def test_every_name_has_a_keyword_that_python_accepts(name: str) -> None:
    word = keyword_name(name)
    tree = ast.parse(f"def f(self, *, {word}=1): ...").body[0]
    assert isinstance(tree, ast.FunctionDef)
    assert [argument.arg for argument in tree.args.kwonlyargs] == [word]


@given(st.text())
def test_clean_text_is_printable(text: str) -> None:
    cleaned = clean_text(text)
    assert not any(ord(c) < 32 and c not in "\n\t" for c in cleaned)
    cleaned.encode()
