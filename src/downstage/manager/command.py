"""From a declaration and a caller's wishes to an argument vector and an environment.

What a caller sends is data: it becomes one item of a vector, or one variable, or it is refused
by name. Nothing passes a shell.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from downstage.contracts.manager import Display
from downstage.kernel.errors import InvalidField
from downstage.manager.applications import Application
from downstage.manager.catalogue.manifest import Hooks
from downstage.spawners.plan import Hook, HookStage

__all__ = [
    "Stage",
    "check_environment",
    "command_of",
    "environment_of",
    "fill_hooks",
    "find_stage",
    "hooks_of",
]

VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
MAX_VALUE = 32 * 1024
SYSTEM_VARIABLES = frozenset(
    [
        "BASH_ENV",
        "CDPATH",
        "DBUS_SESSION_BUS_ADDRESS",
        "DBUS_SYSTEM_BUS_ADDRESS",
        "DISPLAY",
        "ENV",
        "GLIBC_TUNABLES",
        "GCONV_PATH",
        "HOME",
        "HOSTALIASES",
        "IFS",
        "LOCPATH",
        "LOGNAME",
        "NLSPATH",
        "PATH",
        "PS4",
        "SHELL",
        "SHELLOPTS",
        "TMPDIR",
        "USER",
        "WAYLAND_DISPLAY",
        "WAYLAND_SOCKET",
        "XAUTHORITY",
        "NODE_OPTIONS",
        "NODE_PATH",
        "RUBYLIB",
        "RUBYOPT",
        "JAVA_TOOL_OPTIONS",
        "_JAVA_OPTIONS",
        "CLASSPATH",
        "SDL_DYNAMIC_API",
        "RESOLV_HOST_CONF",
        "RES_OPTIONS",
        "LIBGL_DRIVERS_PATH",
        "GBM_BACKENDS_PATH",
        "XDG_RUNTIME_DIR",
        "XDG_CONFIG_HOME",
        "XDG_CONFIG_DIRS",
        "XDG_DATA_HOME",
        "XDG_DATA_DIRS",
        "GIO_MODULE_DIR",
        "GTK_EXE_PREFIX",
        "GDK_PIXBUF_MODULE_FILE",
    ]
)
SYSTEM_PREFIXES = (
    "LD_",
    "PYTHON",
    "DOWNSTAGE_",
    "PULSE_",
    "PERL",
    "BASH_FUNC_",
    "MALLOC_",
    "GTK_MODULES",
    "GTK_PATH",
    "GTK3_MODULES",
    "GIO_EXTRA",
    "QT_PLUGIN",
    "QT_QPA_PLATFORM_PLUGIN",
    "QML",
    "VK_",
    "__EGL",
    "__GL",
    "LIBVA_DRIVERS",
    "ALSA_CONFIG",
    "GST_PLUGIN",
    "PXR_PLUGINPATH",
)


@dataclass(frozen=True, slots=True)
class Stage:
    """What is to be opened: as the application reads it, and the folder that it needs for it."""

    name: str
    folder: Path | None = None


def find_stage(
    application: Application, asked: str | None, allowed: Sequence[Path]
) -> Stage | None:
    """The stage to open: the one asked for, else the application's own.

    A URL is handed on as it is. A path must lie in one of *allowed*: whoever may open a session
    may not read this machine's files by it.

    Raises:
        InvalidField: the application opens none, or this one is not to be opened.
    """
    declared = application.declared
    if not asked:
        return Stage(declared.default_stage) if declared.default_stage else None
    if not declared.opens_stage:
        raise InvalidField("stage", f"{declared.title} opens no stage.")
    if asked.startswith("-"):
        raise InvalidField("stage", "A stage is a path or a URL; it may not begin with a dash.")
    if any(ord(character) < ord(" ") for character in asked):
        raise InvalidField("stage", "A stage may not hold control characters.")
    if asked == declared.default_stage:
        return Stage(asked)
    scheme = urlsplit(asked).scheme
    if scheme and scheme != "file":
        return Stage(asked)
    return _local(Path(unquote(urlsplit(asked).path) if scheme else asked), allowed)


def _local(path: Path, allowed: Sequence[Path]) -> Stage:
    if not path.is_absolute():
        raise InvalidField("stage", "A local stage needs its whole path, from / on.")
    real = path.resolve()
    for folder in allowed:
        root = folder.resolve()
        if real.is_relative_to(root):
            if not real.is_file():
                raise InvalidField("stage", f"There is no file {path}.")
            return Stage(str(real), root)
    raise InvalidField(
        "stage",
        "Local files are opened only from the folders named by the setting manager.stages.",
    )


def command_of(
    application: Application,
    *,
    stage: Stage | None,
    arguments: Sequence[str],
    display: Display,
    more: Sequence[str] = (),
) -> tuple[str, ...]:
    """The argument vector, every placeholder filled.

    Args:
        application: what is to run.
        stage: what it is to open.
        arguments: the caller's, appended as they are.
        display: the first picture.
        more: the profile's, with the same placeholders as the declaration's.

    Raises:
        InvalidField: an argument that the application's declaration does not allow.
    """
    declared = application.declared
    values: dict[str, str | None] = {
        "python": sys.executable,
        "folder": str(application.folder),
        "width": str(display.width),
        "height": str(display.height),
        "fps": str(display.fps),
        "stage": stage.name if stage else None,
        "stage_dir": str(Path(stage.name).parent) if stage and stage.folder else None,
    }
    template = [*declared.command, *declared.arguments, *more]
    if stage is not None and not any("{stage}" in item for item in template):
        template += declared.stage_argument
    _check_arguments(arguments, declared.allowed_options)
    return (*_fill(template, values), *arguments)


def _check_arguments(arguments: Sequence[str], allowed: Sequence[str] | None) -> None:
    for position, argument in enumerate(arguments):
        name = f"arguments.{position}"
        if "\0" in argument or len(argument) > MAX_VALUE:
            raise InvalidField(name, f"An argument has no NUL and at most {MAX_VALUE} characters.")
        option = argument.partition("=")[0]
        if allowed is not None and option.startswith("-") and option not in allowed:
            known = ", ".join(allowed) or "none"
            raise InvalidField(
                name, f"The option {option[:64]} is not allowed here. Allowed: {known}."
            )


def _fill(template: Sequence[str], values: Mapping[str, str | None]) -> list[str]:
    """Fill placeholders; an item with an empty one goes, and with it the option before it."""
    filled = list[str]()
    is_option = False
    for item in template:
        names = [name for name in PLACEHOLDER.findall(item) if name in values]
        if any(values[name] is None for name in names):
            if is_option:
                filled.pop()
            is_option = False
            continue
        filled.append(PLACEHOLDER.sub(lambda found: _value(found, values), item))
        is_option = item.startswith("-") and not names
    return filled


def _value(found: re.Match[str], values: Mapping[str, str | None]) -> str:
    return values.get(found.group(1)) or found.group(0)


def environment_of(
    application: Application, asked: Mapping[str, str], profile: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The declared environment, the profile's on top, and what the caller may add to it.

    Raises:
        InvalidField: a variable that callers may not set, by name.
    """
    declared = application.declared
    check_environment(asked, "environment")
    for name in asked:
        if not any(_fits(name, pattern) for pattern in declared.allowed_environment):
            where = f"environment.{name[:64]}"
            raise InvalidField(where, f"The variable {name} is not allowed for {declared.name}.")
    return {**declared.environment, **(profile or {}), **asked}


def check_environment(variables: Mapping[str, str], where: str) -> None:
    """Refuse variables that are none, or that belong to the platform or the system's loader.

    Raises:
        InvalidField: one of them, as ``<where>.<name>``.
    """
    for name, value in variables.items():
        field = f"{where}.{name[:64]}"
        if not VARIABLE.match(name):
            raise InvalidField(field, "A variable's name has letters, digits and underscores.")
        if _is_system(name):
            raise InvalidField(field, f"The variable {name} belongs to the platform.")
        if "\0" in value or len(value) > MAX_VALUE:
            raise InvalidField(field, f"A value has no NUL and at most {MAX_VALUE} characters.")


def hooks_of(application: Application) -> list[Hook]:
    """The application's own hooks, every placeholder filled."""
    return fill_hooks(application.declared.hooks, "", application.folder)


def fill_hooks(hooks: Hooks, owner: str, folder: Path) -> list[Hook]:
    """What *hooks* run, in *folder*; *owner* is the addon's name, or empty."""
    values: dict[str, str | None] = {"python": sys.executable, "folder": str(folder)}
    found: list[tuple[HookStage, list[str]]] = [
        ("pre-start", hooks.pre_start),
        ("post-start", hooks.post_start),
        ("post-stop", hooks.post_stop),
    ]
    return [
        Hook(stage, owner, _fill(command, values), str(folder), hooks.timeout_s)
        for stage, command in found
        if command
    ]


def _is_system(name: str) -> bool:
    upper = name.upper()
    return upper in SYSTEM_VARIABLES or upper.startswith(SYSTEM_PREFIXES)


def _fits(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
