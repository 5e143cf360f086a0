"""The extension: its router is there from its start to its shutdown."""

from __future__ import annotations

from downstage.services import IExt, deregister_router, register_router

from .services.streaming import router

__all__ = ["StreamingApplicationExampleExtension"]

PREFIX = "streaming"


class StreamingApplicationExampleExtension(IExt):
    """Registers the sample's routes."""

    def on_startup(self, ext_id: str) -> None:
        del ext_id
        register_router(router=router, prefix=PREFIX, tags=["examples"])

    def on_shutdown(self) -> None:
        deregister_router(router=router, prefix=PREFIX)
