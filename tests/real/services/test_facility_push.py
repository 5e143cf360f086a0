"""Metrics are pushed to a Pushgateway where nobody can scrape."""

from __future__ import annotations

import anyio
import pytest
from fastapi import Request, Response

from downstage.services.facilities import MetricsFacility
from downstage.services.registry import create_app
from downstage.services.server import Server, open_port

pytestmark = [pytest.mark.real, pytest.mark.anyio]


async def test_everything_is_sent_in_place_of_what_was_there() -> None:
    app, came = create_app("Pushgateway"), list[tuple[str, str, str]]()

    @app.put("/metrics/job/{job}")
    async def take(job: str, request: Request) -> Response:
        kind = request.headers["content-type"]
        came.append((job, kind, (await request.body()).decode()))
        return Response(status_code=200)

    metrics = MetricsFacility(owner="a-1")
    metrics.gauge("heat", "Of the oven.").set(180)
    sock = open_port("127.0.0.1", 0)
    address = f"http://127.0.0.1:{sock.getsockname()[1]}"
    server = Server(app, [sock])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        await server.wait_started()
        await metrics.hub.push(address, "bakery")
        server.stop()
    [(job, kind, text)] = came
    assert (job, kind.partition(";")[0]) == ("bakery", "text/plain")
    assert "heat 180.0" in text
    with pytest.raises(OSError, match="refused"):
        await metrics.hub.push(address, "bakery")
