"""A LoRA's file → layer name → (B, A), with the scale in B: the one form that the merge takes.

Follows the plan of `layouts.py`, so what the fit report says is what happens here. This is the
only file of the folder that imports torch; diffusers and peft never see a LoRA.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from fluxui.errors import LoraUnreadable
from fluxui.loras import header
from fluxui.loras.header import Header, number, plan_file, read_header
from fluxui.loras.layouts import Piece, Targets

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


def read(path: Path, targets: Targets) -> Mapping[str, tuple[Tensor, Tensor]]:
    """Every layer that the file changes → (B, A): its weight's delta is B @ A.

    B is (out_features, rank) and A (rank, in_features), on the CPU. Raises LoraUnreadable,
    LoraMisfit.
    """
    with header.opened(path) as (stream, size):
        entries = read_header(stream, size)
        plan = plan_file(entries, targets, stream)
        delta: dict[str, tuple[Tensor, Tensor]] = {}
        for piece in plan.pieces:
            for layer, pair in _pairs(piece, entries, stream, targets):
                delta[layer] = _joined(delta[layer], pair) if layer in delta else pair
    return delta


def _pairs(
    piece: Piece, entries: Header, stream: BinaryIO, targets: Targets
) -> list[tuple[str, tuple[Tensor, Tensor]]]:
    """One pair of the file, cut by rows into the pairs of the layers that it is for."""
    down = _matrix(piece.down, entries, stream)
    up = _matrix(piece.up, entries, stream)
    scale = piece.factor
    if piece.alpha:
        scale *= number(entries.tensors[piece.alpha], piece.alpha, stream)
    if scale != 1:
        up = up.float() * scale
    if piece.swapped:
        up = torch.cat(up.chunk(2)[::-1])
    _check_product(piece, up, down)
    pairs, start = [], 0
    for layer in piece.layers:
        rows = targets[layer][0]
        pairs.append((layer, (up[start : start + rows], down)))
        start += rows
    return pairs


def _matrix(name: str, entries: Header, stream: BinaryIO) -> Tensor:
    entry = entries.tensors[name]
    stream.seek(entry.start)
    raw = bytearray(stream.read(entry.end - entry.start))
    tensor = torch.frombuffer(raw, dtype=_DTYPES[entry.dtype]).view(entry.shape[:2])
    if tensor.dtype not in _KEPT:
        tensor = tensor.float()
    if not tensor.isfinite().all():
        raise LoraUnreadable(
            f"{name[:80]} holds values that are no numbers (NaN or infinite).",
            "Its training went wrong: use an earlier checkpoint.",
        )
    return tensor


def _check_product(piece: Piece, up: Tensor, down: Tensor) -> None:
    """Finite factors may still have a product that is not."""
    bound = float(up.abs().max()) * float(down.abs().max()) * piece.rank
    if not math.isfinite(bound) or bound > torch.finfo(torch.float32).max:
        raise LoraUnreadable(f"The weights for {piece.layers[0]} are too large to be true.")


def _joined(one: tuple[Tensor, Tensor], two: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Two pairs for one layer add up: their ranks side by side."""
    up = torch.cat([one[0].float(), two[0].float()], dim=1)
    return up, torch.cat([one[1].float(), two[1].float()])
