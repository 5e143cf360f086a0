"""How long extensions take: to start, to start again, to reload alone and with dependents."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

__all__ = ["extension_times"]

MANIFEST = """\
[package]
name = "{name}"
version = "1.0.0"
[dependencies]
{needs}
[[python.module]]
name = "{module}"
"""
MODULE = """\
from downstage.services import IExt, ServiceAPIRouter, register_router

router = ServiceAPIRouter(prefix="/{module}")


@router.get("/items/{{item_id}}")
async def get_item(item_id: str, limit: int = 10) -> dict[str, str | int]:
    return {{"id": item_id, "limit": limit}}


class Extension(IExt):
    def on_startup(self, ext_id: str) -> None:
        register_router(router)
"""


def write(folder: Path, name: str, needs: str = "") -> None:
    """An extension with one route."""
    home, module = folder / name, name.replace("-", "_")
    (home / "config").mkdir(parents=True)
    dependency = f'"{needs}" = {{}}' if needs else ""
    (home / "config" / "extension.toml").write_text(
        MANIFEST.format(name=name, needs=dependency, module=module)
    )
    (home / f"{module}.py").write_text(MODULE.format(module=module))


async def extension_times(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Milliseconds: what, median, least, most."""
    from downstage.kernel.settings import load
    from downstage.services.context import PlatformUrls
    from downstage.services.host import ServiceHost

    many = 20
    for number in range(many):
        write(folder, f"bench-many-{number}")
    write(folder, "bench-alone")
    write(folder, "bench-needed")
    for number in range(5):
        write(folder, f"bench-needs-{number}", needs="bench-needed")
    settings = load(
        file=None,
        environment={},
        overrides={
            "platform.data": folder / "data",
            "extensions.folders": [folder],
            "extensions.installed": False,
        },
    )
    urls = PlatformUrls("http://127.0.0.1:0", "unix:///nowhere")
    async with ServiceHost(settings, urls, services=(), extensions=True).run() as host:
        life, times = host.lifecycle, dict[str, list[float]]()
        first = [u.start_ms for u in life.units.values() if "many" in u.name and u.start_ms]
        times[f"first start, each of {many}"] = first

        async def timed(what: str, work: Callable[[], Awaitable[Any]]) -> None:
            began = time.perf_counter()
            await work()
            times.setdefault(what, []).append((time.perf_counter() - began) * 1e3)

        for _ in range(rounds):
            await timed("disable", lambda: life.disable("bench-alone"))
            await timed("enable", lambda: life.enable("bench-alone"))
            await timed("reload", lambda: life.reload("bench-alone"))
            await timed("reload with 5 dependents", lambda: life.reload("bench-needed"))
    return [
        {
            "name": name,
            "ms": statistics.median(values),
            "ms_least": min(values),
            "ms_most": max(values),
        }
        for name, values in times.items()
    ]
