"""The sound server of an instance: a private PulseAudio with one null sink, no hardware."""

from __future__ import annotations

from pathlib import Path

__all__ = ["command", "environment", "write_script"]

SCRIPT = """\
.fail
load-module module-null-sink sink_name=downstage rate=48000 channels=2
set-default-sink downstage
set-default-source downstage.monitor
load-module module-native-protocol-unix auth-anonymous=1 socket={socket}
"""
"""The protocol comes last: once its socket is there, everything is."""


def write_script(folder: Path) -> Path:
    """Write what PulseAudio is to load; answer where."""
    script = folder / "default.pa"
    script.write_text(SCRIPT.format(socket=folder / "native"), encoding="utf-8")
    return script


def command(script: Path) -> list[str]:
    """Argument vector of PulseAudio."""
    return [
        *("pulseaudio", "-n", "-F", str(script), "--daemonize=no", "--use-pid-file=no"),
        *("--exit-idle-time=-1", "--high-priority=no", "--realtime=no", "--disallow-exit=yes"),
        *("--disallow-module-loading=yes", "--log-target=stderr", "--log-level=error"),
    ]


def environment(folder: Path, path: str) -> dict[str, str]:
    """All of its environment: no session bus, no home but its own folder."""
    return {
        "PATH": path,
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "PULSE_RUNTIME_PATH": str(folder / "runtime"),
        "PULSE_STATE_PATH": str(folder / "state"),
        "LANG": "C.UTF-8",
    }
