"""A layer's name in a LoRA's file → the layers of diffusers that it means.

Every trainer has its own spelling of the same few layers. Depth and width are not known here.
"""

from __future__ import annotations

import re

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


def is_swapped(path: str) -> bool:
    """Whether its two halves stand the other way round in diffusers."""
    return _flat(stripped(path)) == _SWAPPED
