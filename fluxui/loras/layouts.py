"""Every layout of a FLUX LoRA, by the names and shapes of its tensors alone: which are used for
which layer of the base model, and which make us refuse the file.

The one mapping that both the fit report and the conversion follow. It opens no file, reads no
values, and knows a base model by its layers' sizes only.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from fluxui.errors import LoraMisfit, LoraUnreadable
from fluxui.loras.families import FLUX1, family_of, is_kin

Shape = tuple[int, ...]
Targets = Mapping[str, tuple[int, int]]

MAX_RANK = 4096

_QKV = ("attn.to_q", "attn.to_k", "attn.to_v")
_ADDED_QKV = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")
_LINEAR1 = (*_QKV, "proj_mlp")

# Names of Black Forest Labs and XLabs inside a block → the layers of diffusers, whose rows are
# those of the fused layer in this order.
_DOUBLE: dict[str, tuple[str, ...]] = {
    "img_attn.qkv": _QKV,
    "txt_attn.qkv": _ADDED_QKV,
    "img_attn.proj": ("attn.to_out.0",),
    "txt_attn.proj": ("attn.to_add_out",),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
    "img_mod.lin": ("norm1.linear",),
    "txt_mod.lin": ("norm1_context.linear",),
    "processor.qkv_lora1": _QKV,
    "processor.qkv_lora2": _ADDED_QKV,
    "processor.proj_lora1": ("attn.to_out.0",),
    "processor.proj_lora2": ("attn.to_add_out",),
    **{f"img_attn.qkv.{part}": (name,) for part, name in enumerate(_QKV)},
    **{f"txt_attn.qkv.{part}": (name,) for part, name in enumerate(_ADDED_QKV)},
}
_SINGLE: dict[str, tuple[str, ...]] = {
    "linear1": _LINEAR1,
    "linear1_qkv": _QKV,
    "linear2": ("proj_out",),
    "modulation.lin": ("norm.linear",),
    "processor.qkv_lora": _QKV,
    "processor.proj_lora": ("proj_out",),
    **{f"linear1.{part}": (name,) for part, name in enumerate(_LINEAR1)},
}
_OUTER = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
    "final_layer.linear": "proj_out",
}
# Black Forest Labs writes (shift, scale) there, diffusers (scale, shift).
_SWAPPED = "final_layer_adaLN_modulation_1"

# The layers that diffusers itself has, under the names it gives them.
_DIFFUSERS = {
    "transformer_blocks": {name for names in _DOUBLE.values() for name in names},
    "single_transformer_blocks": {name for names in _SINGLE.values() for name in names},
}


def _flat(name: str) -> str:
    """kohya joins with underscores what others join with dots; both become this."""
    return name.replace(".", "_")


def _by_flat_name() -> dict[str, dict[str, tuple[str, ...]]]:
    return {
        "double_blocks": {_flat(name): layers for name, layers in _DOUBLE.items()},
        "single_blocks": {_flat(name): layers for name, layers in _SINGLE.items()},
        **{kind: {_flat(name): (name,) for name in names} for kind, names in _DIFFUSERS.items()},
    }


_IN_BLOCK = _by_flat_name()
_OUTSIDE = {_flat(bfl): name for bfl, name in _OUTER.items()} | {
    _flat(name): name for name in _OUTER.values()
}
_KIND = {"double_blocks": "transformer_blocks", "single_blocks": "single_transformer_blocks"}
_BLOCK = re.compile(
    r"(single_transformer_blocks|transformer_blocks|double_blocks|single_blocks)_(\d{1,4})_(.+)"
)

_PREFIXES = (
    "base_model.model.",
    "model.diffusion_model.",
    "diffusion_model.",
    "transformer.",
    "lora_unet_",
    "lora_transformer_",
    "lycoris_",
)
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
    scales = _Scales(metadata)
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


def layers_of(path: str) -> tuple[str, ...]:
    """The layers of diffusers behind a file's own name of a layer; () for a name we don't know."""
    flat = _flat(stripped(path))
    if match := _BLOCK.fullmatch(flat):
        kind, number, rest = match.groups()
        inside = _IN_BLOCK[kind].get(rest, ())
        return tuple(f"{_KIND.get(kind, kind)}.{number}.{layer}" for layer in inside)
    return (_OUTSIDE[flat],) if flat in _OUTSIDE else ()


def stripped(path: str) -> str:
    """A layer's name without what trainers put before it."""
    for prefix in _PREFIXES:
        # In this order they may stand before one another: base_model.model.transformer.
        path = path.removeprefix(prefix)
    return path


def _piece(
    module: _Module, shapes: Mapping[str, Shape], targets: Targets, scales: _Scales
) -> Piece:
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
    swapped = _flat(stripped(module.path)) == _SWAPPED
    return Piece(down, up, layers, rank, factor, alpha, swapped)


def _check(
    layers: tuple[str, ...], down: Shape, up: Shape, shapes: Mapping[str, Shape], targets: Targets
) -> int:
    """The rank, once the shapes are those of these layers of the base model."""
    if (missing := [layer for layer in layers if layer not in targets]) or not targets:
        family = family_of(shapes)
        kind = "FLUX.1" if family in ("", FLUX1) else family
        raise LoraMisfit(f"This LoRA is for {kind}: the base model here has no {missing[0]}.")
    rows, columns = sum(targets[layer][0] for layer in layers), targets[layers[0]][1]
    if any(size != 1 for size in (*down[2:], *up[2:])) or min(len(down), len(up)) < 2:
        raise LoraUnreadable(f"The tensors for {layers[0]} are no matrices.")
    if down[0] != up[1] or not 1 <= down[0] <= MAX_RANK:
        raise LoraUnreadable(f"The ranks for {layers[0]} do not agree: {down[0]} and {up[1]}.")
    if (up[0], down[1]) != (rows, columns):
        raise LoraMisfit(_wrong_size(layers, (up[0], down[1]), (rows, columns), shapes))
    return down[0]


def _wrong_size(
    layers: tuple[str, ...],
    has: tuple[int, int],
    wants: tuple[int, int],
    shapes: Mapping[str, Shape],
) -> str:
    family = family_of(shapes) or FLUX1
    name = layers[0] if len(layers) == 1 else f"{layers[0]} and {len(layers) - 1} more"
    return (
        f"This LoRA is for {family}: {name} is {wants[0]}x{wants[1]} in the base model here, "
        f"and {has[0]}x{has[1]} in this LoRA."
    )


class _Scales:
    """The scale of layers without an alpha tensor: 1, or what PEFT's own metadata says.

    Only numbers and plain names are taken from it, nothing that is allocated or run.
    """

    def __init__(self, metadata: Mapping[str, str]) -> None:
        self._config = _peft_config(metadata)
        if self._config.get("use_dora"):
            raise LoraMisfit("This is DoRA, which is not merged here yet.")

    def of(self, layer: str, rank: int) -> float:
        alpha = _pattern(self._config.get("alpha_pattern"), layer, self._config.get("lora_alpha"))
        if alpha is None:
            return 1.0
        if isinstance(alpha, bool) or not isinstance(alpha, (int, float)):
            raise LoraUnreadable("lora_alpha in this LoRA's metadata is no number.")
        if not (math.isfinite(alpha) and alpha >= 0):
            raise LoraUnreadable(f"lora_alpha in this LoRA's metadata is {alpha}.")
        return alpha / (math.sqrt(rank) if self._config.get("use_rslora") else rank)


def _peft_config(metadata: Mapping[str, str]) -> dict[str, object]:
    """`lora_adapter_metadata`, as diffusers writes it: one part's fields behind `transformer.`."""
    try:
        fields = json.loads(metadata.get("lora_adapter_metadata", "{}"))
    except ValueError:
        raise LoraUnreadable("lora_adapter_metadata of this LoRA is no JSON.") from None
    if not isinstance(fields, dict):
        raise LoraUnreadable("lora_adapter_metadata of this LoRA is no table.")
    return {name.removeprefix("transformer."): value for name, value in fields.items()}


def _pattern(patterns: object, layer: str, default: object) -> object:
    """PEFT matches whole names or their ends; patterns that are more than a name are refused."""
    for name, value in (patterns if isinstance(patterns, dict) else {}).items():
        plain = name.removeprefix("^").replace("\\.", ".")
        if not re.fullmatch(r"[\w.]+", plain):
            raise LoraUnreadable("alpha_pattern in this LoRA's metadata has more than names.")
        if layer == plain or layer.endswith(f".{plain}"):
            return value
    return default


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
