"""The names of Omniverse's services framework and client library, opt-in, on ours.

::

    import downstage.omni

    downstage.omni.install()

    import carb
    import omni.client
    import omni.ext
    from omni.services.core import main, routers

Nothing of that name lies on disk: an import hook answers for a fixed list of modules, and lets
every other ``omni.…`` through to the folders of `sys.path`, so that extensions may add their own.
Where a real ``omni.client`` could be imported, the alias refuses; it is not meant for use inside
Kit. A host installs it by itself for extensions that depend on it: `downstage.omni.hosting`.
"""

from downstage.omni.install import install, is_installed, is_wanted, uninstall

__all__ = ["install", "is_installed", "is_wanted", "uninstall"]
