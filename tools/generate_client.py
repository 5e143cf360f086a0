"""Writes the three flavours of the client's operations from their signatures.

python tools/generate_client.py           writes src/downstage/client/flavours/
python tools/generate_client.py --check   fails where what is there is not what it would write
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLIENT = ROOT / "src/downstage/client"
MODULES = ("listing", "writing", "copying", "versions", "access", "talking")
EMPTY = {
    "str": '""',
    "bool": "False",
    "ListEntry": "ListEntry()",
    "ServerInfo": "ServerInfo()",
    "Content": "Content()",
    "WriteFileExInfo": "WriteFileExInfo()",
}
BUILTINS = {"list"}
SHADOWS = "# ruff: noqa: A001 - the published name\n\n"
HEAD = '''"""{what}

Made by ``tools/generate_client.py`` from `downstage.client.operations.{module}`; change that.
"""

{shadows}from __future__ import annotations

from collections.abc import Callable{sequence}
from typing import Any

{flavours}
from downstage.client.operations import {module} as do
from downstage.client.request import Request
from downstage.client.types import {types}

__all__ = [
{names}
]
'''


class Operation:
    """One coroutine, and how its flavours are written."""

    def __init__(self, node: ast.AsyncFunctionDef) -> None:
        self.inner = node.name
        self.name = node.name.rstrip("_")
        self.doc = (ast.get_docstring(node) or "").split("\n")
        arguments = node.args.args[1:]
        defaults = [None] * (len(arguments) - len(node.args.defaults)) + list(node.args.defaults)
        pairs = [
            (a.arg, ast.unparse(a.annotation or ast.Constant(None)), d and ast.unparse(d))
            for a, d in zip(arguments, defaults, strict=True)
        ]
        self.needed = [f"{name}: {kind}" for name, kind, d in pairs if d is None]
        self.options = [f"{name}: {kind} = {d}" for name, kind, d in pairs if d is not None]
        self.passed = ", ".join(name for name, _, _ in pairs)
        self.returns = node.returns
        returned = ast.unparse(node.returns or ast.Constant(None))
        self.kind, self.values, self.empty = "_bare", list[str](), ""
        if returned.startswith("tuple[") and "..." not in returned:
            self.kind = "_spread"
            self.values = returned.removeprefix("tuple[").removesuffix("]").split(", ")
            self.empty = f"({', '.join(empty(value) for value in self.values)})"
        elif returned != "None":
            self.kind, self.values, self.empty = "", [returned], empty(returned)

    @property
    def result(self) -> str:
        """What the blocking flavour returns."""
        return f"tuple[{', '.join(['Result', *self.values])}]" if self.values else "Result"

    def flavours(self) -> list[str]:
        """Source text of each."""
        given = ", ".join(part for part in (self.empty, f"do.{self.inner}", self.passed) if part)
        plain = ", ".join([*self.needed, *self.options])
        hears = f"callback: Callable[[{', '.join(['Result', *self.values])}], Any]"
        called = ", ".join([*self.needed, hears, *self.options])
        return [
            f"def {self.name}({plain}) -> {self.result}:\n"
            f"{self.documented()}\n    return block{self.kind}({given})\n",
            f"async def {self.name}_async({plain}) -> {self.result}:\n"
            f"{self.documented()}\n    return await wait{self.kind}({given})\n",
            f"def {self.name}_with_callback({called}) -> Request:\n"
            f"{self.documented(calls=True)}\n"
            f"    return start{self.kind}(callback, {given})\n",
        ]

    def documented(self, *, calls: bool = False) -> str:
        """The docstring, with what is special to a flavour."""
        lines = list(self.doc)
        if calls:
            note = "    callback: gets what the blocking flavour returns, on the callback thread."
            at = len(lines)
            options = {option.partition(":")[0] for option in self.options}
            for index, line in enumerate(lines):
                if line.strip().partition(":")[0] in options and line.startswith("    "):
                    at = index
                    break
            lines.insert(at, note)
        text = "\n    ".join(lines).replace("\n    \n", "\n\n")
        return f'    """{text}\n    """' if len(lines) > 1 else f'    """{text}"""'


def empty(kind: str) -> str:
    """What stands for a value that an operation could not give."""
    return "()" if kind.startswith("tuple[") else EMPTY[kind]


def written(module: str) -> str:
    """The module of flavours of one module of operations, formatted."""
    return formatted(drafted(module))


def drafted(module: str) -> str:
    """The same before it is formatted."""
    tree = ast.parse((CLIENT / "operations" / f"{module}.py").read_text(encoding="utf-8"))
    operations = [
        Operation(node)
        for node in tree.body
        if isinstance(node, ast.AsyncFunctionDef) and not node.name.startswith("_")
    ]
    body = "\n\n".join(text for operation in operations for text in operation.flavours())
    body = body.replace("ERROR_IF_EXISTS", "CopyBehavior.ERROR_IF_EXISTS")
    body = body.replace("CopyBehavior.CopyBehavior.", "CopyBehavior.").replace(
        "Buffer", "bytes | bytearray | memoryview"
    )
    kinds = sorted({"Result"} | {kind for kind in TYPES if f"{kind}" in body})
    runners = sorted(
        {f"{how}{operation.kind}" for operation in operations for how in ("block", "start", "wait")}
    )
    names = sorted(
        name + end
        for name in (o.name for o in operations)
        for end in ("", "_async", "_with_callback")
    )
    head = HEAD.format(
        what=(ast.get_docstring(tree) or "").split("\n", maxsplit=1)[0],
        module=module,
        shadows=SHADOWS if BUILTINS & {o.name for o in operations} else "",
        sequence=", Sequence" if "Sequence[" in body else "",
        flavours=f"from downstage.client.flavour import {', '.join(runners)}",
        types=", ".join(kinds),
        names="\n".join(f'    "{name}",' for name in names),
    )
    return f"{head}\n\n{body}"


TYPES = (
    "AclEntry",
    "Content",
    "CopyBehavior",
    "ListEntry",
    "ListIncludeOption",
    "ServerInfo",
    "WriteFileExInfo",
)


def formatted(text: str) -> str:
    """*text* as the formatter leaves it."""
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check", "--fix", "--exit-zero", "--quiet", "--select", "I,F401"], ["format"]):
        name = ["--stdin-filename", str(CLIENT / "flavours/made.py"), "-"]
        done = subprocess.run(
            [*ruff, *command, *name], input=text, capture_output=True, text=True, check=True
        )
        text = done.stdout
    return text


def main() -> int:
    """Write, or compare."""
    stale = list[str]()
    for module in MODULES:
        path = CLIENT / "flavours" / f"{module}.py"
        text = written(module)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(module)
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
    if stale and "--check" in sys.argv:
        sys.stderr.write(f"stale: {stale}; run python tools/generate_client.py\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
