"""Every setting stands in the example file and on the reference page, as the model has it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from downstage.kernel.settings import Settings, load

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    path = ROOT / "docs" / "generate_settings.py"
    spec = importlib.util.spec_from_file_location("generate_settings", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_are_what_the_model_says(generator: ModuleType) -> None:
    hint = "run: python docs/generate_settings.py"
    assert generator.EXAMPLE.read_text(encoding="utf-8") == generator.example(), hint
    assert generator.PAGE.read_text(encoding="utf-8") == generator.page(), hint


def test_every_setting_is_explained(generator: ModuleType) -> None:
    for section, model in generator._sections():
        assert model.__doc__, section
        for key, field in model.model_fields.items():
            assert field.description, f"{section}.{key} has no docstring below it"
            assert f"| `{key}` |" in generator.page()


def test_the_example_as_it_is_changes_nothing(generator: ModuleType) -> None:
    assert load(file=generator.EXAMPLE, environment={}) == Settings()


def test_every_line_of_the_example_may_be_used(generator: ModuleType, tmp_path: Path) -> None:
    text, lines = re.subn(r"^# (\w+ = )", r"\1", generator.example(), flags=re.MULTILINE)
    assert lines == sum(len(model.model_fields) for _, model in generator._sections())
    file = tmp_path / "downstage.toml"
    file.write_text(text, encoding="utf-8")
    settings = load(file=file, environment={})
    for section, model in generator._sections():
        for key, field in model.model_fields.items():
            value = getattr(getattr(settings, section), key)
            assert value == field.default or field.default is None, f"{section}.{key}"
