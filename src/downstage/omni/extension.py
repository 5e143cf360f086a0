"""The alias as an extension: there from its start to its shutdown, for those that depend on it."""

from __future__ import annotations

from downstage.omni.install import install, is_installed, uninstall
from downstage.services.extension import IExt

__all__ = ["Extension"]


class Extension(IExt):
    """Installs the foreign names, unless a program has done so already."""

    def __init__(self) -> None:
        self._is_ours = False

    def on_startup(self, ext_id: str) -> None:
        """Answer imports of the foreign names.

        Raises:
            SetupError: a real `omni` or `carb` is here.
        """
        del ext_id
        self._is_ours = not is_installed()
        install()

    def on_shutdown(self) -> None:
        """Forget them again, if it was this extension that brought them."""
        if self._is_ours:
            self._is_ours = False
            uninstall()
