"""The examples of the page on routers, as a reader would run them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from downstage.services import registry

pytestmark = pytest.mark.unit

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "routers.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", [0, 1])
def test_the_example_runs(number: int) -> None:
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) == 2
    before = registry.get_app()
    registry.put_app(registry.MAIN, registry.create_app("Page"))
    try:
        code = compile(blocks[number], f"{PAGE.name}[{number}]", "exec", dont_inherit=True)
        exec(code, {"__name__": "page"})
    finally:
        registry.put_app(registry.MAIN, before)


def test_every_function_of_the_registry_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = [name for name in registry.__all__ if name.startswith(("register_", "set_meta"))]
    assert [name for name in named if f"`{name}(" not in text] == []
