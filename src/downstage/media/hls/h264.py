"""Reading H.264: units of Annex B, parameter sets, the size of the picture.

Only as much as a fragment's header needs. Whatever a publisher sends is data: what cannot be read
is refused with `BadMessage`, and costs time in proportion to its length.
"""

from __future__ import annotations

import re

from downstage.kernel.errors import BadMessage
from downstage.media.hls.samples import VideoFormat

__all__ = [
    "PPS",
    "SPS",
    "annex_b",
    "format_of",
    "length_prefixed",
    "split_units",
    "units_of_config",
]

SPS, PPS, DELIMITER, FILLER = 7, 8, 9, 12
HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
MAX_SIDE = 16384
MAX_UNITS = 4096
LONGEST_CODE = 31
WITHOUT_COLOUR, FULL_COLOUR = 0, 3
START = re.compile(b"\0\0\1")


def split_units(data: bytes) -> list[bytes]:
    """The units of one access unit in Annex B, without their start codes.

    Raises:
        BadMessage: there is none, or there are more than a picture has.
    """
    marks = [found.start() for found in START.finditer(data)]
    if not marks or len(marks) > MAX_UNITS:
        raise BadMessage("That is no H.264 picture in Annex B.")
    ends = [*marks[1:], len(data)]
    units = [data[mark + 3 : end].rstrip(b"\0") for mark, end in zip(marks, ends, strict=True)]
    return [unit for unit in units if unit]


def units_of_config(config: bytes) -> list[bytes]:
    """Parameter sets of an ``avcC`` record, as FLV and MP4 carry it; Annex B is taken too.

    Raises:
        BadMessage: it is neither.
    """
    if config[:1] != b"\1":
        return split_units(config)
    found = list[bytes]()
    at = 5
    try:
        for mask in (31, 255):
            count, at = config[at] & mask, at + 1
            for _ in range(count):
                size = int.from_bytes(config[at : at + 2], "big")
                found.append(config[at + 2 : at + 2 + size])
                at += 2 + size
    except IndexError as error:
        raise BadMessage("That is no H.264 configuration.") from error
    return found


def length_prefixed(units: list[bytes]) -> bytes:
    """*units* as an MP4 carries them; parameter sets stay, delimiters and filling go."""
    parts = list[bytes]()
    for unit in units:
        if unit[0] & 31 not in (DELIMITER, FILLER):
            parts += (len(unit).to_bytes(4, "big"), unit)
    return b"".join(parts)


def annex_b(data: bytes) -> bytes:
    """What `length_prefixed` made, with start codes again."""
    parts, at = list[bytes](), 0
    while at + 4 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        parts += (b"\0\0\0\1", data[at + 4 : at + 4 + size])
        at += 4 + size
    return b"".join(parts)


def format_of(units: list[bytes]) -> VideoFormat | None:
    """What the parameter sets among *units* say; None where one is missing.

    Raises:
        BadMessage: they cannot be read.
    """
    sps = next((unit for unit in units if unit[0] & 31 == SPS), None)
    pps = next((unit for unit in units if unit[0] & 31 == PPS), None)
    if sps is None or pps is None:
        return None
    width, height = _size(sps)
    return VideoFormat(width, height, sps, pps)


class _Bits:
    """Reads bits of a unit, the bytes that keep start codes out of it taken away."""

    def __init__(self, data: bytes) -> None:
        payload = data.replace(b"\0\0\3", b"\0\0")
        self._value = int.from_bytes(payload, "big")
        self._left = len(payload) * 8

    def take(self, count: int) -> int:
        """The next *count* bits as a number."""
        self._left -= count
        if self._left < 0:
            raise BadMessage("That is no H.264 parameter set.")
        return self._value >> self._left & ((1 << count) - 1)

    def code(self) -> int:
        """The next unsigned Exp-Golomb code."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > LONGEST_CODE:
                raise BadMessage("That is no H.264 parameter set.")
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        """The next signed Exp-Golomb code."""
        code = self.code()
        return (code + 1) // 2 if code & 1 else -(code // 2)


def _size(sps: bytes) -> tuple[int, int]:
    """Width and height, what is cut away subtracted (ITU-T H.264, 7.3.2.1.1)."""
    bits = _Bits(sps[1:256])
    profile = bits.take(8)
    bits.take(16)
    bits.code()
    colour = _skip_colour(bits) if profile in HIGH_PROFILES else 1
    _skip_order(bits)
    bits.code()
    bits.take(1)
    width = (bits.code() + 1) * 16
    map_height = (bits.code() + 1) * 16
    whole_frames = bits.take(1)
    height = map_height * (2 - whole_frames)
    if not whole_frames:
        bits.take(1)
    bits.take(1)
    if bits.take(1):
        across = 1 if colour in (WITHOUT_COLOUR, FULL_COLOUR) else 2
        down = (2 if colour == 1 else 1) * (2 - whole_frames)
        left, right, top, bottom = (bits.code() for _ in range(4))
        width -= (left + right) * across
        height -= (top + bottom) * down
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise BadMessage("The picture's size cannot be right.")
    return width, height


def _skip_colour(bits: _Bits) -> int:
    colour = bits.code()
    if colour == FULL_COLOUR:
        bits.take(1)
    bits.code()
    bits.code()
    bits.take(1)
    if bits.take(1):
        for index in range(12 if colour == FULL_COLOUR else 8):
            if bits.take(1):
                _skip_list(bits, 16 if index < 6 else 64)  # noqa: PLR2004 - of the standard
    return colour


def _skip_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed() + 256) % 256
        last = following or last


def _skip_order(bits: _Bits) -> None:
    bits.code()
    kind = bits.code()
    if kind == 0:
        bits.code()
    elif kind == 1:
        bits.take(1)
        bits.signed()
        bits.signed()
        for _ in range(min(bits.code(), 255)):
            bits.signed()
