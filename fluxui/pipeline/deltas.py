"""The LoRAs used last, in memory, and what is counted of one.

It knows no model: whether a LoRA fits one is for `adapters.py` to say.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor

from fluxui.pipeline import Adapter, Change, Delta

CACHE_BYTES = 2 << 30
_ALIGNED = 256


class DeltaCache:
    """The tensors of the LoRAs used last, by SHA-256, within `limit` bytes. `pinned`: in memory
    that a GPU copies from without waiting for the CPU.
    """

    def __init__(self, limit: int = CACHE_BYTES, pinned: bool = False) -> None:
        self._limit = limit
        self._pinned = pinned
        self._deltas: OrderedDict[str, Delta] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._deltas)

    def get(self, adapter: Adapter) -> Delta:
        """Loads it when it is not here. Raises what `adapter.load` raises."""
        if adapter.sha256 not in self._deltas:
            delta = adapter.load()
            self._keep(adapter.sha256, in_one_piece(delta, pin=True) if self._pinned else delta)
        self._deltas.move_to_end(adapter.sha256)
        return self._deltas[adapter.sha256]

    def _keep(self, sha256: str, delta: Delta) -> None:
        self._deltas[sha256] = delta
        self.bytes += _size(delta)
        while self.bytes > self._limit and len(self._deltas) > 1:
            self.bytes -= _size(self._deltas.popitem(last=False)[1])


def in_one_piece(delta: Delta, pin: bool) -> Delta:
    """The same LoRA with all pairs in one stretch of memory: to pin a thousand takes far longer.
    What several layers share stays shared.
    """
    tensors = {id(tensor): tensor for change in delta.values() for tensor in _parts(change)}
    starts, end = {}, 0
    for key, tensor in tensors.items():
        starts[key] = end
        end += -tensor.nbytes // _ALIGNED * -_ALIGNED
    memory = torch.empty(end, dtype=torch.uint8, pin_memory=pin)
    moved: dict[int, Tensor] = {}
    for key, tensor in tensors.items():
        place = memory[starts[key] : starts[key] + tensor.nbytes]
        moved[key] = place.view(tensor.dtype).view(tensor.shape).copy_(tensor)
    return {
        name: (moved[id(change[0])], moved[id(change[1])]) if isinstance(change, tuple) else change
        for name, change in delta.items()
    }


def _parts(change: tuple[Tensor, Tensor] | Change) -> tuple[Tensor, ...]:
    return change if isinstance(change, tuple) else ()


def count_layers(delta: Delta) -> int:
    """How many layers have their weights changed; biases and norms count where nothing else is."""
    weights = sum(not name.endswith((".bias", ".weight")) for name in delta)
    return weights or len(delta)


def _size(delta: Delta) -> int:
    return sum(
        sum(tensor.nbytes for tensor in change) if isinstance(change, tuple) else change.nbytes
        for change in delta.values()
    )
