"""The operator's port, loopback only: readiness in detail, extensions, metrics."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.responses import JSONResponse, PlainTextResponse

from downstage.services.registry import create_app

if TYPE_CHECKING:
    from downstage.services.host import ServiceHost

__all__ = ["operator_app"]


def operator_app(host: ServiceHost) -> FastAPI:
    """``/ready``, ``/extensions`` and ``/metrics`` of *host*; holds no secrets."""
    app = create_app("Downstage operator", openapi_url=None)

    async def ready() -> JSONResponse:
        states = dict(host.running())
        is_ready = all(state == "running" for state in states.values())
        return JSONResponse({"ready": is_ready, "services": states}, 200 if is_ready else 503)

    async def extensions() -> JSONResponse:
        return JSONResponse([{"id": name, "state": state} for name, state in host.running()])

    async def metrics() -> PlainTextResponse:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        lines = [
            "# TYPE process_cpu_seconds_total counter",
            f"process_cpu_seconds_total {usage.ru_utime + usage.ru_stime:.2f}",
            "# TYPE process_resident_memory_max_bytes gauge",
            f"process_resident_memory_max_bytes {usage.ru_maxrss * 1024}",
            *host.metrics(),
        ]
        return PlainTextResponse("\n".join(lines) + "\n")

    app.add_api_route("/ready", ready)
    app.add_api_route("/extensions", extensions)
    app.add_api_route("/metrics", metrics)
    return app
