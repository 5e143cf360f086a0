"""Entries from one form into another: pictures, arrays, JSON. All of it blocks: call in a thread.

An array of 32-bit floats has no shape of its own; one that came from a picture is its pixels, row
by row. What is decoded is bounded by its pixels before it is decoded.
"""

from __future__ import annotations

import io
import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast

from downstage.kernel.errors import InvalidField, TooLarge, UnsupportedMedia
from downstage.media import holo

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

__all__ = ["INPUTS", "MAX_PIXELS", "OUTPUTS", "black", "check", "convert", "guess", "notice"]

MAX_PIXELS: Final = 36_000_000
"""Pixels of a picture that is decoded: 8K has 33 million."""
MAX_NUMBERS: Final = 4_000_000
"""Numbers that are written as JSON."""
QUALITY = 85
PICTURES = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "webp": "WEBP"}
BYTES = frozenset({"raw", "same", "bytes"})
INPUTS: Final = frozenset(PICTURES) | BYTES | {"json", "ndarray", "holo", "auto"}
OUTPUTS: Final = frozenset({"jpg", "jpeg", "png", "json", "ndarray"}) | BYTES
BY_TYPE = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "application/json": "json",
}
FIRST = {
    "jpg": re.compile(rb"\xff\xd8\xff"),
    "png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
}
"""What files of these forms begin with."""
FLAT = 2
"""Dimensions of a grey picture."""
WITH_COLOURS = 3
CHANNELS = {3: "RGB", 4: "RGBA"}


def check(output: str | None, source: str | None) -> None:
    """Refuse names of forms that are not known.

    Raises:
        UnsupportedMedia: one of them is none.
    """
    for name, word, known in (("output", output, OUTPUTS), ("input", source, INPUTS)):
        if word is not None and word.lower() not in known:
            names = ", ".join(sorted(known))
            raise UnsupportedMedia(f"There is no {name} of that name. Known are {names}.")


def guess(data: bytes, *, stream: str = "", content_type: str | None = None) -> str | None:
    """The form of *data* by its first bytes, then by what its stream says; None: unknown."""
    for form, first in FIRST.items():
        if first.match(data):
            return form
    said = BY_TYPE.get((content_type or "").partition(";")[0].strip().lower())
    if said is not None:
        return said
    if data[:1] in (b"{", b"["):
        return "json"
    if stream.rsplit(":", 1)[-1] in holo.STREAMS and holo.is_frame(data):
        return "holo"
    return None


def convert(
    data: bytes,
    output: str,
    source: str | None = None,
    *,
    stream: str = "",
    content_type: str | None = None,
) -> bytes:
    """*data* in the form *output*.

    Args:
        data: of one entry.
        output: one of `OUTPUTS`.
        source: one of `INPUTS`; None or ``auto``: found out by `guess`.
        stream: its name, which may tell the form.
        content_type: what the stream says of its entries.

    Raises:
        UnsupportedMedia: the form is unknown, or that is not what *data* holds, or it cannot
            become *output*.
        TooLarge: it would become too large.
    """
    check(output, source)
    target, given = output.lower(), (source or "auto").lower()
    if target in BYTES:
        return data
    if given == "auto":
        given = guess(data, stream=stream, content_type=content_type) or ""
    if given == "":
        raise UnsupportedMedia("Say what the entries are (input=…): it is not to be seen.")
    if given in PICTURES and PICTURES.get(target) == PICTURES[given]:
        if guess(data) is not None and PICTURES.get(guess(data) or "") == PICTURES[given]:
            return data
        raise UnsupportedMedia(f"This entry is no {given}.")
    return _encoded(_decoded(data, given), target)


@cache
def black(width: int, height: int) -> bytes:
    """A black picture as JPEG."""
    from PIL import Image

    return _saved(Image.new("RGB", (width, height)), "JPEG")


@cache
def notice(text: str, width: int, height: int) -> bytes:
    """*text* on a dark picture, as JPEG."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (width, height), (24, 26, 32))
    font = ImageFont.load_default(max(12, height // 12))
    middle = (width / 2, height / 2)
    ImageDraw.Draw(image).text(middle, text, fill=(208, 212, 222), font=font, anchor="mm")
    return _saved(image, "JPEG")


def _decoded(data: bytes, source: str) -> Any:
    """An array, or what JSON says."""
    if source in PICTURES:
        return _pixels(data, PICTURES[source])
    if source == "json":
        return _json(data)
    if source == "ndarray":
        return _floats(data)
    if source == "holo":
        return _holo(data)
    raise UnsupportedMedia("Plain bytes become nothing else. Say what they are: input=….")


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UnsupportedMedia("This entry is no JSON.") from error


def _floats(data: bytes) -> NDArray[Any]:
    import numpy as np

    if len(data) % 4:
        raise UnsupportedMedia("This entry is no array of 32-bit floats.")
    return np.frombuffer(data, "<f4")


def _holo(data: bytes) -> Any:
    import numpy as np

    found = holo.measured(data)
    if not isinstance(found, tuple):
        return found
    jpeg, turns, is_exchanged = found
    pixels = _pixels(jpeg, "JPEG")
    if is_exchanged and pixels.ndim == WITH_COLOURS:
        pixels = pixels[:, :, ::-1]
    return np.rot90(pixels, turns)


def _pixels(data: bytes, form: str) -> NDArray[Any]:
    import numpy as np
    from PIL import Image

    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        with Image.open(io.BytesIO(data), formats=(form,)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise TooLarge(f"A picture has at most {MAX_PIXELS} pixels.", limit=MAX_PIXELS)
            return np.asarray(_plain(image))
    except bombs as error:
        raise TooLarge(f"A picture has at most {MAX_PIXELS} pixels.", limit=MAX_PIXELS) from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise UnsupportedMedia(f"This entry is no {form}.") from error


def _plain(image: Image) -> Image:
    """In a mode that arrays know: palettes, bits and CMYK are turned into grey or colours."""
    if image.mode in ("L", "RGB", "RGBA") or image.mode.startswith("I"):
        return image
    if image.mode == "1":
        return image.convert("L")
    return image.convert("RGBA" if image.mode in ("LA", "PA") or _is_see_through(image) else "RGB")


def _is_see_through(image: Image) -> bool:
    return image.mode == "P" and "transparency" in image.info


def _encoded(found: Any, target: str) -> bytes:
    import numpy as np

    is_array = isinstance(found, np.ndarray)
    if target == "json":
        return _as_json(cast("NDArray[Any]", found).tolist() if _fits(found) else found)
    if target == "ndarray":
        return _as_floats(found)
    if not is_array:
        raise UnsupportedMedia("JSON becomes no picture.")
    return _as_picture(cast("NDArray[Any]", found), target)


def _fits(found: Any) -> bool:
    """Whether it is an array, and one that may be written as JSON."""
    import numpy as np

    if not isinstance(found, np.ndarray):
        return False
    if cast("NDArray[Any]", found).size > MAX_NUMBERS:
        raise TooLarge(f"JSON of at most {MAX_NUMBERS} numbers is made.", limit=MAX_NUMBERS)
    return True


def _as_json(found: Any) -> bytes:
    try:
        text = json.dumps(found, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, RecursionError) as error:
        raise UnsupportedMedia("This entry holds numbers that JSON cannot say.") from error
    return text.encode("utf-8", "surrogatepass")


def _as_floats(found: Any) -> bytes:
    import numpy as np

    try:
        return np.asarray(found, dtype="<f4").tobytes()
    except (TypeError, ValueError, OverflowError) as error:
        raise UnsupportedMedia("This entry is no array of numbers.") from error


def _as_picture(pixels: NDArray[Any], target: str) -> bytes:
    import numpy as np
    from PIL import Image

    form = PICTURES[target]
    if pixels.ndim == WITH_COLOURS and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    is_grey = pixels.ndim == FLAT
    is_colour = pixels.ndim == WITH_COLOURS and pixels.shape[2] in CHANNELS
    if not (is_grey or is_colour) or pixels.size == 0:
        raise UnsupportedMedia("This entry is no picture.")
    if pixels.dtype != np.uint8:
        if not is_grey or pixels.dtype.kind not in "ui":
            raise UnsupportedMedia("This entry is no picture.")
        if pixels.dtype.itemsize != FLAT or form != "PNG":
            pixels = _in_eight_bits(pixels)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return _saved(image.convert("RGB") if form == "JPEG" and image.mode == "RGBA" else image, form)


def _in_eight_bits(pixels: NDArray[Any]) -> NDArray[Any]:
    """Depth as it can be looked at: its largest value is white."""
    import numpy as np

    top = max(1, int(pixels.max()))
    return (pixels.clip(0).astype(np.float32) * (255 / top)).astype(np.uint8)


def _saved(image: Image, form: str) -> bytes:
    made = io.BytesIO()
    options: dict[str, Any] = {"quality": QUALITY} if form == "JPEG" else {"compress_level": 3}
    try:
        image.save(made, form, **options)
    except (OSError, ValueError) as error:
        raise InvalidField("output", f"This picture does not fit into a {form}.") from error
    return made.getvalue()
