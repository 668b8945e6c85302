"""Room for LoRAs beside a layer whose weight can't be written: rounded to few bits, or away.

The layer's output is added to by two thin matrices of a fixed size, zero where no LoRA acts. They
are written in place, so there is no wrapper for each LoRA, and nothing to compile anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

SMALLEST_RANK = 32


class Slot:
    """Beside one layer, from now on: to be made before the layer is compiled.

    `shape` is the layer's (out_features, in_features), `dtype` the type that it computes in.
    """

    def __init__(
        self, layer: nn.Module, shape: tuple[int, ...], device: torch.device, dtype: torch.dtype
    ) -> None:
        self._rows, self._columns = shape
        self._device, self._dtype = device, dtype
        self.grow(SMALLEST_RANK)
        layer.register_forward_hook(self._add)

    def grow(self, rank: int) -> None:
        """Make room for this many ranks. What was in it is gone."""
        self._up = torch.zeros(self._rows, rank, device=self._device, dtype=self._dtype)
        self._down = torch.zeros(rank, self._columns, device=self._device, dtype=self._dtype)

    def write(self, pairs: Sequence[tuple[float, tuple[Tensor, Tensor]]]) -> None:
        """Exactly these, side by side, each times its weight. With none it adds zero."""
        start = 0
        for weight, (up, down) in pairs:
            stop = start + down.shape[0]
            scaled = up.to(self._device, non_blocking=True).to(torch.float32) * weight
            self._up[:, start:stop].copy_(scaled)
            self._down[start:stop].copy_(down, non_blocking=True)
            start = stop
        self._up[:, start:].zero_()
        self._down[start:].zero_()

    def _add(self, layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
        thin = nn.functional.linear(given[0].to(self._dtype), self._down)
        return output + nn.functional.linear(thin, self._up).to(output.dtype)


def room_for(ranks: int) -> int:
    """The rank of a slot that takes this many: a power of two, so that it seldom grows."""
    return max(SMALLEST_RANK, 1 << (ranks - 1).bit_length())
