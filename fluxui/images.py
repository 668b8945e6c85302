"""Pictures as files: PNG that carries its own settings, and small WebP ones.

The PNG is written by hand because that is fast: the Up filter, then zlib that only looks for
runs. 1024², one core, smooth and grainy: 26 and 29 ms, 0.5 and 1.7 MB; Pillow's level 1 takes 41
and 95 ms, its default 151 and 229 ms for 0.4 and 1.7 MB. zlib works outside of the GIL.

Settings lie in two text chunks: `parameters`, which other programs read, and `fluxui`, the exact
ones as JSON. It knows no generation and no storage.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from fluxui.errors import InvalidRequest

THUMBNAIL = 384  # pixels, the longer side
MAX_PIXELS = 40_000_000
MAX_TEXT = 2**20  # bytes, of one chunk

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEYWORD = b"fluxui"
_UP = b"\x02"


def encode(pixels: bytes, width: int, height: int, settings: Mapping[str, Any]) -> bytes:
    """A PNG of RGB bytes, row by row. `settings` is JSON, with the names that the worker gives."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", header),
            _chunk(b"iTXt", _text(b"parameters", _parameters(settings))),
            _chunk(b"iTXt", _text(_KEYWORD, json.dumps(settings, ensure_ascii=False))),
            _chunk(b"IDAT", _compressed(pixels, width, height)),
            _chunk(b"IEND", b""),
        )
    )


def read_settings(png: bytes) -> dict[str, Any]:
    """What `encode` was given. No pixel is decoded.

    Raises InvalidRequest for what is no PNG, is larger than 40 megapixels, or has no settings.
    """
    if not png.startswith(_SIGNATURE):
        raise InvalidRequest("This is not a PNG picture.")
    for kind, body in _chunks(png):
        if kind == b"IHDR":
            _check_size(body)
        if kind == b"iTXt" and body.startswith(_KEYWORD + b"\0"):
            return _settings(body)
    raise InvalidRequest("This picture carries no settings of fluxui.")


def thumbnail(pixels: bytes, width: int, height: int) -> bytes:
    """A WebP of at most 384 pixels a side: 12 ms for 1024²."""
    from PIL import Image

    picture = Image.frombytes("RGB", (width, height), pixels)
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=82, method=2)
    return file.getvalue()


def _compressed(pixels: bytes, width: int, height: int) -> bytes:
    from PIL import Image, ImageChops

    picture = Image.frombytes("RGB", (width, height), pixels)
    above = Image.new("RGB", (width, height))
    above.paste(picture, (0, 1))
    changes = ImageChops.subtract_modulo(picture, above).tobytes()
    row = width * 3
    filtered = b"".join(_UP + changes[at : at + row] for at in range(0, len(changes), row))
    zipper = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    return zipper.compress(filtered) + zipper.flush()


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _text(keyword: bytes, text: str) -> bytes:
    """An iTXt body: UTF-8, not compressed, in no named language."""
    return keyword + b"\0\0\0\0\0" + text.replace("\0", "").encode()


def _parameters(settings: Mapping[str, Any]) -> str:
    """The one text that Automatic1111 began and most programs read."""
    loras = settings["loras"]
    tags = "".join(f" <lora:{lora['model_id']}:{lora['weight']:g}>" for lora in loras)
    facts = {
        "Steps": settings["num_inference_steps"],
        "Sampler": "Euler",
        "CFG scale": 1,
        "Distilled CFG Scale": settings["guidance_scale"],
        "Seed": settings["seed"],
        "Size": f"{settings['width']}x{settings['height']}",
        "Model": settings["base_model"],
    }
    if loras:
        hashes = ", ".join(f"{lora['model_id']}: {lora['sha256'][:12]}" for lora in loras)
        facts["Lora hashes"] = f'"{hashes}"'
    facts["Version"] = f"fluxui {settings['fluxui']}"
    line = ", ".join(f"{name}: {value}" for name, value in facts.items())
    return f"{settings['painted']}{tags}\n{line}"


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and body of each whole chunk; those before the pixels suffice, and long ones pass."""
    at = len(_SIGNATURE)
    while at + 12 <= len(png):
        size, kind = struct.unpack_from(">I4s", png, at)
        body = png[at + 8 : at + 8 + size] if size <= MAX_TEXT else b""
        yield kind, body
        at += 12 + size


def _check_size(header: bytes) -> None:
    if len(header) != 13:
        raise InvalidRequest("This PNG picture is damaged.")
    width, height = struct.unpack_from(">II", header)
    if width * height > MAX_PIXELS:
        raise InvalidRequest("This picture is larger than 40 megapixels.")


def _settings(body: bytes) -> dict[str, Any]:
    text = body[len(_KEYWORD) + 5 :]
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidRequest("The settings in this picture are damaged.")
    return found
