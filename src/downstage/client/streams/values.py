"""Values of Python as bytes of entries, and back. What is large blocks: use threads.

==================  =======================================  ================================
value               content type                             bytes
==================  =======================================  ================================
bytes               that of a picture or array, else none    as they are
str                 ``text/plain; charset=utf-8``            UTF-8
dict, list, number  ``application/json``                     JSON
numpy array         ``application/vnd.downstage.ndarray``    ``.npy``: shape and type are in it
picture of Pillow   ``image/jpeg``, ``image/png``            see `encode_image`
==================  =======================================  ================================
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec

from downstage.contracts.arrays import NDARRAY, NPY
from downstage.kernel.errors import InvalidInput, TooLarge, UnsupportedMedia

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

__all__ = [
    "JPEG",
    "JSON",
    "TEXT",
    "array_of",
    "decode",
    "encode",
    "encode_image",
    "image_of",
    "json_of",
    "plain_type",
]

JSON, TEXT, JPEG, PNG = "application/json", "text/plain; charset=utf-8", "image/jpeg", "image/png"
MAX_PIXELS = 100_000_000
"""Of a picture that is decoded."""
QUALITY = 85
FLAT, WITH_COLOURS = 2, 3
RGB, RGBA = 3, 4
PICTURES = ((b"\xff\xd8\xff", JPEG), (b"\x89PNG\r\n\x1a\n", PNG), (b"RIFF", "image/webp"))
"""What pictures begin with."""
FIRST = frozenset({b"\xff", b"\x89", b"R", b"\x93"})
FORMS = {JPEG: "JPEG", PNG: "PNG", "image/webp": "WEBP"}
Order = Literal["RGB", "BGR"]


def plain_type(content_type: str | None) -> str:
    """The media type alone, without parameters, in small letters."""
    return (content_type or "").partition(";")[0].strip().lower()


def encode(value: Any) -> tuple[bytes | memoryview, str | None]:
    """The bytes of *value*, and the content type that says how to read them.

    Raises:
        InvalidInput: it is nothing that an entry can hold.
    """
    if isinstance(value, bytes):
        return value, _type_of(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(cast("bytearray", value)), None  # what may change while it waits is copied
    if isinstance(value, str):
        return value.encode(), TEXT
    if _is_array(value):
        return _array_bytes(value), NDARRAY
    if _is_image(value):
        return encode_image(value), JPEG
    if value is None or isinstance(value, Mapping | Sequence | int | float | msgspec.Struct):
        try:
            return msgspec.json.encode(value, enc_hook=_plain), JSON
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidInput(f"This is no JSON: {error}") from error
    raise InvalidInput(f"An entry cannot hold a {type(value).__name__}.")


def decode(data: bytes, content_type: str | None) -> Any:
    """What *data* means: see `Entry.value`.

    Raises:
        UnsupportedMedia: it is not what *content_type* says.
    """
    kind = plain_type(content_type)
    if kind == NDARRAY or (not kind and data.startswith(NPY)):
        return array_of(data)
    if kind in FORMS or (not kind and _picture_type(data)):
        return array_of(data)
    if kind == JSON or kind.endswith("+json"):
        return json_of(data)
    if kind.startswith("text/"):
        return data.decode("utf-8", "replace")
    return data


def json_of(data: bytes) -> Any:
    """What *data* says as JSON.

    Raises:
        UnsupportedMedia: it is none.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnsupportedMedia("This entry is no JSON.") from error


def array_of(data: bytes, order: Order = "RGB") -> NDArray[Any]:
    """*data* as an array: ``.npy``, a picture's pixels, or a list in JSON.

    Raises:
        UnsupportedMedia: it is none of them.
    """
    import numpy as np

    if data.startswith(NPY):
        return _npy(data)
    if _picture_type(data) is not None:
        pixels = np.asarray(image_of(data))
        if order == "BGR" and pixels.ndim == WITH_COLOURS:
            return np.ascontiguousarray(pixels[:, :, [2, 1, 0]])
        return pixels
    try:
        return np.asarray(json_of(data), dtype=float)
    except (ValueError, TypeError, UnsupportedMedia) as error:
        raise UnsupportedMedia("This entry is no array and no picture.") from error


def image_of(data: bytes) -> Image:
    """*data* as a picture, decoded, in grey, RGB or RGBA.

    Raises:
        UnsupportedMedia: it is none.
        TooLarge: it has too many pixels.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=tuple(FORMS.values())) as image:
            if image.width * image.height > MAX_PIXELS:
                raise TooLarge(f"A picture has at most {MAX_PIXELS} pixels.")
            if image.mode not in ("L", "RGB", "RGBA") and not image.mode.startswith("I"):
                return image.convert("RGB")
            image.load()
            return image.copy()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge(f"A picture has at most {MAX_PIXELS} pixels.") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise UnsupportedMedia("This entry is no picture.") from error


def encode_image(
    frame: Any, *, quality: int = QUALITY, order: Order = "RGB", form: str = JPEG
) -> bytes:
    """A picture of Pillow's, or an array of pixels, as a JPEG or PNG.

    Args:
        frame: a picture; or height × width (grey), × 3 or × 4 (with transparency, which JPEG has
            none of), 8 bits each.
        quality: of a JPEG, 1 to 95.
        order: of the colours in an array; OpenCV's are ``BGR``.
        form: ``image/jpeg`` or ``image/png``.

    Raises:
        InvalidInput: it is no picture.
    """
    if form not in (JPEG, PNG):
        raise InvalidInput("Pictures are pushed as image/jpeg or image/png.")
    if not _is_image(frame) and order == "BGR" and form == JPEG:
        fast = _with_opencv(frame, quality)
        if fast is not None:
            return fast
    picture = frame if _is_image(frame) else _picture_of(frame, order)
    if form == JPEG and picture.mode not in ("L", "RGB"):
        picture = picture.convert("RGB")
    made = io.BytesIO()
    picture.save(made, FORMS[form], **({"quality": quality} if form == JPEG else {}))
    return made.getvalue()


def _with_opencv(frame: Any, quality: int) -> bytes | None:
    """The same by OpenCV, where the program uses it anyway: it is twice as fast."""
    opencv = sys.modules.get("cv2")
    pixels = frame if _is_array(frame) else None
    if opencv is None or pixels is None or str(pixels.dtype) != "uint8":
        return None
    if pixels.ndim != WITH_COLOURS or pixels.shape[2] != RGB or not pixels.size:
        return None
    done, made = opencv.imencode(".jpg", pixels, [opencv.IMWRITE_JPEG_QUALITY, quality])
    return made.tobytes() if done else None


def _picture_of(frame: Any, order: Order) -> Image:
    import numpy as np
    from PIL import Image

    pixels: NDArray[Any] = np.asarray(frame)
    if pixels.ndim == WITH_COLOURS and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    is_picture = pixels.ndim == FLAT or (
        pixels.ndim == WITH_COLOURS and pixels.shape[2] in (RGB, RGBA)
    )
    if not is_picture or not pixels.size or pixels.dtype != np.uint8:
        raise InvalidInput("A picture is height × width, × 3 or × 4, of 8-bit numbers.")
    if order == "BGR" and pixels.ndim == WITH_COLOURS:
        pixels = pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]]
    return Image.fromarray(np.ascontiguousarray(pixels))


def _type_of(data: bytes) -> str | None:
    """What bytes are that say so themselves."""
    if data[:1] not in FIRST:
        return None
    return NDARRAY if data.startswith(NPY) else _picture_type(data)


def _picture_type(data: bytes) -> str | None:
    for first, kind in PICTURES:
        if data.startswith(first) and (first != b"RIFF" or data[8:12] == b"WEBP"):
            return kind
    return None


def _npy(data: bytes) -> NDArray[Any]:
    import numpy as np

    try:
        return cast("NDArray[Any]", np.load(io.BytesIO(data), allow_pickle=False))
    except (ValueError, EOFError, OSError) as error:
        raise UnsupportedMedia("This entry is no array.") from error


def _array_bytes(array: NDArray[Any]) -> memoryview:
    import numpy as np

    if array.dtype.hasobject:
        raise InvalidInput("An array of Python objects cannot be pushed; push numbers.")
    made = io.BytesIO()
    np.save(made, array, allow_pickle=False)
    return made.getbuffer()


def _is_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")  # without it nobody has an array
    return numpy is not None and isinstance(value, numpy.ndarray)


def _is_image(value: Any) -> bool:
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(value, pillow.Image)


def _plain(value: Any) -> Any:
    """Numbers of numpy, and arrays in JSON, as Python's own."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} is nothing that JSON knows")
