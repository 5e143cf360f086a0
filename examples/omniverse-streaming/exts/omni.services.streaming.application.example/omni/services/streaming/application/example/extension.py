"""The extension: its routes are there from its start to its shutdown."""

import omni.ext
from omni.services.core.main import deregister_router, register_router

from .services.streaming import router


class StreamingApplicationExampleExtension(omni.ext.IExt):
    """Registers the routes."""

    def on_startup(self, ext_id: str) -> None:
        register_router(router=router, tags=["examples"])

    def on_shutdown(self) -> None:
        deregister_router(router=router)
