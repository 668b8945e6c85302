from __future__ import annotations

import io
import os
import random
import struct
from typing import Any

import pytest
from PIL import Image

from fluxui import images
from fluxui.embedded import EXIF, MODEL, USER_COMMENT
from fluxui.errors import InvalidRequest
from fluxui.settings import OutputFormat
from tests.test_images import SETTINGS

FREE_TEXT = "雪 by the sea\nSteps: 4, Seed: 7, Size: 64x64"


def file(kind: str, comment: Any = None, model: str = "", **more: Any) -> bytes:
    """A picture as another program leaves it."""
    exif = Image.Exif()
    if comment is not None:
        exif.get_ifd(EXIF)[USER_COMMENT] = comment
    if model:
        exif[MODEL] = model
    saved = io.BytesIO()
    Image.new("RGB", (8, 8)).save(saved, kind, **{"exif": exif.tobytes()} | more)
    return saved.getvalue()


@pytest.mark.parametrize("kind", ["WEBP", "JPEG"])
@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + FREE_TEXT.encode("utf-16-be"),  # Automatic1111, Forge
        b"UNICODE\0" + FREE_TEXT.encode("utf-16-le"),
        b"ASCII\0\0\0" + FREE_TEXT.encode(),
        bytes(8) + FREE_TEXT.encode(),
        FREE_TEXT.encode(),
    ],
)
def test_what_others_write_as_a_comment_is_read(kind: str, comment: bytes) -> None:
    assert images.read_texts(file(kind, comment)) == {"parameters": FREE_TEXT}


def test_comfyui_writes_its_graph_into_a_webp() -> None:
    assert images.read_texts(file("WEBP", model='prompt:{"3": {}}')) == {"prompt": '{"3": {}}'}


@pytest.mark.parametrize("kind", ["WEBP", "JPEG", "PNG"])
def test_what_is_there_and_no_text_is_left_alone(kind: str) -> None:
    for odd in (b"", b"MM", b"Exif\0\0II*\0\xff\xff\xff\xff"):
        assert images.read_texts(file(kind, exif=odd, xmp=b"<fluxui:settings>")) == {}
    assert images.read_texts(file(kind, b"UNICODE\0\0")).get("parameters", "") in ("", "\ufffd")


@pytest.mark.parametrize("output_format", ["webp", "jpeg"])
def test_what_is_damaged_is_a_sentence_or_nothing(output_format: OutputFormat) -> None:
    whole = images.encode(os.urandom(48 * 32 * 3), 48, 32, SETTINGS, output_format)
    at, dice = whole.index(b"UNICODE"), random.Random(7)
    for _ in range(500):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[dice.randrange(at - 60, at + 8)] = dice.randrange(256)
        try:
            images.read_texts(bytes(damaged[: dice.randrange(at, 2 * len(whole))]))
        except InvalidRequest as error:
            assert error.message.startswith("This is not a PNG, WebP or JPEG")


@pytest.mark.parametrize("output_format", ["webp", "jpeg"])
def test_the_comment_is_of_the_type_that_the_standard_says(output_format: OutputFormat) -> None:
    """Automatic1111 reads it by that; Pillow's own are lists of numbers."""
    made = images.encode(bytes(192), 8, 8, SETTINGS, output_format)
    entry = made[made.index(b"\x92\x86") :]
    kind, length, offset = struct.unpack(">HLL", entry[2:12])
    start = made.index(b"MM\0*") + offset
    assert (kind, made[start : start + 8]) == (7, b"UNICODE\0")
    text = images.read_texts(made)["parameters"]
    assert made[start + 8 : start + length].decode("utf-16-be") == text


HUGE = b"/" + struct.pack("<I", 16_382 | 16_382 << 14) + bytes(20)
WEBP_BOMB = b"RIFF" + struct.pack("<I", 38) + b"WEBPVP8L" + struct.pack("<I", 25) + HUGE + b"\0"
AT = file("JPEG").index(b"\xff\xc0") + 5
JPEG_BOMB = file("JPEG")[:AT] + struct.pack(">HH", 65_500, 65_500) + file("JPEG")[AT + 4 :]


@pytest.mark.parametrize("bomb", [WEBP_BOMB, JPEG_BOMB], ids=["webp", "jpeg"])
def test_a_bomb_is_refused_before_it_is_decoded(bomb: bytes) -> None:
    for read in (images.read_texts, images.thumbnail_of):
        with pytest.raises(InvalidRequest, match="40 megapixels"):
            read(bomb)


def test_the_longest_prompt_fits() -> None:
    long = SETTINGS | {"prompt": "&" * 2000, "painted": "🎨" * 2000 + "<" * 3200}
    assert images.read_settings(images.encode(bytes(192), 8, 8, long, "jpeg")) == long
