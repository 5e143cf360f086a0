"""The alias of Omniverse's module names, for extensions that ask for it."""

from __future__ import annotations

from collections.abc import Callable

from downstage.kernel.settings import Settings
from downstage.services.extensions.manifest import Manifest
from downstage.services.extensions.settings import SettingsTree

__all__ = ["alias_hook"]


def alias_hook(settings: Settings) -> Callable[[Manifest, SettingsTree], None]:
    """What to call before an extension's modules are imported."""

    def prepare(manifest: Manifest, tree: SettingsTree) -> None:
        from downstage.omni import install, is_wanted

        names = [*(need.name for need in manifest.dependencies), *manifest.modules]
        if settings.extensions.omni and is_wanted(names):
            from downstage.omni.settings import use

            install()
            use(tree)

    return prepare
