"""A LoRA's file → what it does to each tensor of the base model, with alpha inside: the one form
that the merge takes.

Follows the plan of `layouts.py`, so what the fit report says is what happens here. diffusers and
peft never see a LoRA.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path

import torch
from torch import Tensor

from fluxui.errors import LoraUnreadable
from fluxui.loras import header
from fluxui.loras.changes import Change, largest
from fluxui.loras.header import Header, number, plan_file, read_header
from fluxui.loras.layouts import Piece, Targets

Pair = tuple[Tensor, Tensor]
Canonical = Mapping[str, "Pair | Change"]

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
# Kept as they are: fp32 is what the merge computes in, and these hold the file's own bits.
_KEPT = frozenset({torch.float32, torch.float16, torch.bfloat16})


def read(path: Path, targets: Targets) -> Canonical:
    """Every tensor of the base model that the file changes → how.

    Under a layer's name, for its weight: mostly (B, A), and the change is B @ A, where B is
    (out_features, rank) and A (rank, in_features); else a Change. Biases and norms stand under
    their own names. All on the CPU. Raises LoraUnreadable, LoraMisfit.
    """
    with header.opened(path) as (stream, size):
        entries = read_header(stream, size)
        plan = plan_file(entries, targets, stream)
        found: dict[str, Pair | Change] = {}
        for piece in plan.pieces:
            for name, change in _changes(piece, entries, stream, targets):
                other = found.get(name)
                if isinstance(other, tuple) and isinstance(change, tuple):
                    change = _joined(other, change)
                found[name] = change
    return found


def _changes(
    piece: Piece, entries: Header, stream: BufferedReader, targets: Targets
) -> Iterator[tuple[str, Pair | Change]]:
    """What one layer of the file does, cut by rows for the layers that it is for."""
    parts = {role: _matrix(name, entries, stream) for role, name in piece.method.tensors.items()}
    scale = piece.factor
    if piece.alpha:
        scale *= number(entries.tensors[piece.alpha], piece.alpha, stream)
    magnitude = parts.pop("magnitude", None)
    cut: list[Pair] | list[Change]
    sizes = [targets[name][0] for name in piece.layers]
    if piece.method.name == "LoRA" and magnitude is None:
        cut = _pairs(piece, parts, scale, sizes)
    else:
        cut = list(_whole(piece, parts, scale, sizes, magnitude))
    yield from zip(piece.layers, cut, strict=True)


def _pairs(piece: Piece, parts: Mapping[str, Tensor], scale: float, sizes: list[int]) -> list[Pair]:
    up, down = parts["up"], parts["down"]
    if scale != 1:
        up = up.float().mul_(scale)
    if piece.swapped:
        up = torch.cat(up.chunk(2)[::-1])
    _check_size(piece, largest(up) * largest(down) * piece.method.rank)
    return [(rows, down) for rows in torch.split(up, sizes)]


def _whole(
    piece: Piece,
    parts: Mapping[str, Tensor],
    scale: float,
    sizes: list[int],
    magnitude: Tensor | None,
) -> Iterator[Change]:
    by_rows = magnitude is not None and magnitude.shape[0] != 1
    if magnitude is not None and by_rows and piece.swapped:
        magnitude = torch.cat(magnitude.chunk(2)[::-1])
    start = 0
    for rows in sizes:
        stop = start + rows
        own = magnitude[start:stop] if magnitude is not None and by_rows else magnitude
        change = Change(piece.method.name, parts, scale, start, stop, piece.swapped, own)
        _check_size(piece, change.bound())
        yield change
        start = stop


def _matrix(name: str, entries: Header, stream: BufferedReader) -> Tensor:
    """One tensor of the file, without the ones at the end that a convolution of 1x1 has."""
    entry = entries.tensors[name]
    raw = torch.empty(entry.end - entry.start, dtype=torch.uint8)
    stream.seek(entry.start)
    if stream.readinto(raw.numpy().data) != len(raw):
        raise LoraUnreadable("This file is cut off. Download it again.")
    tensor = raw.view(_DTYPES[entry.dtype]).view(entry.shape[:2])
    if tensor.dtype not in _KEPT:
        tensor = tensor.float()
    if not math.isfinite(largest(tensor)):
        raise LoraUnreadable(
            f"{name[:80]} holds values that are no numbers (NaN or infinite).",
            "Its training went wrong: use an earlier checkpoint.",
        )
    return tensor


def _check_size(piece: Piece, bound: float) -> None:
    """Finite factors may still have a product that is not."""
    if not math.isfinite(bound) or bound > torch.finfo(torch.float32).max:
        raise LoraUnreadable(f"The weights for {piece.layers[0]} are too large to be true.")


def _joined(one: Pair, two: Pair) -> Pair:
    """Two pairs for one layer add up: their ranks side by side. The plan lets nothing else by."""
    up = torch.cat([one[0].float(), two[0].float()], dim=1)
    return up, torch.cat([one[1].float(), two[1].float()])
