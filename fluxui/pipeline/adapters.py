"""The LoRA hot swap: W = W₀ + Σ wᵢ·BᵢAᵢ, written into the model's own tensors.

Always from a pristine copy, so a swap costs no precision and 'None' gives back every bit. There is
no wrapper: a step costs the same with and without LoRAs. It knows no file and no layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from fluxui.errors import LoraMisfit
from fluxui.pipeline import Adapter, Change, Delta
from fluxui.pipeline.deltas import DeltaCache, count_layers

# What acts on one tensor: (sha256, weight) of each adapter, in order.
Signature = tuple[tuple[str, float], ...]
# One adapter's part in that: its weight, and its change.
Acting = tuple[float, "tuple[Tensor, Tensor] | Change"]


class Adapters:
    """The LoRAs of one transformer and its text encoders, which `targets` has behind their names.
    `targets`: layer → (out_features, in_features), and the names of tensors that are no matrices.

    The pristine copies live on `device` when the weights do, else in the machine's memory beside
    the weights; the sum is computed on `device` either way.
    """

    def __init__(
        self,
        transformer: nn.Module,
        targets: Mapping[str, tuple[int, ...]],
        device: torch.device,
        cache: DeltaCache | None = None,
        encoders: Mapping[str, nn.Module] | None = None,
    ) -> None:
        self._transformer = transformer
        self._encoders = encoders or {}
        self._targets = targets
        self._device = device
        self.cache = cache or DeltaCache()
        # What acts on the text encoders now: prompts encoded with the same can be used again.
        self.on_text: Signature = ()
        self._weights: dict[str, Tensor] = {}
        self._pristine: dict[str, Tensor] = {}
        # None: a write was begun and not finished, so the tensor holds neither.
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
        self.on_text = tuple(
            (adapter.sha256, adapter.weight)
            for adapter, delta in zip(adapters, deltas, strict=True)
            if adapter.weight and any(self._part(name)[0] in self._encoders for name in delta)
        )
        return tuple(map(count_layers, deltas))

    def _check(self, delta: Delta) -> None:
        if not delta:
            raise LoraMisfit("This LoRA changes no layer.")
        for name, change in delta.items():
            target = self._targets.get(name)
            if target is None:
                raise LoraMisfit(f"The base model has no layer {name}.")
            shape = _shape(change)
            if shape != target:
                raise LoraMisfit(
                    f"{name} is {_size(target)} in the base model, and {_size(shape)} in this LoRA."
                )

    def _write(
        self, name: str, signature: Signature, adapters: Sequence[Adapter], deltas: Sequence[Delta]
    ) -> None:
        weight = self._weight(name)
        if name not in self._pristine:
            self._pristine[name] = weight.detach().clone()
        pristine = self._pristine[name]
        self._written[name] = None
        if signature:
            acting = [
                (adapter.weight, delta[name])
                for adapter, delta in zip(adapters, deltas, strict=True)
                if name in delta and adapter.weight
            ]
            self._merge(weight, pristine, acting)
        else:
            weight.copy_(pristine)
        self._written[name] = signature

    def _weight(self, name: str) -> Tensor:
        """The tensor itself, looked up once: it is never replaced, only written."""
        if name not in self._weights:
            part, path = self._part(name)
            module = self._encoders.get(part, self._transformer)
            path = path if path.endswith((".bias", ".weight")) else f"{path}.weight"
            self._weights[name] = module.get_parameter(path)
        return self._weights[name]

    def _part(self, name: str) -> tuple[str, str]:
        """The text encoder that a name is behind, "" for the transformer, and the name in it."""
        part, _, path = name.partition(".")
        return (part, path) if part in self._encoders else ("", name)

    def _merge(self, weight: Tensor, pristine: Tensor, acting: Sequence[Acting]) -> None:
        """In fp32 and rounded once. Several pairs are one product: their ranks side by side."""
        pairs = [(scale, change) for scale, change in acting if isinstance(change, tuple)]
        if (
            len(pairs) == len(acting)
            and weight.dtype == torch.float32
            and weight.device == self._device
        ):
            up, down, scale = self._joined(pairs)
            torch.addmm(pristine, up, down, alpha=scale, out=weight.data)
            return
        start = pristine.to(self._device, torch.float32)
        total = start
        for scale, change in acting:
            if not isinstance(change, tuple):
                total = total + change.delta(start, scale)
        if pairs:
            up, down, scale = self._joined(pairs)
            total = torch.addmm(total, up, down, alpha=scale)
        weight.copy_(total)

    def _joined(
        self, acting: Sequence[tuple[float, tuple[Tensor, Tensor]]]
    ) -> tuple[Tensor, Tensor, float]:
        moved = [(scale, self._ready(up), self._ready(down)) for scale, (up, down) in acting]
        if len(moved) == 1:
            scale, up, down = moved[0]
            return up, down, scale
        ups = torch.cat([up * scale for scale, up, _ in moved], dim=1)
        return ups, torch.cat([down for *_, down in moved]), 1.0

    def _ready(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device, torch.float32)


def _shape(change: tuple[Tensor, Tensor] | Change) -> tuple[int, ...]:
    """That of the tensor it is for; of two matrices that can't be multiplied, none."""
    if not isinstance(change, tuple):
        return change.shape
    up, down = change
    return (up.shape[0], down.shape[1]) if up.shape[1] == down.shape[0] else ()


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "two that do not belong together"


def _wanted(adapters: Sequence[Adapter], deltas: Sequence[Delta]) -> dict[str, Signature]:
    """Tensor → what should act on it. A weight of 0 acts on nothing."""
    wanted: dict[str, Signature] = {}
    for adapter, delta in zip(adapters, deltas, strict=True):
        if adapter.weight:
            for name in delta:
                wanted[name] = (*wanted.get(name, ()), (adapter.sha256, adapter.weight))
    return wanted
