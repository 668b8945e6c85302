"""The LoRA hot swap: W = W₀ + Σ wᵢ·BᵢAᵢ, written into the model's own tensors.

Always from a pristine copy, so a swap costs no precision and 'None' gives back every bit. There is
no wrapper: a step costs the same with and without LoRAs. Where a weight can't be written, what is
added stands in a slot beside its layer instead. It knows no file and no layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from fluxui.errors import LoraMisfit
from fluxui.pipeline import Adapter, Change, Delta
from fluxui.pipeline.deltas import DeltaCache, count_layers
from fluxui.pipeline.slots import SMALLEST_RANK, Slot, room_for

# What acts on one tensor: (sha256, weight) of each adapter, in order.
Signature = tuple[tuple[str, float], ...]
# One adapter's part in that: its weight, and its change.
Acting = tuple[float, "tuple[Tensor, Tensor] | Change"]

_WRITABLE = frozenset({torch.float32, torch.bfloat16, torch.float16})


class Adapters:
    """The LoRAs of one transformer and its text encoders, which `targets` has behind their names.
    `targets`: layer → (out_features, in_features), and the names of tensors that are no matrices.

    `pristine` is the device of the untouched copies, which are made when a weight is first
    written: None for where the weight is. "" keeps none but of biases and norms: then LoRAs act
    beside every layer, as they do beside each whose weight is not one of plain numbers. Sums are
    computed on `device`, whatever is where.
    """

    def __init__(
        self,
        transformer: nn.Module,
        targets: Mapping[str, tuple[int, ...]],
        device: torch.device,
        cache: DeltaCache | None = None,
        encoders: Mapping[str, nn.Module] | None = None,
        pristine: str | None = None,
    ) -> None:
        self._transformer = transformer
        self._encoders = encoders or {}
        self._targets = targets
        self._device = device
        self._keep_on = pristine or None
        self.cache = cache or DeltaCache(pinned=device.type == "cuda")
        # What acts on the text encoders now: prompts encoded with the same can be used again.
        self.on_text: Signature = ()
        self._weights: dict[str, Tensor] = {}
        self._pristine: dict[str, Tensor] = {}
        # None: a write was begun and not finished, so the tensor holds neither.
        self._written: dict[str, Signature | None] = {}
        self._slots = dict(self._make_slots(everywhere=pristine == ""))
        self._room = SMALLEST_RANK

    def _make_slots(self, everywhere: bool) -> Iterator[tuple[str, Slot]]:
        types: dict[str, torch.dtype] = {}
        for name, shape in self._targets.items():
            if len(shape) != 2:
                continue
            part, path = self._part(name)
            module = self._encoders.get(part, self._transformer)
            layer = module.get_submodule(path)
            if everywhere or not _is_writable(layer):
                if part not in types:
                    types[part] = _computes_in(module)
                yield name, Slot(layer, shape, self._device, types[part])

    @torch.no_grad()
    def apply(self, adapters: Sequence[Adapter]) -> tuple[int, ...]:
        """Make exactly these act, and no others. How many layers each of them changes.

        Raises LoraMisfit, or what an adapter's `load` raises, before anything is touched.
        """
        deltas = [self.cache.get(adapter) for adapter in adapters]
        for delta in deltas:
            self._check(delta)
        wanted = _wanted(adapters, deltas)
        self._make_room([delta for one, delta in zip(adapters, deltas, strict=True) if one.weight])
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
            if name in self._slots and not isinstance(change, tuple):
                raise LoraMisfit(
                    "This LoRA changes whole weights (LoKr, LoHa, DoRA or differences), which this "
                    "device keeps rounded or away.",
                    "Use a plain LoRA, or a device with more memory.",
                )

    def _make_room(self, deltas: Sequence[Delta]) -> None:
        """All slots grow at once, and never shrink: for compiled code their size is their type."""
        ranks = (
            sum(_rank(delta[name]) for delta in deltas if name in delta) for name in self._slots
        )
        room = room_for(max(ranks, default=0))
        if room <= self._room:
            return
        for name, slot in self._slots.items():
            self._written[name] = None
            slot.grow(room)
        self._room = room

    def _write(
        self, name: str, signature: Signature, adapters: Sequence[Adapter], deltas: Sequence[Delta]
    ) -> None:
        acting = [
            (adapter.weight, delta[name])
            for adapter, delta in zip(adapters, deltas, strict=True)
            if name in delta and adapter.weight
        ]
        self._written[name] = None
        if name in self._slots:
            self._slots[name].write(_pairs(acting))
        elif signature:
            self._merge(self._weight(name), self._untouched(name), acting)
        else:
            self._weight(name).copy_(self._untouched(name))
        self._written[name] = signature

    def _untouched(self, name: str) -> Tensor:
        if name not in self._pristine:
            weight = self._weight(name).detach()
            self._pristine[name] = weight.to(self._keep_on or weight.device, copy=True)
        return self._pristine[name]

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
        pairs = _pairs(acting)
        there = weight.device == pristine.device == self._device
        if len(pairs) == len(acting) and there and weight.dtype == torch.float32:
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
        return tensor.to(self._device, non_blocking=True).to(torch.float32)


def _is_writable(layer: nn.Module) -> bool:
    """Whether its weight is a matrix of numbers, and not what some library makes of one."""
    if type(layer) is not nn.Linear:
        return False
    return layer.weight.dtype in _WRITABLE and type(layer.weight.data) is Tensor


def _computes_in(module: nn.Module) -> torch.dtype:
    """The type of its biases and norms, which nobody rounds."""
    vectors = (one.dtype for one in module.parameters() if one.dim() == 1)
    return next((dtype for dtype in vectors if dtype in _WRITABLE), torch.float32)


def _pairs(acting: Sequence[Acting]) -> list[tuple[float, tuple[Tensor, Tensor]]]:
    return [(scale, change) for scale, change in acting if isinstance(change, tuple)]


def _rank(change: tuple[Tensor, Tensor] | Change) -> int:
    return change[1].shape[0] if isinstance(change, tuple) else 0


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
