from __future__ import annotations

import io
import json
import os
import struct
import zlib
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from fluxui import images
from fluxui.errors import InvalidRequest
from fluxui.settings import OutputFormat

SETTINGS: dict[str, Any] = {
    "fluxui": "0.1.0",
    "id": "7d4f",
    "image": 2,
    "prompt": "a café, 雪 🎨\n<script>\"'\\",
    "painted": "ohwx, a café, 雪 🎨\n<script>\"'\\",
    "base_model": "tiny",
    "loras": [{"model_id": "ink", "name": "Ink", "weight": 0.8, "sha256": "ab" * 32}],
    "num_inference_steps": 4,
    "guidance_scale": 3.5,
    "width": 48,
    "height": 32,
    "seed": 2**64 - 1,
}


def png(width: int = 48, height: int = 32, **changes: Any) -> bytes:
    return images.encode(os.urandom(width * height * 3), width, height, SETTINGS | changes)


FORMATS: tuple[OutputFormat, ...] = ("png", "webp", "jpeg")


def with_settings(text: bytes) -> bytes:
    """A PNG with any bytes where the settings are."""
    info = PngImagePlugin.PngInfo()
    info.add(b"iTXt", b"fluxui\0\0\0\0\0" + text)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


@pytest.mark.parametrize("size", [(1, 1), (48, 32), (7, 300)])
@pytest.mark.parametrize("kind", FORMATS)
def test_another_program_reads_the_same_pixels(kind: OutputFormat, size: tuple[int, int]) -> None:
    pixels = os.urandom(size[0] * size[1] * 3)
    with Image.open(io.BytesIO(images.encode(pixels, *size, SETTINGS, kind))) as picture:
        assert (picture.format, picture.mode, picture.size) == (kind.upper(), "RGB", size)
        assert picture.tobytes() == pixels or kind == "jpeg"


@pytest.mark.parametrize("kind", FORMATS)
def test_the_same_picture_is_the_same_file_and_its_settings_come_back(kind: OutputFormat) -> None:
    pixels = os.urandom(48 * 32 * 3)
    made = images.encode(pixels, 48, 32, SETTINGS, kind)
    assert made == images.encode(pixels, 48, 32, SETTINGS, kind)
    assert images.read_settings(made) == SETTINGS
    assert images.read_texts(made).keys() == {"parameters", "fluxui"}
    assert images.read_texts(made)["parameters"] == images.read_texts(png())["parameters"]


def test_a_jpeg_is_compared_as_a_jpeg() -> None:
    pixels, other = os.urandom(48 * 32 * 3), os.urandom(48 * 32 * 3)
    kept = images.encode(pixels, 48, 32, SETTINGS, "jpeg")
    for kind in FORMATS:
        again = images.encode(pixels, 48, 32, SETTINGS, kind)
        assert images.difference(kept, again) == (0, 0, 48 * 32)
        assert images.difference(kept, images.encode(other, 48, 32, SETTINGS, kind))[0] > 1000


def test_other_programs_read_the_parameters() -> None:
    with Image.open(io.BytesIO(png())) as picture:
        assert isinstance(picture, PngImagePlugin.PngImageFile)
        lines = str(picture.text["parameters"]).split("\n")
        assert json.loads(str(picture.text["fluxui"])) == SETTINGS
    assert lines[:-1] == ["ohwx, a café, 雪 🎨", "<script>\"'\\ <lora:ink:0.8>"]
    assert lines[-1] == (
        "Steps: 4, Sampler: Euler, CFG scale: 1, Distilled CFG Scale: 3.5, "
        'Seed: 18446744073709551615, Size: 48x32, Model: tiny, Lora hashes: "ink: abababababab", '
        "Version: fluxui 0.1.0"
    )


def test_without_loras_none_are_named() -> None:
    with Image.open(io.BytesIO(png(loras=[]))) as picture:
        assert "ora" not in str(picture.info["parameters"])


def test_a_png_of_another_program_has_no_settings() -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    with pytest.raises(InvalidRequest, match="no settings"):
        images.read_settings(file.getvalue())


@pytest.mark.parametrize("data", [b"", b"\x89PNG", b"<svg/>", b"GIF89a", b"\xff\xd8\xff\xe0"])
def test_what_is_no_png_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest, match="not a PNG"):
        images.read_settings(data)


@pytest.mark.parametrize("size", [(8000, 5001), (60_000, 60_000)])
def test_a_picture_over_40_megapixels_is_refused_unread(size: tuple[int, int]) -> None:
    bomb = bytearray(png())
    bomb[16:24] = struct.pack(">II", *size)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
    with pytest.raises(InvalidRequest, match="40 megapixels|not a PNG"):
        images.read_settings(bytes(bomb))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b"1e999999"])
def test_hostile_settings_are_one_sentence(text: bytes) -> None:
    with pytest.raises(InvalidRequest, match="damaged|no settings"):
        images.read_settings(with_settings(text))


def test_cut_off_anywhere_it_is_the_settings_or_a_sentence() -> None:
    whole = png()
    for cut in range(whole.index(b"IDAT")):
        with pytest.raises(InvalidRequest):
            images.read_settings(whole[:cut])


@pytest.mark.parametrize(
    ("size", "small"), [((1024, 1024), (384, 384)), ((1024, 512), (384, 192)), ((64, 48), (64, 48))]
)
def test_a_thumbnail_is_a_webp_of_at_most_384(
    size: tuple[int, int], small: tuple[int, int]
) -> None:
    data = images.thumbnail(bytes((200, 30, 60)) * (size[0] * size[1]), *size)
    with Image.open(io.BytesIO(data)) as picture:
        assert (picture.format, picture.size) == ("WEBP", small)
        red, green, blue = picture.convert("RGB").resize((1, 1)).tobytes()
    assert abs(red - 200) < 6 and abs(green - 30) < 6 and abs(blue - 60) < 6


def test_a_contact_sheet_wraps_its_labels_and_keeps_its_cells_small() -> None:
    words = "one very long label 雪" * 20
    sheet = images.ContactSheet([words], ["Ink"], ["short", words], (1024, 512))
    sheet.paste(0, 1, png())
    found = Image.open(io.BytesIO(sheet.png()))
    assert found.format == "PNG"
    assert 2 * 512 < found.width < 2 * 512 + 100
    assert 256 < found.height < 256 + 12 * 26
    with pytest.raises(InvalidRequest):
        sheet.paste(0, 0, b"no picture")
