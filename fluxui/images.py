"""Pictures as files: PNG, WebP or JPEG that carries its own settings, and small WebP ones.

It knows no generation and no storage.
"""

from __future__ import annotations

import io
import json
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageChops

from fluxui.embedded import KEYWORD, chunks, tags, texts_of
from fluxui.errors import InvalidRequest

if TYPE_CHECKING:
    from fluxui.settings import OutputFormat

THUMBNAIL = 384  # pixels, the longer side
MAX_PIXELS = 40_000_000
TOO_LARGE = "This picture is larger than 40 megapixels."
FORMATS = ("PNG", "WEBP", "JPEG")
# How each is written. At 1024²: a PNG with runs only takes a quarter of the time of Pillow's
# defaults, for a tenth more bytes; a WebP is a tenth to a third smaller, and takes 0.3 s.
WRITTEN: dict[OutputFormat, dict[str, Any]] = {
    "png": {"format": "PNG", "compress_level": 1, "compress_type": zlib.Z_RLE},
    "webp": {"format": "WEBP", "lossless": True, "quality": 0, "method": 1},
    "jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0, "optimize": True},
}


def encode(
    pixels: bytes,
    width: int,
    height: int,
    settings: Mapping[str, Any],
    output_format: OutputFormat = "png",
) -> bytes:
    """A file of RGB bytes, row by row; all but JPEG gives them back exactly. `settings` is JSON,
    with the names that the worker gives."""
    inside = chunks(settings) if output_format == "png" else tags(settings)
    picture = Image.frombytes("RGB", (width, height), pixels)
    file = io.BytesIO()
    picture.save(file, **WRITTEN[output_format], **inside)
    return file.getvalue()


def read_settings(content: bytes) -> dict[str, Any]:
    """What `encode` was given. No pixel is decoded.

    Raises InvalidRequest for what is no picture, is larger than 40 megapixels, or has no settings.
    """
    text = read_texts(content).get(KEYWORD)
    if text is None:
        raise InvalidRequest("This picture carries no settings of fluxui.")
    return _settings(text)


def read_texts(content: bytes) -> dict[str, str]:
    """The texts inside a PNG, WebP or JPEG, by the keywords of a PNG. No pixel is decoded.

    Raises InvalidRequest for what is no such picture, or is larger than 40 megapixels.
    """
    with _opened(content) as picture:
        return texts_of(picture)


def thumbnail(pixels: bytes, width: int, height: int) -> bytes:
    """A WebP of at most 384 pixels a side: 12 ms for 1024²."""
    picture = Image.frombytes("RGB", (width, height), pixels)
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=82, method=2)
    return file.getvalue()


def difference(one: bytes, other: bytes) -> tuple[int, int, int]:
    """Of two files: how many pixels differ, by how much at most, and of how many. With one JPEG
    the other is made one first, so that what JPEG does to all pictures does not count.

    Raises InvalidRequest for what is no picture, or not of the same size.
    """
    if lossy(one) != lossy(other):
        one, other = (file if lossy(file) else _as_jpeg(file) for file in (one, other))
    first, second = _decoded(one), _decoded(other)
    if first.size != second.size:
        raise InvalidRequest("These two pictures have not the same size.")
    bands = ImageChops.difference(first, second).split()
    counted = reduce(ImageChops.lighter, bands).histogram()  # pixels by their largest difference
    largest = max(level for level, count in enumerate(counted) if count)
    return sum(counted[1:]), largest, sum(counted)


def lossy(content: bytes) -> bool:
    """Whether a file is a JPEG, which does not keep the pixels that were painted."""
    return content.startswith(b"\xff\xd8")


def _as_jpeg(content: bytes) -> bytes:
    file = io.BytesIO()
    _decoded(content).save(file, **WRITTEN["jpeg"])
    return file.getvalue()


def thumbnail_of(content: bytes) -> bytes:
    """The same, of a file that `encode` made. Raises InvalidRequest for what is no picture."""
    pixels = _decoded(content)
    return thumbnail(pixels.tobytes(), *pixels.size)


def _decoded(content: bytes) -> Image.Image:
    with _opened(content) as picture:
        return picture.convert("RGB")


@contextmanager
def _opened(content: bytes) -> Iterator[Image.Image]:
    """Raises InvalidRequest for what can't be read, and what is too large before it is decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about what is odd in it
            with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise InvalidRequest(TOO_LARGE)
                yield picture
    except Image.DecompressionBombError:
        raise InvalidRequest(TOO_LARGE) from None
    except (OSError, SyntaxError, ValueError):
        raise InvalidRequest("This is not a PNG, WebP or JPEG that can be read.") from None


def _settings(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidRequest("The settings in this picture are damaged.")
    return found
