"""The LoRA hot swap: W = W₀ + Σ wᵢ·BᵢAᵢ, written into the transformer's own tensors.

Always from a pristine copy, so a swap costs no precision and 'None' gives back every bit. There is
no wrapper: a step costs the same with and without LoRAs. It knows no file and no layout.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from fluxui.errors import LoraMisfit
from fluxui.pipeline import Adapter, Delta

# What acts on one layer: (sha256, weight) of each adapter, in order.
Signature = tuple[tuple[str, float], ...]

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


class Adapters:
    """The LoRAs of one transformer. `targets`: layer name → (out_features, in_features).

    The pristine copies live on `device` when the weights do, else in the machine's memory beside
    the weights; the sum is computed on `device` either way.
    """

    def __init__(
        self,
        transformer: nn.Module,
        targets: Mapping[str, tuple[int, int]],
        device: torch.device,
        cache: DeltaCache | None = None,
    ) -> None:
        self._weights: Mapping[str, Tensor] = {
            name: transformer.get_parameter(f"{name}.weight") for name in targets
        }
        self._targets = targets
        self._device = device
        self.cache = cache or DeltaCache()
        self._pristine: dict[str, Tensor] = {}
        # None: a write was begun and not finished, so the layer holds neither.
        self._written: dict[str, Signature | None] = {}

    @torch.no_grad()
    def apply(self, adapters: Sequence[Adapter]) -> tuple[int, ...]:
        """Make exactly these act, and no others. How many layers each of them changes.

        Raises LoraMisfit, or what an adapter's `load` raises, before anything is touched.
        """
        deltas = [self.cache.get(adapter) for adapter in adapters]
        for delta in deltas:
            self._check(delta)
        wanted = _wanted(adapters, deltas)
        for name in sorted(self._written.keys() | wanted.keys()):
            signature = wanted.get(name, ())
            if self._written.get(name, ()) != signature:
                self._write(name, signature, adapters, deltas)
        return tuple(len(delta) for delta in deltas)

    def _check(self, delta: Delta) -> None:
        if not delta:
            raise LoraMisfit("This LoRA changes no layer.")
        for name, (up, down) in delta.items():
            target = self._targets.get(name)
            if target is None:
                raise LoraMisfit(f"The base model has no layer {name}.")
            if (up.shape[0], down.shape[1]) != target or up.shape[1] != down.shape[0]:
                raise LoraMisfit(
                    f"{name} is {target[0]}x{target[1]} in the base model, "
                    f"and {up.shape[0]}x{down.shape[1]} in this LoRA."
                )

    def _write(
        self, name: str, signature: Signature, adapters: Sequence[Adapter], deltas: Sequence[Delta]
    ) -> None:
        weight = self._weights[name]
        if name not in self._pristine:
            self._pristine[name] = weight.detach().clone()
        pristine = self._pristine[name]
        self._written[name] = None
        if signature:
            acting = [
                (adapter.weight, *delta[name])
                for adapter, delta in zip(adapters, deltas, strict=True)
                if name in delta and adapter.weight
            ]
            self._merge(weight, pristine, acting)
        else:
            weight.copy_(pristine)
        self._written[name] = signature

    def _merge(
        self, weight: Tensor, pristine: Tensor, acting: Sequence[tuple[float, Tensor, Tensor]]
    ) -> None:
        """In fp32 and rounded once. Several are one product: their ranks side by side."""
        up, down, scale = self._joined(acting)
        if weight.dtype == torch.float32 and weight.device == self._device:
            torch.addmm(pristine, up, down, alpha=scale, out=weight.data)
        else:
            start = pristine.to(self._device, torch.float32)
            weight.copy_(torch.addmm(start, up, down, alpha=scale))

    def _joined(
        self, acting: Sequence[tuple[float, Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor, float]:
        moved = [(scale, self._ready(up), self._ready(down)) for scale, up, down in acting]
        if len(moved) == 1:
            scale, up, down = moved[0]
            return up, down, scale
        ups = torch.cat([up * scale for scale, up, _ in moved], dim=1)
        return ups, torch.cat([down for *_, down in moved]), 1.0

    def _ready(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device, torch.float32)


def _wanted(adapters: Sequence[Adapter], deltas: Sequence[Delta]) -> dict[str, Signature]:
    """Layer name → what should act on it. A weight of 0 acts on nothing."""
    wanted: dict[str, Signature] = {}
    for adapter, delta in zip(adapters, deltas, strict=True):
        if adapter.weight:
            for name in delta:
                wanted[name] = (*wanted.get(name, ()), (adapter.sha256, adapter.weight))
    return wanted


def _size(delta: Delta) -> int:
    return sum(up.nbytes + down.nbytes for up, down in delta.values())
