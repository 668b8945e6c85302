"""What a LoRA's file says about itself: its safetensors header, read by our own few lines.

Nothing is unpickled and no tensor is read, but for numbers and biases of a few bytes. Only a file
that is named `.safetensors` and is one is opened; for any other the cause is named.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path
from statistics import mode
from typing import BinaryIO

from fluxui.errors import LoraError, LoraMisfit, LoraUnreadable
from fluxui.loras.families import FLUX1, family_of
from fluxui.loras.layouts import Piece, Plan, Targets, format_of, plan
from fluxui.loras.methods import Shape
from fluxui.loras.names import in_text_encoders

SUFFIX = ".safetensors"
MAX_HEADER = 4 << 20
MAX_TENSORS = 20_000
_CHUNK = 1 << 20

# Bytes of one element. Other types are not numbers that a LoRA is made of.
_SIZES = {
    **dict.fromkeys(("F64", "I64", "U64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "I8", "U8", "BOOL"), 1),
}
FLOATS = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})


@dataclass(frozen=True)
class Tensor:
    """One entry of the header. `start` and `end` count from the first byte of the file."""

    dtype: str
    shape: Shape
    start: int
    end: int


@dataclass(frozen=True)
class Header:
    """What the file holds. `data` is where its tensors begin."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    data: int

    @property
    def shapes(self) -> dict[str, Shape]:
        return {name: tensor.shape for name, tensor in self.tensors.items()}


@dataclass(frozen=True)
class Fit:
    """What a LoRA is, and whether the base model here can take it.

    `layers` of the base model are changed, of `layers_total` that the file holds, those of the
    text encoders included. `left_out`: the tensors that nothing here takes.
    """

    format: str
    rank: int
    alpha: float | None
    base_family: str
    layers: int
    layers_total: int
    fits: bool
    verdict: str
    left_out: tuple[str, ...] = ()


@contextmanager
def opened(path: Path) -> Iterator[tuple[BufferedReader, int]]:
    """The file and its size. Raises LoraUnreadable for any but a regular `.safetensors`."""
    if path.suffix != SUFFIX:
        raise LoraUnreadable(f"{path.name} is not named .safetensors.")
    if not path.is_file():
        raise LoraUnreadable(f"{path.name} is not a file.")
    with path.open("rb") as stream:
        yield stream, path.stat().st_size


def read_header(stream: BinaryIO, size: int) -> Header:
    """The header of a safetensors file of `size` bytes, checked. Raises LoraUnreadable."""
    start = stream.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if not 2 <= length <= MAX_HEADER or 8 + length > size:
        raise _not_safetensors(start + stream.read(120), size, length)
    text = stream.read(length)
    if len(text) < length:
        raise LoraUnreadable("This file is cut off. Download it again.")
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        raise _not_safetensors(start + text[:120], size, length) from None
    if not isinstance(entries, dict):
        raise LoraUnreadable("The header of this file is not one of safetensors.")
    metadata = entries.pop("__metadata__", {})
    if len(entries) > MAX_TENSORS:
        raise LoraUnreadable(f"This file names more than {MAX_TENSORS:,} tensors.")
    data = 8 + length
    tensors = {name: _tensor(name, entry, data, size) for name, entry in entries.items()}
    return Header(tensors, _strings(metadata), data)


def _tensor(name: str, entry: object, data: int, size: int) -> Tensor:
    if not (name.isascii() and name.isprintable()):
        raise LoraUnreadable(f"The header of this file is damaged at {ascii(name)[:80]}.")
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(start), int(end)]}:
            pass
        case _:
            raise LoraUnreadable(f"The header of this file is damaged at {name[:80]}.")
    if not all(type(length) is int and length >= 0 for length in shape) or dtype not in _SIZES:
        raise LoraUnreadable(f"{name[:80]} has the type {dtype[:20]}, which no LoRA is made of.")
    if end - start != math.prod(shape) * _SIZES[dtype] or not 0 <= start <= end:
        raise LoraUnreadable(f"The header of this file is damaged at {name[:80]}.")
    if data + end > size:
        raise LoraUnreadable("This file is cut off. Download it again.")
    return Tensor(dtype, tuple(shape), data + start, data + end)


def _strings(metadata: object) -> dict[str, str]:
    if not isinstance(metadata, dict):
        return {}
    # Half a surrogate pair is legal JSON, and no text that could be sent on.
    return {
        name: value.encode(errors="replace").decode()
        for name, value in metadata.items()
        if isinstance(value, str)
    }


def _not_safetensors(start: bytes, size: int, length: int) -> LoraUnreadable:
    """The usual suspects by their first bytes."""
    text = start.lstrip().lower()
    if not start:
        return LoraUnreadable("This file is empty.")
    if text.startswith((b"<!doctype", b"<html")):
        return LoraUnreadable(
            "This is a web page, not a LoRA.", "Download the file itself; a login may be needed."
        )
    if text.startswith(b"version https://git-lfs"):
        return LoraUnreadable(
            "This is a Git LFS pointer, not the file itself.", "Run: git lfs pull"
        )
    if start.startswith(b"PK\x03\x04"):
        return LoraUnreadable("This is a zip archive or a PyTorch pickle, not safetensors.")
    if start.startswith(b"\x80"):
        return LoraUnreadable("This is a pickle, which could run code: it is not opened.")
    if start.startswith(b"\x1f\x8b"):
        return LoraUnreadable("This is a gzip archive, not safetensors.")
    if start[8:9] == b"{" and length > size:
        return LoraUnreadable("This file is cut off. Download it again.")
    if start[8:9] == b"{":
        return LoraUnreadable("The header of this file is damaged or too large.")
    return LoraUnreadable("This is not a safetensors file.")


def plan_file(header: Header, targets: Targets, stream: BinaryIO | None = None) -> Plan:
    """The plan for a whole file, with the types checked, and the values too that a `stream`
    that can seek gives: alphas, and whole differences that are zero.

    Raises LoraMisfit, LoraUnreadable.
    """
    found = plan(header.shapes, header.metadata, targets)
    for piece in found.pieces:
        for name in piece.method.tensors.values():
            if header.tensors[name].dtype not in FLOATS:
                raise LoraUnreadable(f"{name[:80]} is not made of floating point numbers.")
        if stream and piece.alpha:
            number(header.tensors[piece.alpha], piece.alpha, stream)
    return _without_empty(found, header, stream) if stream else found


def _without_empty(found: Plan, header: Header, stream: BinaryIO) -> Plan:
    """ComfyUI writes biases and norms that differ by nothing."""
    pieces, empty = [], []
    for piece in found.pieces:
        name = piece.method.tensors.get("diff")
        if name and _is_zero(header.tensors[name], stream):
            empty.append(name)
        else:
            pieces.append(piece)
    if not pieces:
        raise LoraMisfit("This LoRA changes nothing: all that it holds is zero.")
    return replace(found, pieces=tuple(pieces), empty=tuple(empty))


def number(tensor: Tensor, name: str, stream: BinaryIO) -> float:
    """The one value of an alpha. Raises LoraUnreadable unless it is finite and not negative."""
    stream.seek(tensor.start)
    raw = stream.read(tensor.end - tensor.start)
    value = _decoded(raw, tensor.dtype)
    if value is None or not math.isfinite(value) or value < 0:
        raise LoraUnreadable(f"{name[:80]} is {value}: a LoRA's alpha can't be that.")
    return value


def _decoded(raw: bytes, dtype: str) -> float | None:
    codes = {"F64": "<d", "F32": "<f", "F16": "<e", "I64": "<q", "I32": "<i", "I16": "<h"}
    if dtype == "BF16":  # the upper half of an F32
        return float(struct.unpack("<f", b"\0\0" + raw)[0])
    return float(struct.unpack(codes[dtype], raw)[0]) if dtype in codes else None


def _is_zero(tensor: Tensor, stream: BinaryIO) -> bool:
    stream.seek(tensor.start)
    left = tensor.end - tensor.start
    while left > 0:
        chunk = stream.read(min(left, _CHUNK))
        if not chunk or chunk.count(0) != len(chunk):
            return False
        left -= len(chunk)
    return True


def inspect(stream: BinaryIO, size: int, targets: Targets, base_name: str) -> tuple[Fit, Header]:
    """The fit report on a file, which never fails for a file that is safetensors at all.

    Raises LoraUnreadable.
    """
    header = read_header(stream, size)
    values = stream if stream.seekable() else None
    try:
        found = plan_file(header, targets, values)
    except LoraError as error:
        return _unfit(header, error), header
    alphas = {
        number(header.tensors[piece.alpha], piece.alpha, stream)
        for piece in found.pieces
        if values and piece.alpha
    }
    fit = Fit(
        format=found.format,
        rank=_rank(found.pieces),
        alpha=alphas.pop() if len(alphas) == 1 else None,
        base_family=_family(header, base_name),
        layers=len(found.layers),
        layers_total=len(found.layers),
        fits=True,
        verdict=_verdict(found, targets, base_name),
        left_out=found.left_out,
    )
    return fit, header


def _rank(pieces: tuple[Piece, ...]) -> int:
    """Fused layers may hold three ranks in one; most layers have the one that was trained."""
    ranks = [piece.method.rank for piece in pieces if piece.method.rank]
    return mode(ranks) if ranks else 0


def _verdict(found: Plan, targets: Targets, base_name: str) -> str:
    total = sum(len(shape) == 2 and not in_text_encoders(name) for name, shape in targets.items())
    of_text = sum(map(in_text_encoders, found.layers))
    words = f"Fits {base_name}: {len(found.layers) - of_text} of {total} layers"
    words += f", and {of_text} of its text encoders." if of_text else "."
    if found.left_out:
        words += f" Left out: {found.left_out[0][:80]}"
        words += f" and {len(found.left_out) - 1} more." if len(found.left_out) > 1 else "."
    return words


def _family(header: Header, base_name: str) -> str:
    """FLUX.1's own sizes are FLUX.1's, whichever of its models runs; others belong to this one."""
    family = family_of(header.shapes)
    return family if family == FLUX1 else base_name


def _unfit(header: Header, error: LoraError) -> Fit:
    return Fit(
        format=format_of(header.shapes),
        rank=0,
        alpha=None,
        base_family=family_of(header.shapes) or "unknown",
        layers=0,
        layers_total=sum(1 for name in header.tensors if name.endswith((".alpha", "down.weight"))),
        fits=False,
        verdict=error.message,
    )


def tensors_sha256(path: Path) -> str:
    """The hash of what the LoRA is: its tensors and their names, not what is said about them."""
    with opened(path) as (stream, size):
        header = read_header(stream, size)
        digest = hashlib.sha256(_names(header))
        stream.seek(header.data)
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _names(header: Header) -> bytes:
    entries = {
        name: [tensor.dtype, tensor.shape, tensor.start - header.data, tensor.end - header.data]
        for name, tensor in header.tensors.items()
    }
    # PEFT's metadata has the scale, so it belongs to what the LoRA does.
    scale = header.metadata.get("lora_adapter_metadata", "")
    return json.dumps([entries, scale], sort_keys=True).encode()
