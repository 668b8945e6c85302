"""The LoRAs used last, in memory, and what is counted of one.

It knows no model: whether a LoRA fits one is for `adapters.py` to say.
"""

from __future__ import annotations

from collections import OrderedDict

from fluxui.pipeline import Adapter, Delta

CACHE_BYTES = 2 << 30


class DeltaCache:
    """The tensors of the LoRAs used last, by SHA-256, within `limit` bytes."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._deltas: OrderedDict[str, Delta] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._deltas)

    def get(self, adapter: Adapter) -> Delta:
        """Loads it when it is not here. Raises what `adapter.load` raises."""
        if adapter.sha256 not in self._deltas:
            self._keep(adapter.sha256, adapter.load())
        self._deltas.move_to_end(adapter.sha256)
        return self._deltas[adapter.sha256]

    def _keep(self, sha256: str, delta: Delta) -> None:
        self._deltas[sha256] = delta
        self.bytes += _size(delta)
        while self.bytes > self._limit and len(self._deltas) > 1:
            self.bytes -= _size(self._deltas.popitem(last=False)[1])


def count_layers(delta: Delta) -> int:
    """How many layers have their weights changed; biases and norms count where nothing else is."""
    weights = sum(not name.endswith((".bias", ".weight")) for name in delta)
    return weights or len(delta)


def _size(delta: Delta) -> int:
    return sum(
        sum(tensor.nbytes for tensor in change) if isinstance(change, tuple) else change.nbytes
        for change in delta.values()
    )
