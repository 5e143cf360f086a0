"""The extension: its routes are there from its start to its shutdown."""

import omni.ext
from omni.services.core import main

from .services.capture import router


class ViewportCaptureExtension(omni.ext.IExt):
    """Registers the routes."""

    def on_startup(self) -> None:
        main.register_router(router=router, tags=["capture"])

    def on_shutdown(self) -> None:
        main.deregister_router(router=router)
