"""Pictures as files: PNG, WebP or JPEG that carries its own settings, and small WebP ones.

It knows no generation and no storage.
"""

from __future__ import annotations

import io
import json
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache, reduce
from itertools import count
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageChops, ImageDraw, ImageFont
from PIL.ImageFont import FreeTypeFont

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
# Of a contact sheet, in pixels: a picture's longer side at most, what a label needs at least.
CELL, NARROWEST, GAP, LINE, TEXT = 512, 120, 16, 26, 18
FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial.ttf", "arial.ttf")


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


class ContactSheet:
    """Many pictures in one, with labels: `rows` stand above theirs, `columns` below.

    `cell` is the width and height of each picture; the longer side becomes 512 pixels at most.
    """

    def __init__(
        self,
        title: Sequence[str],
        rows: Sequence[str],
        columns: Sequence[str],
        cell: tuple[int, int],
    ) -> None:
        self._font = _font()
        scale = min(1.0, CELL / max(cell))
        self._size = max(round(cell[0] * scale), 1), max(round(cell[1] * scale), 1)
        self._pitch = max(self._size[0], NARROWEST) + GAP
        width = len(columns) * self._pitch + GAP
        head = [line for words in title for line in self._wrapped(words, width - 2 * GAP)]
        labels = [self._wrapped(words, self._pitch - GAP) for words in columns]
        self._top = GAP + len(head) * LINE + GAP
        self._row = LINE + self._size[1] + GAP + max(map(len, labels)) * LINE
        height = self._top + len(rows) * self._row
        self._sheet = Image.new("RGB", (width, height), "white")
        self._draw = ImageDraw.Draw(self._sheet)
        self._write((GAP, GAP), head, "black")
        for row, words in enumerate(rows):
            left, top = self._place(row, 0)
            self._write((left, top - LINE), self._wrapped(words, width - 2 * GAP)[:1], "black")
            for column, label in enumerate(labels):
                self._label(row, column, label)

    def _label(self, row: int, column: int, lines: list[str]) -> None:
        """Below a picture, which is grey until it is there."""
        (left, top), (width, height) = self._place(row, column), self._size
        self._draw.rectangle((left, top, left + width - 1, top + height - 1), "#ececef")
        self._write((left, top + height + 4), lines, "#52525b")

    def paste(self, row: int, column: int, content: bytes) -> None:
        """Rows and columns count from 0. Raises InvalidRequest for what is no picture."""
        picture = _decoded(content).resize(self._size, Image.Resampling.LANCZOS)
        self._sheet.paste(picture, self._place(row, column))

    def png(self) -> bytes:
        file = io.BytesIO()
        self._sheet.save(file, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
        return file.getvalue()

    def _place(self, row: int, column: int) -> tuple[int, int]:
        return GAP + column * self._pitch, self._top + row * self._row + LINE

    def _write(self, at: tuple[int, int], lines: list[str], colour: str) -> None:
        for number, line in enumerate(lines):
            self._draw.text((at[0], at[1] + number * LINE), line, colour, self._font)

    def _wrapped(self, text: str, room: int) -> list[str]:
        """At most three lines; what has no place ends in dots."""
        lines = list(self._lines(text, room))
        if len(lines) > 3:
            lines[2:] = [f"{lines[2]}…"]
            while self._font.getlength(lines[2]) > room:
                lines[2] = f"{lines[2][:-2]}…"
        return lines

    def _lines(self, text: str, room: int) -> Iterator[str]:
        """By words; one that is longer than the room, as in Chinese, by letters."""
        line = ""
        for word in text.split():
            if line and self._font.getlength(f"{line} {word}") > room:
                yield line
                line = ""
            line = f"{line} {word}".strip()
            while self._font.getlength(line) > room:
                letters = next(n for n in count(1) if self._font.getlength(line[: n + 1]) > room)
                yield line[:letters]
                line = line[letters:]
        yield line


@cache
def _font() -> FreeTypeFont | ImageFont.ImageFont:
    """One of this machine's, which have most letters, or else Pillow's own."""
    for name in FONTS:
        with suppress(OSError):
            return ImageFont.truetype(name, TEXT)
    return ImageFont.load_default(TEXT)


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
