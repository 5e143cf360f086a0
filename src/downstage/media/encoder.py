"""Which encoder is used, and why not a faster one.

``auto`` lets the library try NVENC, then VA-API, by opening each for the first frame, and take
software where neither opens; what it says about that is passed on as the reason. An encoder that
was asked for by name and is not to be had falls back to software too, with the reason: a session
is worth more than a setting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import pixelflux

from downstage.kernel.errors import InvalidField

__all__ = ["EncoderChoice", "EncoderInfo", "as_choice", "probe_encoders", "read_info"]

EncoderChoice = Literal["auto", "nvenc", "vaapi", "software"]

_LIBRARY_NAMES = {"nvenc": "NVENC", "vaapi": "VAAPI"}
SOFTWARE_NODE, AUTO_NODE = -1, -2


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """The encoder in use."""

    name: str
    """``nvenc``, ``vaapi``, or the software library's name (``x264``, ``libvpx``, …)."""
    hardware: bool
    reason: str | None
    """Why it is not the one asked for, or not a GPU's; None where there is nothing to explain."""


def as_choice(value: str) -> EncoderChoice:
    """Check *value*; an unknown name is refused."""
    if value not in get_args(EncoderChoice):
        raise InvalidField("encoder", "must be auto, nvenc, vaapi or software")
    return cast("EncoderChoice", value)


def encode_node(choice: EncoderChoice) -> int:
    """The library's device index for *choice*."""
    return SOFTWARE_NODE if choice == "software" else AUTO_NODE


def read_info(stream_info: dict[str, Any] | None, choice: EncoderChoice) -> EncoderInfo | None:
    """What the running capture says about itself, seen from what was asked for."""
    if not stream_info or not stream_info.get("encoder"):
        return None
    library = str(stream_info["encoder"])
    hardware = bool(stream_info.get("hardware"))
    reason = str(stream_info.get("encoder_reason") or "") or None
    wanted = _LIBRARY_NAMES.get(choice)
    if choice == "software":
        reason = None
    elif wanted is not None and library != wanted:
        reason = f"{wanted} was asked for but is not to be had: {reason or 'no such device'}"
    return EncoderInfo(library.lower(), hardware, reason)


def probe_encoders() -> dict[str, list[str]]:
    """Codecs that a GPU of this machine encodes, for the doctor; blocking, a second at most."""
    return {
        "hardware": sorted(pixelflux.hardware_encoders()),
        "software": sorted(pixelflux.SOFTWARE_ENCODERS),
    }
