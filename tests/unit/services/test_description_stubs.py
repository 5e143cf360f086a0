"""Stubs declare, and do nothing else, whatever the description says."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from downstage.services.description.stubs import write_stub
from downstage.services.description.stubs.naming import Names, docstring

pytestmark = pytest.mark.unit

BREAKING = '"""\nimport os\nos.system("x")\n"""'
HOSTILE = [
    BREAKING, "\\", '"', '\\"""', "'", "a\nb",
    "\x00", "\ud800", "class", "self", "__class__", "str",
    "list", "Any", "overload", "Literal", "TypedDict", "Client", "AsyncClient", "Resource", "get",
    "post", "stop", "ws", "pages", "stream", "a-b", "a_b", "a.b", "", " ", "1", "ﬁ", "名", "{x}",
    "{", "}", "#", "__headers__", "options", "segment", "body", "_", "__debug__", "None", "mro",
]  # fmt: skip
TEXTS = st.sampled_from(HOSTILE) | st.text(max_size=6)
SCHEMAS = st.recursive(
    st.fixed_dictionaries({"type": st.sampled_from(["string", "integer", "null", "x", 1])})
    | st.fixed_dictionaries({"enum": st.lists(TEXTS | st.integers() | st.none() | st.floats())})
    | st.fixed_dictionaries({"$ref": TEXTS.map("#/components/schemas/{}".format)})
    | st.just({"type": "string", "format": "date-time"}),
    lambda inner: (
        st.fixed_dictionaries({"type": st.just("array"), "items": inner})
        | st.fixed_dictionaries({"anyOf": st.lists(inner, max_size=3)})
        | st.fixed_dictionaries({"allOf": st.lists(inner, max_size=3)})
        | st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "description": TEXTS,
                "properties": st.dictionaries(TEXTS, inner, max_size=3),
                "required": st.lists(TEXTS, max_size=2),
            }
        )
    ),
    max_leaves=6,
)
CONTENT = st.dictionaries(
    st.sampled_from(["application/json", "text/plain", "multipart/form-data"]) | TEXTS,
    st.fixed_dictionaries({"schema": SCHEMAS}),
    max_size=2,
)
OPERATIONS = st.fixed_dictionaries(
    {"summary": TEXTS, "description": TEXTS},
    optional={
        "parameters": st.lists(
            st.fixed_dictionaries(
                {
                    "name": TEXTS,
                    "in": st.sampled_from(["query", "header", "path", "cookie"]),
                    "required": st.booleans(),
                    "schema": SCHEMAS,
                    "description": TEXTS,
                }
            ),
            max_size=3,
        ),
        "requestBody": st.fixed_dictionaries({"content": CONTENT, "required": st.booleans()}),
        "responses": st.dictionaries(
            st.sampled_from(["200", "201", "404"]),
            st.fixed_dictionaries({"description": TEXTS, "content": CONTENT}),
            max_size=2,
        ),
    },
)
PATHS = st.lists(TEXTS | TEXTS.map("{{{}}}".format), max_size=4).map(lambda p: "/" + "/".join(p))
DOCUMENTS = st.fixed_dictionaries(
    {
        "info": st.fixed_dictionaries({"title": TEXTS, "version": TEXTS}),
        "paths": st.dictionaries(
            PATHS,
            st.dictionaries(
                st.sampled_from(["get", "post", "delete", "x"]), OPERATIONS, max_size=2
            ),
            max_size=4,
        ),
        "components": st.fixed_dictionaries(
            {"schemas": st.dictionaries(TEXTS, SCHEMAS, max_size=3)}
        ),
    }
)


def only_declares(tree: ast.Module) -> None:
    """Imports, classes with annotations and empty functions, aliases and TypedDicts: no more."""
    for node in tree.body:
        match node:
            case ast.Expr(ast.Constant(str())) | ast.ImportFrom():
                pass
            case ast.ClassDef():
                assert all(isinstance(base, ast.Name) for base in node.bases)
                assert not node.keywords + node.decorator_list
                for member in node.body:
                    _only_declares_member(member)
            case ast.AnnAssign(annotation=ast.Name("TypeAlias"), value=value):
                assert value is not None
                _is_type(value)
            case ast.Assign(value=ast.Call(ast.Name("TypedDict"), [name, ast.Dict(keys, values)])):
                assert isinstance(name, ast.Constant)
                assert all(isinstance(key, ast.Constant) for key in keys)
                for value in values:
                    _is_type(value)
            case _:
                raise AssertionError(ast.dump(node))


def _only_declares_member(member: ast.stmt) -> None:
    match member:
        case ast.Expr(ast.Constant()):
            pass
        case ast.AnnAssign(target=ast.Name(), value=None):
            _is_type(member.annotation)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            assert all(ast.unparse(one) == "overload" for one in member.decorator_list)
            assert [type(inner) for inner in member.body] == [ast.Expr]
            assert isinstance(member.body[0], ast.Expr)
            assert isinstance(member.body[0].value, ast.Constant)
            for default in [*member.args.defaults, *member.args.kw_defaults]:
                assert default is None or ast.unparse(default) == "..."
            for argument in [*member.args.posonlyargs, *member.args.args, *member.args.kwonlyargs]:
                if argument.annotation is not None:
                    _is_type(argument.annotation)
        case _:
            raise AssertionError(ast.dump(member))


def _is_type(node: ast.expr) -> None:
    allowed = (ast.Name, ast.Constant, ast.Subscript, ast.BinOp, ast.BitOr, ast.Tuple, ast.Load)
    negative = (ast.UnaryOp, ast.USub)  # Literal[-1]
    assert all(isinstance(inner, (*allowed, *negative)) for inner in ast.walk(node)), ast.dump(node)


@settings(max_examples=120)
@given(DOCUMENTS)
def test_A17_any_description_yields_declarations_alone(document: dict[str, Any]) -> None:
    text = write_stub(document)
    text.encode()
    tree = ast.parse(text)
    compile(text, "client.pyi", "exec")
    only_declares(tree)
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    assert len(classes) == len(set(classes))
    assert classes.count("Client") == classes.count("AsyncClient") == 1
    assert text == write_stub(document)


@given(TEXTS | st.text())
def test_A17_a_docstring_ends_where_it_should(text: str) -> None:
    tree = ast.parse(f"def f():\n    {docstring(text, '    ')}\n")
    assert isinstance(tree.body[0], ast.FunctionDef)
    assert [type(node) for node in tree.body[0].body] == [ast.Expr]


def test_what_two_paths_may_mean_is_no_attribute() -> None:
    paths = ("/a-b_c", "/a_b-c", "/d_e", "/d-e", "/f-g")
    text = write_stub({"paths": {path: {"get": {}} for path in paths}})
    root = text[text.index("\nclass Client(Base):") :].splitlines()
    attributes = [line.partition(":")[0].strip() for line in root if line.startswith("    ")]
    assert {"d_e", "f_g"} <= set(attributes)
    assert "a_b_c" not in attributes
    for literal in ("a-b_c", "a_b-c", "d-e"):
        assert sum(f"Literal['{literal}']" in line for line in root) == 1


def test_an_id_is_no_keyword_where_the_path_above_knows_the_name() -> None:
    knowing = {"parameters": [{"name": "s_id", "in": "query"}]}
    for above, expected in (({}, True), (knowing, False)):
        text = write_stub({"paths": {"/s": {"get": above}, "/s/{s_id}": {"get": {}}}})
        assert ("*, s_id: str | int, " in text) is expected


def test_an_id_and_a_body_of_one_name_are_two_parameters() -> None:
    content = {"content": {"application/json": {"schema": {"type": "string"}}}}
    for name in ("body", "options", "body_"):
        text = write_stub({"paths": {f"/s/{{{name}}}": {"post": {"requestBody": content}}}})
        compile(text, "client.pyi", "exec")
    text = write_stub({"paths": {"/s/{body}": {"post": {"requestBody": content}}}})
    assert "(self, body: str | int, body_: str | Model = ..., /, **options" in text


def test_a_field_that_hides_a_type_stands_apart() -> None:
    schema = {"properties": {"str": {"type": "string"}, "x": {"type": "string"}}}
    answer = {"200": {"content": {"application/json": {"schema": schema}}}}
    text = write_stub({"paths": {"/s": {"get": {"responses": answer}}}})
    assert "TypedDict(\n" in text[text.index("class Base:") :]


def test_names_are_given_once() -> None:
    names = Names(["Taken"])
    given = [names.take(n) for n in ("Taken", "Taken", "str", "", "9", "Any", "Taken2", "Session")]
    assert given == ["Taken2", "Taken3", "str2", "Part", "N9", "Any2", "Taken22", "Session"]


@pytest.mark.parametrize("name", ["", "a b", "class", "1", "Ünï", "x\n"])
def test_a_class_needs_a_name(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a class"):
        write_stub({}, name=name)
