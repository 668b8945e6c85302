"""Every layout of a FLUX LoRA, by the names and shapes of its tensors alone: which are used for
which layer of the base model, and which make us refuse the file.

The one mapping that both the fit report and the conversion follow. It opens no file, reads no
values, and knows a base model by its tensors' sizes only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from fluxui.errors import LoraMisfit, LoraUnreadable
from fluxui.loras.families import FLUX1, family_of, is_kin
from fluxui.loras.methods import (
    Method,
    Shape,
    check_magnitude,
    foreign_method,
    method_of,
    role_of,
)
from fluxui.loras.names import is_swapped, layers_of
from fluxui.loras.scales import Scales

Targets = Mapping[str, Shape]

# Words that a trainer taught the text encoders anew: no layer, and nothing to merge them into.
_EMBEDDINGS = re.compile(r"bundle_emb\.")


@dataclass(frozen=True)
class Piece:
    """The tensors that change one layer of the file. `layers`: those of the base model, or the
    tensors of it, that share its rows in this order.

    The scale is `factor` times the value of the tensor `alpha`, or `factor` without one.
    """

    method: Method
    layers: tuple[str, ...]
    factor: float = 1.0
    alpha: str = ""
    swapped: bool = False


@dataclass(frozen=True)
class Plan:
    """What to do with every tensor of a file: it is of a piece, empty, or left out."""

    format: str
    pieces: tuple[Piece, ...]
    left_out: tuple[str, ...]
    empty: tuple[str, ...] = ()

    @property
    def layers(self) -> frozenset[str]:
        """The layers of the base model that it changes."""
        return layers_among(layer for piece in self.pieces for layer in piece.layers)


def layers_among(names: Iterable[str]) -> frozenset[str]:
    """The layers whose weights are meant; biases and norms count only where nothing else is."""
    found = frozenset(names)
    weights = frozenset(name for name in found if not name.endswith((".bias", ".weight")))
    return weights or found


@dataclass
class _Module:
    """The tensors that a file has for one of its own layers, by their role."""

    path: str
    tensors: dict[str, str] = field(default_factory=dict)


def plan(shapes: Mapping[str, Shape], metadata: Mapping[str, str], targets: Targets) -> Plan:
    """Account for every tensor of a file. `shapes`: tensor name → shape.

    Raises LoraMisfit, naming what it is instead, and LoraUnreadable where tensors are missing.
    """
    modules, left_out = _sorted(shapes)
    if not modules:
        raise _refusal(shapes)
    scales = Scales(metadata)
    if scales.dora and not any("magnitude" in module.tensors for module in modules):
        raise LoraUnreadable("This LoRA says it is DoRA, and has no lengths of it.")
    pieces = [piece for module in modules for piece in _pieces(module, shapes, targets, scales)]
    _refuse_doubles(pieces)
    return Plan(format_of(shapes), tuple(pieces), tuple(left_out))


def _sorted(shapes: Mapping[str, Shape]) -> tuple[list[_Module], list[str]]:
    modules: dict[str, _Module] = {}
    left_out = []
    for key in shapes:
        if _EMBEDDINGS.match(key):
            left_out.append(key)
            continue
        found = None if foreign_method(key) else role_of(key)
        if found is None:
            raise _refusal(shapes, key)
        path, role = found
        module = modules.setdefault(path, _Module(path))
        if role in module.tensors:
            raise LoraUnreadable(f"This LoRA has two tensors for {path} ({role}).")
        module.tensors[role] = key
    return list(modules.values()), left_out


def _refusal(shapes: Mapping[str, Shape], key: str = "") -> LoraMisfit:
    family = family_of(shapes)
    if family and not is_kin(family):
        return LoraMisfit(f"This is {family}, not a LoRA for FLUX.1.")
    if not key:
        return LoraMisfit("This file holds no LoRA for the picture model.")
    if method := foreign_method(key):
        return LoraMisfit(
            f"This is {method}, which can't be merged here.", "Train or export it as a plain LoRA."
        )
    return LoraMisfit(f"This file holds a tensor that no FLUX.1 LoRA has: {key[:80]}.")


def _pieces(
    module: _Module, shapes: Mapping[str, Shape], targets: Targets, scales: Scales
) -> Iterator[Piece]:
    """What the file does to one of its layers: to the weight, and to the bias."""
    layers = layers_of(module.path)
    if not layers:
        raise _refusal(shapes, module.path)
    alpha = module.tensors.get("alpha", "")
    if alpha and math.prod(shapes[alpha]) != 1:
        raise LoraUnreadable(f"{alpha[:80]} should be one number.")
    swapped = is_swapped(module.path)
    method = method_of(module.path, module.tensors, shapes)
    factor = 1.0
    if method:
        _check(layers, method.shape, shapes, targets)
        if magnitude := method.tensors.get("magnitude"):
            check_magnitude(module.path, shapes[magnitude], method.shape, len(layers) > 1)
        if method.rank:
            factor = 1 / method.rank if alpha else scales.of(layers[0], method.rank)
        yield Piece(method, layers, factor, alpha if method.rank else "", swapped)
    for role, of_bias, by in (("bias", 1.0, ""), ("scaled bias", factor, alpha)):
        if name := module.tensors.get(role):
            biases = tuple(f"{layer}.bias" for layer in layers)
            _check(biases, shapes[name], shapes, targets)
            bias = Method("full", {"diff": name}, shapes[name], 0)
            yield Piece(bias, biases, of_bias, by, swapped)


def _check(
    names: tuple[str, ...], shape: Shape, shapes: Mapping[str, Shape], targets: Targets
) -> None:
    """The shape is that of these tensors of the base model, one below the other."""
    if missing := [name for name in names if name not in targets]:
        raise _misfit(shapes, f"the base model here has no {missing[0]}.")
    rows, *columns = targets[names[0]]
    expected = (sum(targets[name][0] for name in names), *columns)
    if shape != expected:
        name = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        raise _misfit(
            shapes,
            f"{name} is {_size(expected)} in the base model here, and {_size(shape)} in this LoRA.",
        )


def _size(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "one number"


def _refuse_doubles(pieces: list[Piece]) -> None:
    """Two LoRAs for one layer add up; of anything else there is one."""
    taken: dict[str, Piece] = {}
    for piece in pieces:
        for name in piece.layers:
            other = taken.setdefault(name, piece)
            if other is not piece and not (_is_plain(piece) and _is_plain(other)):
                raise LoraUnreadable(f"This LoRA changes {name} in two ways.")


def _is_plain(piece: Piece) -> bool:
    return piece.method.name == "LoRA" and "magnitude" not in piece.method.tensors


def _misfit(shapes: Mapping[str, Shape], why: str) -> LoraMisfit:
    family = family_of(shapes) or FLUX1
    return LoraMisfit(f"This LoRA is for {family}: {why}") if is_kin(family) else _refusal(shapes)


def format_of(shapes: Mapping[str, Shape]) -> str:
    """What people call the layout, from its names."""
    return next((name for pattern, name in _FORMATS if _any(pattern, shapes)), "LoRA")


def _any(pattern: str, shapes: Mapping[str, Shape]) -> bool:
    return any(re.search(pattern, key) for key in shapes)


_FORMATS = (
    (r"^lora_unet_(double|single)_blocks_", "kohya"),
    (r"^(lora_transformer_|bundle_emb)", "OneTrainer"),
    (r"^lycoris_", "LyCORIS"),
    (r"\.processor\.(qkv|proj)_lora", "XLabs"),
    (r"^diffusion_model\.", "ai-toolkit (ComfyUI names)"),
    (r"^base_model\.model\.", "PEFT"),
    (r"\.lora\.(down|up)\.", "SimpleTuner"),
    (r"^transformer\..*\.lora_[AB]\.", "diffusers"),
    (r"\.lora_[AB]\.default", "DiffSynth"),
)
