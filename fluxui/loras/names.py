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

# No matrices, so they stand under their tensors' own names.
_DOUBLE_NORMS: dict[str, tuple[str, ...]] = {
    "img_attn.norm.query_norm": ("attn.norm_q.weight",),
    "img_attn.norm.key_norm": ("attn.norm_k.weight",),
    "txt_attn.norm.query_norm": ("attn.norm_added_q.weight",),
    "txt_attn.norm.key_norm": ("attn.norm_added_k.weight",),
}
_SINGLE_NORMS: dict[str, tuple[str, ...]] = {
    "norm.query_norm": ("attn.norm_q.weight",),
    "norm.key_norm": ("attn.norm_k.weight",),
}
# The layers that diffusers itself has, under the names it gives them.
_DIFFUSERS = {
    "transformer_blocks": _DOUBLE | _DOUBLE_NORMS,
    "single_transformer_blocks": _SINGLE | _SINGLE_NORMS,
}


def _flat(name: str) -> str:
    """kohya joins with underscores what others join with dots; both become this."""
    return name.replace(".", "_")


def _by_flat_name() -> dict[str, dict[str, tuple[str, ...]]]:
    own = {
        kind: {name.removesuffix(".weight"): (name,) for names in fused.values() for name in names}
        for kind, fused in _DIFFUSERS.items()
    }
    named = own | {
        "double_blocks": _DIFFUSERS["transformer_blocks"],
        "single_blocks": _DIFFUSERS["single_transformer_blocks"],
    }
    return {
        kind: {_flat(name): layers for name, layers in inside.items()}
        for kind, inside in named.items()
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

# The text encoders: which one a file means, and what it calls the layers inside.
_CLIP_PREFIX = re.compile(r"lora_te1?_|(text_encoders\.)?clip_l\.|text_encoder\.")
_T5_PREFIX = re.compile(r"lora_te[23]_|(text_encoders\.)?t5xxl\.|text_encoder_2\.")
_CLIP_LAYER = re.compile(
    r"(?:transformer_)?(?:text_model_)?encoder_layers_(\d{1,3})_"
    r"(?:(self_attn)_([qkv]_proj|out_proj)|(mlp)_(fc[12]))"
)
_T5_LAYER = re.compile(
    r"(?:transformer_)?encoder_block_(\d{1,3})_layer_"
    r"(?:(0)_(SelfAttention)_([qkvo])|(1)_(DenseReluDense)_(wi_0|wi_1|wo))"
)
_ENCODERS: tuple[tuple[re.Pattern[str], re.Pattern[str], str, tuple[str, ...]], ...] = (
    (_CLIP_PREFIX, _CLIP_LAYER, "text_encoder.encoder.layers", ()),
    (_T5_PREFIX, _T5_LAYER, "text_encoder_2.encoder.block", ("layer",)),
)


def layers_of(path: str) -> tuple[str, ...]:
    """The layers of diffusers behind a file's own name of a layer; () for a name we don't know."""
    path = path.removeprefix(_PREFIXES[0])
    if layer := _of_text_encoders(path):
        return (layer,)
    flat = _flat(stripped(path))
    if match := _BLOCK.fullmatch(flat):
        kind, number, rest = match.groups()
        inside = _IN_BLOCK[kind].get(rest.removesuffix("_scale"), ())
        return tuple(f"{_KIND.get(kind, kind)}.{number}.{layer}" for layer in inside)
    return (_OUTSIDE[flat],) if flat in _OUTSIDE else ()


def _of_text_encoders(path: str) -> str:
    for prefix, layer, kind, inside in _ENCODERS:
        start = prefix.match(path)
        found = start and layer.fullmatch(_flat(path[start.end() :]))
        if found:
            number, *rest = filter(None, found.groups())
            return ".".join((kind, number, *inside, *rest))
    return ""


def in_text_encoders(layer: str) -> bool:
    """Whether a layer, by its name in diffusers, is one of CLIP's or T5's."""
    return layer.startswith(("text_encoder.", "text_encoder_2."))


def stripped(path: str) -> str:
    """A layer's name without what trainers put before it."""
    for prefix in _PREFIXES:
        # In this order they may stand before one another: base_model.model.transformer.
        path = path.removeprefix(prefix)
    return path


def is_swapped(path: str) -> bool:
    """Whether its two halves stand the other way round in diffusers."""
    return _flat(stripped(path)) == _SWAPPED
