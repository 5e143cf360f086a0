"""The alias for a host: there once an extension needs it, gone when the host is."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from downstage.kernel.errors import SetupError
from downstage.omni import settings
from downstage.omni.install import install, is_installed, is_wanted, uninstall
from downstage.services.extensions.manifest import Manifest

__all__ = ["hosted"]


class _Alias:
    """What one host brought, or shares with others that have."""

    hosts = 0
    """Those that need the alias which one of them has installed."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._is_counted = False
        self._tree: settings.Tree | None = None

    def before_import(self, manifest: Manifest, tree: settings.Tree) -> None:
        needs = [need.name for need in manifest.dependencies]
        if not is_wanted([*needs, *manifest.modules]):
            return
        if not self._enabled:
            raise SetupError(
                f"{manifest.id} needs the names of omni, which are switched off. "
                "Set extensions.omni to true."
            )
        if not is_installed():
            install()
            self._count()
        elif _Alias.hosts:
            self._count()
        self._tree = tree
        settings.use(tree)

    def close(self) -> None:
        if self._tree is not None:
            settings.leave(self._tree)
        if self._is_counted:
            _Alias.hosts -= 1
            if not _Alias.hosts:
                uninstall()

    def _count(self) -> None:
        _Alias.hosts += not self._is_counted
        self._is_counted = True


@contextmanager
def hosted(*, enabled: bool = True) -> Generator[Callable[[Manifest, settings.Tree], None]]:
    """What a host's ``before_import`` is; to be open for as long as the host runs.

    Before the first extension that depends on a foreign name it installs the alias, and lets
    `carb.settings` read and write that host's settings. At exit it takes away what it brought; of
    several hosts in one process the last one does. The host's extension
    fails, with the reason, where the alias is refused or not *enabled*::

        with hosted(enabled=settings.extensions.omni) as before_import:
            host = ServiceHost(settings, urls, before_import=before_import)
            async with host.run():
                ...
    """
    alias = _Alias(enabled=enabled)
    try:
        yield alias.before_import
    finally:
        alias.close()
