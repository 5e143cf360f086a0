"""What a published manifest may not say that a declared one may: it comes from somebody else.

The operator who puts a folder on the machine may name folders of it and open the network. Whoever
publishes may start programs in the sandbox, and no more than that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from downstage.kernel.errors import InvalidField
from downstage.manager.catalogue.manifest import FILE, MAX_FILE, ApplicationFile, Hooks, read_toml
from downstage.manager.catalogue.manifest_yaml import YAML_FILE, read_yaml
from downstage.manager.catalogue.references import check_image
from downstage.manager.command import check_environment

__all__ = ["WANTED", "check_published", "complete", "find_hooks", "read_manifest"]

WANTED = (FILE, YAML_FILE)
HOOKS = {"pre-start": "pre_start", "post-start": "post_start", "post-stop": "post_stop"}
HOOK_FOLDER = "hooks/"


def read_manifest(name: str, text: bytes) -> ApplicationFile:
    """The manifest called *name*.

    Raises:
        InvalidField: it is none; the field is its name, the detail says which key.
    """
    if len(text) > MAX_FILE:
        raise InvalidField(name, f"{name} is longer than {MAX_FILE} bytes.")
    try:
        return read_yaml(text) if name == YAML_FILE else read_toml(text)
    except ValueError as error:
        raise InvalidField(name, f"{name}: {error}") from error


def check_published(
    manifest: ApplicationFile, images: Sequence[str], *, network: bool
) -> ApplicationFile:
    """*manifest*, if somebody else than the operator may say that.

    Args:
        manifest: as it was sent.
        images: patterns of images that may run (``manager.images``).
        network: whether published applications may ask for the network.

    Raises:
        InvalidField: naming the key.
    """
    if manifest.read_only:
        raise InvalidField("read_only", "Only declared applications may name folders of the host.")
    if manifest.network and not network:
        raise InvalidField(
            "network",
            "Published applications get no network here: the setting manager.published_network.",
        )
    if manifest.image is not None:
        check_image("image", manifest.image, images)
    check_environment(manifest.environment, "environment")
    for name, profile in manifest.profiles.items():
        check_environment(profile.environment, f"profiles.{name}.environment")
    dotted = [module for module in manifest.requires if not module.isidentifier()]
    if dotted:
        raise InvalidField("requires", f"{dotted[0][:64]!r} is no name of a module alone.")
    return manifest


def complete(manifest: ApplicationFile, files: Mapping[str, bool]) -> ApplicationFile:
    """*manifest* with the hooks that its *files* say; see `find_hooks`."""
    return manifest.model_copy(update={"hooks": find_hooks(manifest.hooks, files)})


def find_hooks(hooks: Hooks, files: Mapping[str, bool]) -> Hooks:
    """*hooks* with those that lie where hooks lie: ``hooks/pre-start`` and its like.

    Args:
        hooks: as the manifest says; what it says counts more.
        files: names in the package, and whether each may be executed.

    Raises:
        InvalidField: one of them cannot be executed.
    """
    found = dict[str, list[str]]()
    for name, field in HOOKS.items():
        file = HOOK_FOLDER + name
        if file in files and not getattr(hooks, field):
            if not files[file]:
                raise InvalidField(file, f"{file} may not be executed: chmod +x {file}")
            found[field] = [f"{{folder}}/{file}"]
    return hooks.model_copy(update=found)
