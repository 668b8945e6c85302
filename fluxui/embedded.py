"""The texts inside a picture: chunks in a PNG, EXIF and XMP in a WebP or a JPEG.

`parameters` is what other programs read, `fluxui` are the exact settings as JSON. What is read
comes from strangers, and no pixel is decoded for it.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Mapping
from html import unescape
from typing import Any
from xml.sax.saxutils import escape

from PIL import Image
from PIL.PngImagePlugin import PngInfo

KEYWORD = "fluxui"
PARAMETERS = "parameters"

# EXIF: a folder of its own, in it what Automatic1111 began to write; and where ComfyUI's graph is.
EXIF, USER_COMMENT, MODEL = 0x8769, 0x9286, 0x0110
_CODES = {b"UNICODE\0", b"ASCII\0\0\0", b"JIS\0\0\0\0\0", bytes(8)}
_OURS = re.compile(rb"<fluxui:settings>([^<]*)<")
_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:fluxui="urn:fluxui">'
    "<fluxui:settings>{}</fluxui:settings></rdf:Description></rdf:RDF></x:xmpmeta>"
)


def chunks(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What Pillow takes to save the settings in a PNG."""
    text = PngInfo()
    text.add_itxt(PARAMETERS, _parameters(settings))
    text.add_itxt(KEYWORD, json.dumps(settings, ensure_ascii=False))
    return {"pnginfo": text}


def tags(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a WebP or a JPEG, where each of the two has 64 kB."""
    packet = _XMP.format(escape(json.dumps(settings, ensure_ascii=False)))
    return {"exif": _exif(_parameters(settings)), "xmp": packet.encode()}


def _exif(words: str) -> bytes:
    """One user comment and nothing else. Pillow would say that it is a list of numbers, and then
    Automatic1111 does not read it."""
    comment = b"UNICODE\0" + words.encode("utf-16-be")
    head = b"Exif\0\0MM\0*" + struct.pack(">L", 8)
    # Two folders of one entry each: count, tag, type, length, where it is; and no folder after it.
    first = struct.pack(">HHHLLL", 1, EXIF, 4, 1, 26, 0)
    second = struct.pack(">HHHLLL", 1, USER_COMMENT, 7, len(comment), 44, 0)
    return head + first + second + comment


def texts_of(picture: Image.Image) -> dict[str, str]:
    """Those of an opened picture, by the keywords that they have, or would have, in a PNG."""
    found = {str(name): text for name, text in picture.info.items() if isinstance(text, str)}
    if isinstance(exif := picture.info.get("exif"), bytes):
        found |= dict(_exif_texts(exif))
    xmp = picture.info.get("xmp")
    if isinstance(xmp, bytes) and (ours := _OURS.search(xmp)):
        found[KEYWORD] = unescape(ours[1].decode(errors="replace"))
    return found


def _exif_texts(content: bytes) -> Iterator[tuple[str, str]]:
    exif = Image.Exif()
    try:
        exif.load(content)
        comment, model = exif.get_ifd(EXIF).get(USER_COMMENT), exif.get(MODEL)
    except (SyntaxError, ValueError, TypeError, KeyError, OSError, struct.error):
        return  # damaged: it says nothing
    if isinstance(comment, bytes):
        yield PARAMETERS, _comment(comment)
    if isinstance(model, str) and model.startswith("prompt:"):
        yield "prompt", model.removeprefix("prompt:").rstrip("\0")


def _comment(value: bytes) -> str:
    """A user comment, whose first eight bytes should say its code. Which end of a character comes
    first they do not say: the zeros of Latin letters do."""
    code, text = (value[:8], value[8:]) if value[:8] in _CODES else (b"", value)
    if code == b"UNICODE\0":
        big = text[::2].count(0) >= text[1::2].count(0)
        return text.decode("utf-16-be" if big else "utf-16-le", "replace")
    return text.decode(errors="replace")


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
