"""Every layout of a FLUX LoRA, by the names and shapes of its tensors alone: which are used for
which layer of the base model, and which make us refuse the file.

The one mapping that both the fit report and the conversion follow. It opens no file, reads no
values, and knows a base model by its layers' sizes only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from fluxui.errors import LoraMisfit, LoraUnreadable
from fluxui.loras.families import FLUX1, family_of, is_kin
from fluxui.loras.names import is_swapped, layers_of
from fluxui.loras.scales import Scales

Shape = tuple[int, ...]
Targets = Mapping[str, tuple[int, int]]

MAX_RANK = 4096

_TEXT_ENCODERS = re.compile(r"(lora_te\d?_|text_encoders?(_2)?\.|(clip_l|t5xxl)\.|bundle_emb)")

# What a tensor is to its layer, by how its name ends. PEFT may put its adapter's name in between.
_ROLES = tuple(
    (re.compile(pattern), role)
    for pattern, role in (
        (r"\.lora_(?:down|A)(?:\.\w+)?\.weight$", "down"),
        (r"\.lora_(?:up|B)(?:\.\w+)?\.weight$", "up"),
        (r"(?:\.lora)?\.down\.weight$", "down"),
        (r"(?:\.lora)?\.up\.weight$", "up"),
        (r"\.alpha$", "alpha"),
        (r"\.(?:diff|diff_b)$", "zero"),
        (r"\.lora_(?:up|B)(?:\.\w+)?\.bias$", "zero"),
    )
)
_REFUSED = (
    (re.compile(r"\.(dora_scale|lora_magnitude_vector)"), "DoRA"),
    (re.compile(r"\.lokr_w"), "LoKr"),
    (re.compile(r"\.hada_w"), "LoHa"),
    (re.compile(r"\.(oft_|boft_)"), "OFT"),
    (re.compile(r"\.lora_mid\."), "a LoRA with a middle tensor"),
)


@dataclass(frozen=True)
class Piece:
    """One pair of tensors. `layers`: those that share the rows of `up`, in this order.

    The scale is `factor` times the value of the tensor `alpha`, or `factor` without one.
    """

    down: str
    up: str
    layers: tuple[str, ...]
    rank: int
    factor: float
    alpha: str = ""
    swapped: bool = False


@dataclass(frozen=True)
class Plan:
    """What to do with every tensor of a file: used, must be zero, or left out."""

    format: str
    pieces: tuple[Piece, ...]
    zero: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def layers(self) -> frozenset[str]:
        """The layers of the base model that it changes."""
        return frozenset(layer for piece in self.pieces for layer in piece.layers)


@dataclass
class _Module:
    """The tensors that a file has for one of its own layers, by their role."""

    path: str
    tensors: dict[str, str] = field(default_factory=dict)


def plan(shapes: Mapping[str, Shape], metadata: Mapping[str, str], targets: Targets) -> Plan:
    """Account for every tensor of a file. `shapes`: tensor name → shape.

    Raises LoraMisfit, naming what it is instead, and LoraUnreadable where tensors are missing.
    """
    modules, zero, left_out = _sorted(shapes)
    if not modules:
        raise _refusal(shapes)
    scales = Scales(metadata)
    pieces = tuple(_piece(module, shapes, targets, scales) for module in modules)
    return Plan(format_of(shapes), pieces, tuple(zero), tuple(left_out))


def _sorted(shapes: Mapping[str, Shape]) -> tuple[list[_Module], list[str], list[str]]:
    modules: dict[str, _Module] = {}
    zero, left_out = [], []
    for key in shapes:
        if _TEXT_ENCODERS.match(key):
            left_out.append(key)
            continue
        _refuse_other_methods(key)
        path, role = _role(key, shapes)
        if role == "zero":
            zero.append(key)
            continue
        module = modules.setdefault(path, _Module(path))
        if role in module.tensors:
            raise LoraUnreadable(f"This LoRA has two tensors for {path} ({role}).")
        module.tensors[role] = key
    return list(modules.values()), zero, left_out


def _refuse_other_methods(key: str) -> None:
    for pattern, name in _REFUSED:
        if pattern.search(key):
            raise LoraMisfit(
                f"This is {name}, which is not merged here yet.",
                "Train or export it as a plain LoRA.",
            )


def _role(key: str, shapes: Mapping[str, Shape]) -> tuple[str, str]:
    for pattern, role in _ROLES:
        if match := pattern.search(key):
            return key[: match.start()], role
    raise _refusal(shapes, key)


def _refusal(shapes: Mapping[str, Shape], key: str = "") -> LoraMisfit:
    family = family_of(shapes)
    if family and not is_kin(family):
        return LoraMisfit(f"This is {family}, not a LoRA for FLUX.1.")
    if not key:
        return LoraMisfit("This file holds no LoRA for the picture model.")
    return LoraMisfit(f"This file holds a tensor that no FLUX.1 LoRA has: {key[:80]}.")


def _piece(module: _Module, shapes: Mapping[str, Shape], targets: Targets, scales: Scales) -> Piece:
    layers = layers_of(module.path)
    if not layers:
        raise _refusal(shapes, module.path)
    down, up = module.tensors.get("down"), module.tensors.get("up")
    if down is None or up is None:
        raise LoraUnreadable(f"This LoRA has half of its tensors for {module.path[:80]}.")
    rank = _check(layers, shapes[down], shapes[up], shapes, targets)
    alpha = module.tensors.get("alpha", "")
    if alpha and math.prod(shapes[alpha]) != 1:
        raise LoraUnreadable(f"{alpha[:80]} should be one number.")
    factor = 1 / rank if alpha else scales.of(layers[0], rank)
    swapped = is_swapped(module.path)
    return Piece(down, up, layers, rank, factor, alpha, swapped)


def _check(
    layers: tuple[str, ...], down: Shape, up: Shape, shapes: Mapping[str, Shape], targets: Targets
) -> int:
    """The rank, once the shapes are those of these layers of the base model."""
    if missing := [layer for layer in layers if layer not in targets]:
        raise _misfit(shapes, f"the base model here has no {missing[0]}.")
    rows, columns = sum(targets[layer][0] for layer in layers), targets[layers[0]][1]
    if any(size != 1 for size in (*down[2:], *up[2:])) or min(len(down), len(up)) < 2:
        raise LoraUnreadable(f"The tensors for {layers[0]} are no matrices.")
    if down[0] != up[1] or not 1 <= down[0] <= MAX_RANK:
        raise LoraUnreadable(f"The ranks for {layers[0]} do not agree: {down[0]} and {up[1]}.")
    if (up[0], down[1]) != (rows, columns):
        name = layers[0] if len(layers) == 1 else f"{layers[0]} and {len(layers) - 1} more"
        raise _misfit(
            shapes,
            f"{name} is {rows}x{columns} in the base model here, "
            f"and {up[0]}x{down[1]} in this LoRA.",
        )
    return down[0]


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
    (r"^lora_transformer_", "OneTrainer"),
    (r"^lycoris_", "LyCORIS"),
    (r"\.processor\.(qkv|proj)_lora", "XLabs"),
    (r"^diffusion_model\.", "ai-toolkit (ComfyUI names)"),
    (r"^base_model\.model\.", "PEFT"),
    (r"\.lora\.(down|up)\.", "SimpleTuner"),
    (r"^transformer\..*\.lora_[AB]\.", "diffusers"),
    (r"\.lora_[AB]\.default", "DiffSynth"),
)
