"""In a fresh interpreter: what the alias costs, and that no package of its name lies on disk."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distribution

import pytest

from downstage.omni.names import MODULES

pytestmark = [pytest.mark.real]

HEAVY = {
    "aiohttp", "uvicorn", "httptools", "httpx", "uvloop", "websockets", "nats",  # HTTP and others
    "pixelflux", "pcmflux", "selkies", "Xlib", "av",  # media
    "pxr", "vtkmodules", "numpy", "pygame",  # USD and pictures
    "sqlalchemy", "alembic", "prometheus_client",  # what facilities work with
}  # fmt: skip
PROGRAM = """
import json, sys
import downstage.omni
downstage.omni.install()
from importlib import import_module
for name in json.loads(sys.argv[1]):
    module = import_module(name)
    for attribute in module.__all__:
        getattr(module, attribute)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_the_names_bring_no_engine() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, json.dumps(sorted(MODULES))],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    assert {"omni", "carb", "downstage"} <= loaded
    assert not loaded & HEAVY


def test_no_package_of_that_name_is_installed() -> None:
    files = distribution("downstage").files or []
    assert not [file for file in files if file.parts[0] in ("omni", "carb")]
