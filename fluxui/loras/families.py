"""Which family of base models a LoRA was made for, guessed from the names of its tensors.

Only for words: a file is refused because it does not fit, and this says what it is instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

Shape = tuple[int, ...]

FLUX1 = "FLUX.1"
FLUX1_WIDTH = 3072
FLUX2, _FLUX2_WIDTH = "FLUX.2", 6144
_OTHER_WIDTH = "a FLUX that is"

# In this order: the first whose pattern is in any name. What several families share comes last.
_BY_NAME = tuple(
    (re.compile(pattern), family)
    for pattern, family in (
        (r"ip_adapter|to_k_ip|image_proj\b", "an IP-Adapter"),
        (r"\.qweight$|smooth_factor|\.proj_down$", "a Nunchaku checkpoint"),
        (r"distilled_guidance_layer", "Chroma"),
        (r"individual_token_refiner|img_attn_q[._]|txt_in[._]individual", "HunyuanVideo"),
        (r"double_stream_modulation|single_stream_modulation|to_qkv_mlp_proj", FLUX2),
        (r"transformer_blocks[._]\d+[._](img|txt)_(mod|mlp)[._]", "Qwen-Image"),
        (r"noise_refiner|context_refiner|layers[._]\d+[._]attention[._]", "Z-Image"),
        (r"(^|[._])blocks[._]\d+[._](cross|self)_attn", "Wan"),
        (r"joint_blocks|context_block|x_block", "SD 3.5"),
        (r"lora_te2_|conditioner|add_embedding|label_emb", "SDXL"),
    )
)
_UNET = re.compile(r"(input|output|middle)_block|(down|up|mid)_blocks?[._]")
_CROSS = re.compile(r"attn2[._]to_[kv]")
_BY_TEXT_WIDTH = {2048: "SDXL", 1024: "SD 2", 768: "SD 1.5"}
_FLUX = re.compile(r"(double|single|single_transformer|transformer)_blocks[._](\d+)[._]")
_ATTENTION = re.compile(r"(to_q|img_attn[._]qkv|linear1|qkv_lora1?)[._].*(down|lora_A)")
_CONTROL = re.compile(r"norm[._](query|key)_norm|query_norm[._]scale")


def family_of(shapes: Mapping[str, Shape]) -> str:
    """A name for people: `FLUX.1`, `SDXL`, …; "" where nothing gives it away."""
    for pattern, family in _BY_NAME:
        if _any(pattern, shapes):
            return family
    if _any(_UNET, shapes):
        return _unet(shapes)
    if not _any(_FLUX, shapes):
        return ""
    if _any(_CONTROL, shapes) or _reads_twice(shapes):
        return "a FLUX.1 control LoRA, which wants a control picture"
    if all(key.endswith((".weight", ".bias", ".scale")) for key in shapes) and not _any(
        re.compile(r"lora|\.(down|up)\."), shapes
    ):
        return "a whole checkpoint"
    return _flux(shapes)


def is_kin(family: str) -> bool:
    """Whether its layers have FLUX.1's names, whatever their sizes."""
    return family == FLUX1 or family.startswith(_OTHER_WIDTH)


def _any(pattern: re.Pattern[str], names: Iterable[str]) -> bool:
    return any(pattern.search(name) for name in names)


def _unet(shapes: Mapping[str, Shape]) -> str:
    """SDXL and its elders differ in the width of the text that cross attention reads."""
    for key, shape in shapes.items():
        if _CROSS.search(key) and re.search(r"down|lora_A", key) and len(shape) > 1:
            return _BY_TEXT_WIDTH.get(shape[1], "Stable Diffusion")
    return "Stable Diffusion"


def _reads_twice(shapes: Mapping[str, Shape]) -> bool:
    """A control LoRA's first layer takes the control picture's latents beside the picture's."""
    return any(
        re.search(r"(img_in|x_embedder)[._].*(down|lora_A)", key) and shape[-1] > 64
        for key, shape in shapes.items()
        if shape
    )


def _flux(shapes: Mapping[str, Shape]) -> str:
    blocks = {(match[1], int(match[2])) for key in shapes if (match := _FLUX.search(key))}
    deepest = {kind: max(n for k, n in blocks if k == kind) for kind, _ in blocks}
    width = width_of(shapes)
    if width == _FLUX2_WIDTH or _is_gated(shapes, width):
        return FLUX2
    if width == FLUX1_WIDTH:
        double = max(deepest.get("double_blocks", 0), deepest.get("double", 0))
        double = max(double, deepest.get("transformer", 0))
        single = max(deepest.get("single", 0), deepest.get("single_transformer", 0))
        if double == 19 and single in (0, 38, 39):
            return "HunyuanVideo"
        if double > 19:
            return "Qwen-Image"
    return FLUX1 if width in (0, FLUX1_WIDTH) else f"{_OTHER_WIDTH} {width} wide"


def _is_gated(shapes: Mapping[str, Shape], width: int) -> bool:
    """FLUX.2's single blocks have a gate beside their MLP: nine widths in one, FLUX.1's seven."""
    return any(
        re.search(r"single_blocks[._]\d+[._]linear1[._].*(up|lora_B)", key)
        and shape[0] == 9 * width
        for key, shape in shapes.items()
        if shape
    )


def width_of(shapes: Mapping[str, Shape]) -> int:
    """How wide the model is that the attention layers of this file read from; 0 if it has none."""
    for key, shape in shapes.items():
        if _ATTENTION.search(key) and len(shape) > 1:
            return shape[1]
    return 0
