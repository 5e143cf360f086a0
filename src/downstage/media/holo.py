"""Frames of a HoloLens as the data server's clients push them: a header, then what it measured.

Little-endian: version (1 byte), kind (1), time in ms (8), width, height, bytes or stride, bytes of
further facts (4 each). Versions 2 and 3 hold pictures as JPEG; of version 1 the grey ones are read.
Some kinds have no header at all and are told by their second byte: JSON, and the microphone's.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from downstage.kernel.errors import UnsupportedMedia

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["STREAMS", "is_frame", "measured", "time_ms"]

STREAMS = frozenset(
    {"main", "gll", "glf", "grf", "grr", "depthlt", "eye", "hand", "mic0"}
    | {"imuaccel", "imugyro", "imumag", "gllCal", "glfCal", "grfCal", "grrCal", "depthltCal"}
)
"""Names of streams that hold such frames where nothing else is said."""

Bytes = bytes | bytearray | memoryview
HEAD = struct.Struct("<BBQ")
SIZES = struct.Struct("<IIII")
SOUND = struct.Struct("<iiq")
MICROPHONE = 172
JSON_TEXT = frozenset(b'"{]')
"""Second bytes of JSON: ``{"``, ``[{``, ``[]``."""
VERSIONS = (1, 2, 3)
COLOUR = 0
DEPTH = (1, 2)
GREY = {3: 1, 4: -1, 5: 1, 6: -1}
"""Kinds of the four grey cameras, and by how many right angles each is turned."""
SENSORS = (7, 8, 9)
CALIBRATION = 11
CHANNELS = 16
COLOURS = 3
"""Dimensions of a picture that has colours."""


def time_ms(data: Bytes) -> int | None:
    """When the frame was taken, in ms since 1970; None: it does not say."""
    if not is_frame(data) or data[1] == MICROPHONE or data[1] in JSON_TEXT:
        return None
    return int(HEAD.unpack_from(data)[2])


def is_frame(data: Bytes) -> bool:
    """Whether *data* may be one, by its first bytes."""
    if len(data) < HEAD.size:
        return False
    return data[1] == MICROPHONE or data[1] in JSON_TEXT or data[0] in VERSIONS


def measured(data: bytes) -> tuple[bytes, int, bool] | NDArray[Any]:
    """What a frame measured.

    Returns:
        A picture as JPEG, by how many right angles it is to be turned, and whether red and blue
        are exchanged in it; or an array: depth (height, width) in 16 bits, a grey picture
        (height, width) in 8, readings of a sensor (rows, columns), a microphone's sound
        (samples, channels), a camera's look-up table (pixels, 3).

    Raises:
        UnsupportedMedia: it is no frame, or of a kind that is not read.
    """
    if not is_frame(data) or data[1] in JSON_TEXT:
        raise UnsupportedMedia("This entry is no HoloLens frame with a picture or readings.")
    if data[1] == MICROPHONE:
        return _sound(data)
    version, kind, _ = HEAD.unpack_from(data)
    width, height, size, _ = _sizes(data)
    at = HEAD.size + SIZES.size
    if kind == COLOUR or kind in GREY:
        turns = GREY.get(kind, 0)
        if version == 1:
            return _plain(data, at, kind, (height, width), turns)
        return _cut(data, at, size), turns, version == max(VERSIONS) and kind == COLOUR
    if kind in DEPTH:
        return _array(data, at, "<u2", (height, width))
    if kind in SENSORS:
        return _array(data, at, "<f4", (height, width))
    if kind == CALIBRATION:
        return _array(data, at, "<f4", (height * width, 3))
    raise UnsupportedMedia("This kind of HoloLens frame is not read here.")


def _plain(data: bytes, at: int, kind: int, shape: tuple[int, int], turns: int) -> NDArray[Any]:
    import numpy as np

    if kind == COLOUR:
        raise UnsupportedMedia("Colour pictures of the first frame version are not read here.")
    return np.rot90(_array(data, at, "u1", shape), turns)


def _sizes(data: bytes) -> tuple[int, int, int, int]:
    if len(data) < HEAD.size + SIZES.size:
        raise UnsupportedMedia("This HoloLens frame is cut short.")
    width, height, size, more = SIZES.unpack_from(data, HEAD.size)
    return width, height, size, more


def _cut(data: bytes, at: int, size: int) -> bytes:
    if len(data) < at + size:
        raise UnsupportedMedia("This HoloLens frame is cut short.")
    return data[at : at + size]


def _array(data: bytes, at: int, kind: str, shape: tuple[int, int]) -> NDArray[Any]:
    import numpy as np

    if shape[0] and not shape[1]:  # four billion rows of nothing, each a list in JSON
        raise UnsupportedMedia("This HoloLens frame has no width.")
    dtype = np.dtype(kind)
    count = shape[0] * shape[1]
    _cut(data, at, count * dtype.itemsize)
    return np.frombuffer(data, dtype, count, at).reshape(shape)


def _sound(data: bytes) -> NDArray[Any]:
    import numpy as np

    if len(data) < SOUND.size:
        raise UnsupportedMedia("This HoloLens frame is cut short.")
    channels = int(SOUND.unpack_from(data)[1])
    floats = (len(data) - SOUND.size) // 4
    if not 1 <= channels <= CHANNELS or floats % channels:
        raise UnsupportedMedia("This HoloLens frame holds no sound.")
    return np.frombuffer(data, "<f4", floats, SOUND.size).reshape(-1, channels)
