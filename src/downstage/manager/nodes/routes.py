"""REST interface of nodes; see `downstage.contracts.nodes`."""

from __future__ import annotations

from fastapi import Depends, Response

from downstage.contracts.nodes import NodeCreate, NodeDrain, NodePage, NodePatch, NodeView
from downstage.manager.instances import Instances
from downstage.manager.nodes.fleet import Fleet
from downstage.services.facilities.principal import require
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter

__all__ = ["node_router"]


def node_router(fleet: Fleet, instances: Instances) -> ServiceAPIRouter:
    """Routes on *fleet*; who may call is checked on each."""
    router = ServiceAPIRouter(tags=["nodes"])
    reads = [Depends(require("instances:read"))]
    writes = [Depends(require("nodes:write"))]

    @router.get("/v1/nodes", dependencies=reads)
    async def list_nodes() -> NodePage:
        """All nodes, by name."""
        return NodePage(items=await fleet.views())

    @router.post("/v1/nodes", dependencies=writes, status_code=201, responses=refusals(409))
    async def add_node(body: NodeCreate) -> NodeView:
        """Run instances on a further engine."""
        return await fleet.add(body)

    @router.get("/v1/nodes/{name}", dependencies=reads, responses=refusals(404))
    async def get_node(name: str) -> NodeView:
        """One node, and what of it is taken."""
        return await fleet.view(name)

    @router.patch("/v1/nodes/{name}", dependencies=writes, responses=refusals(404, 409))
    async def change_node(name: str, body: NodePatch) -> NodeView:
        """Change what a node has; what runs there runs on."""
        return await fleet.patch(name, body)

    @router.delete(
        "/v1/nodes/{name}", dependencies=writes, status_code=204, responses=refusals(404, 409)
    )
    async def remove_node(name: str, *, force: bool = False) -> Response:
        """Forget a node; by force also where instances run there, which are called ended."""
        fleet.node(name)
        if force:
            await instances.abandon(name)
        await fleet.remove(name)
        return Response(status_code=204)

    @router.post("/v1/nodes/{name}/cordon", dependencies=writes, responses=refusals(404))
    async def cordon_node(name: str) -> NodeView:
        """Place nothing new there."""
        return await fleet.cordon(name)

    @router.post("/v1/nodes/{name}/uncordon", dependencies=writes, responses=refusals(404))
    async def uncordon_node(name: str) -> NodeView:
        """Place instances there again; a drain is over."""
        return await fleet.uncordon(name)

    @router.post("/v1/nodes/{name}/drain", dependencies=writes, responses=refusals(404))
    async def drain_node(name: str, body: NodeDrain) -> NodeView:
        """Empty it; `instances` of the answer, and of later ones, tells how many are left."""
        return await fleet.drain(name, body)

    _ = (list_nodes, add_node, get_node, change_node, remove_node)
    _ = (cordon_node, uncordon_node, drain_node)
    return router
