"""What a file does to a weight where that is no product of two matrices: LoKr, LoHa, whole
differences, and any of them with DoRA.

Kept as small as the file has it, and made whole for one layer at a time, when it is merged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Change:
    """The change of one tensor of the base model: the rows `start` to `stop` of what the file has
    for a layer of its own. `scale` has alpha in it, not the weight that a person chooses.

    `magnitude` is DoRA's: the length that each row of the sum has, or each column.
    """

    method: str
    parts: Mapping[str, Tensor]
    scale: float
    start: int
    stop: int
    swapped: bool = False
    magnitude: Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the tensor it is for."""
        return (self.stop - self.start, *_columns(self.method, self.parts))

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self.parts.values())

    def delta(self, pristine: Tensor, weight: float) -> Tensor:
        """What to add to `pristine` in fp32, on its device.

        DoRA as peft and LyCORIS define it: m · (W + w·Δ) / ‖W + w·Δ‖ in place of W, so it needs
        the untouched W. (peft, tuners/lora/dora.py; LyCORIS, modules/locon.py.)
        """
        change = self.whole(pristine.device) * weight
        if self.magnitude is None:
            return change
        changed = pristine + change
        magnitude = self.magnitude.to(pristine.device, torch.float32)
        dim = 0 if magnitude.shape[0] == 1 and magnitude.dim() == 2 else 1
        length = torch.linalg.vector_norm(changed, dim=dim, keepdim=True)
        smallest = torch.finfo(torch.float32).tiny
        if dim == 1:
            magnitude = magnitude.reshape(-1, 1)
        lengthened: Tensor = changed * (magnitude / length.clamp(min=smallest))
        return lengthened - pristine

    def whole(self, device: torch.device) -> Tensor:
        """The rows of this layer in fp32, with alpha in them."""
        parts = {role: part.to(device, torch.float32) for role, part in self.parts.items()}
        rows = _WHOLE[self.method](parts)
        if self.swapped:
            rows = torch.cat(rows.chunk(2)[::-1])
        return rows[self.start : self.stop] * self.scale

    def bound(self) -> float:
        """No number of it is larger, at a weight of 1."""
        return _bound(self.method, self.parts) * abs(self.scale)


def largest(tensor: Tensor) -> float:
    """The largest number in it, either sign; not finite if any of them is not."""
    low, high = torch.aminmax(tensor)  # one pass, many times faster than isfinite
    return float(torch.maximum(-low, high))


def _lora(parts: Mapping[str, Tensor]) -> Tensor:
    return parts["up"] @ parts["down"]


def _lokr(parts: Mapping[str, Tensor]) -> Tensor:
    return torch.kron(_factor(parts, "lokr_w1"), _factor(parts, "lokr_w2"))


def _factor(parts: Mapping[str, Tensor], role: str) -> Tensor:
    return parts[role] if role in parts else parts[f"{role}_a"] @ parts[f"{role}_b"]


def _loha(parts: Mapping[str, Tensor]) -> Tensor:
    return _factor(parts, "hada_w1") * _factor(parts, "hada_w2")


def _full(parts: Mapping[str, Tensor]) -> Tensor:
    return parts["diff"]


def _columns(method: str, parts: Mapping[str, Tensor]) -> tuple[int, ...]:
    if method == "LoRA":
        return (parts["down"].shape[1],)
    if method == "LoKr":
        return (_width(parts, "lokr_w1") * _width(parts, "lokr_w2"),)
    if method == "LoHa":
        return (_width(parts, "hada_w1"),)
    return tuple(parts["diff"].shape[1:])


def _width(parts: Mapping[str, Tensor], role: str) -> int:
    return (parts[role] if role in parts else parts[f"{role}_b"]).shape[1]


_WHOLE = {"LoRA": _lora, "LoKr": _lokr, "LoHa": _loha, "full": _full}


def _bound(method: str, parts: Mapping[str, Tensor]) -> float:
    """The largest numbers of all parts, times the lengths of the sums between them."""
    product = 1.0
    for role, part in parts.items():
        product *= largest(part)
        if role in ("down", "lokr_w1_b", "lokr_w2_b", "hada_w1_b", "hada_w2_b"):
            product *= part.shape[0]
    return product
