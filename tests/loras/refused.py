"""Files that are no LoRA for this model, and the words by which each is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from tests.loras import truth
from tests.loras.truth import RANK, lettered, pairs


@dataclass(frozen=True)
class Bad:
    """`words` is a pattern for what a person reads. What only the numbers tell is found when they
    are read, which the fit report does not do."""

    tensors: dict[str, Tensor]
    words: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    by_numbers: bool = False


def _foreign(words: str, **layers: tuple[int, int]) -> Callable[[], Bad]:
    """Down and up for layers of another model; `__` stands for a dot."""

    def make() -> Bad:
        tensors = {}
        for name, (rows, columns) in layers.items():
            key = name.replace("__", ".")
            tensors[f"{key}.lora_down.weight"] = torch.ones(2, columns)
            tensors[f"{key}.lora_up.weight"] = torch.ones(rows, 2)
        return Bad(tensors, words)

    return make


def _kohya(words: str, without: str = "", **tensors: Tensor) -> Callable[[], Bad]:
    """A good file with some tensors more, for its attention's last layer."""

    def make() -> Bad:
        out = "lora_unet_double_blocks_1_img_attn_proj"
        good = truth.kohya(pairs())
        if without:
            del good[f"{out}.{without}"]
        return Bad(good | {f"{out}.{name}": value for name, value in tensors.items()}, words)

    return make


def _numbers(words: str, **tensors: Tensor) -> Callable[[], Bad]:
    return lambda: replace(_kohya(words, **tensors)(), by_numbers=True)


def _whole(name: str, value: Tensor) -> dict[str, Tensor]:
    return {name: value}


def _metadata(words: str, text: str) -> Callable[[], Bad]:
    def make() -> Bad:
        tensors = lettered("transformer.")(pairs())
        return Bad(tensors, words, {"lora_adapter_metadata": text})

    return make


def _renamed(words: str, old: str, new: str) -> Callable[[], Bad]:
    def make() -> Bad:
        tensors = lettered("transformer.")(pairs())
        return Bad({key.replace(old, new): value for key, value in tensors.items()}, words)

    return make


def _control() -> Bad:
    """Depth and Canny of Black Forest Labs."""
    key = "double_blocks.0.img_attn"
    tensors = {
        "img_in.lora_A.weight": torch.ones(RANK, 128),
        "img_in.lora_B.weight": torch.ones(256, RANK),
        f"{key}.qkv.lora_A.weight": torch.ones(RANK, 256),
        f"{key}.qkv.lora_B.weight": torch.ones(768, RANK),
        f"{key}.norm.query_norm.scale": torch.ones(32),
    }
    return Bad(tensors, "control LoRA, which wants a control picture")


def _dora_by_columns() -> Bad:
    """Over q, k and v in one: its lengths are those of three layers together."""
    key = "lora_unet_double_blocks_1_img_attn_qkv"
    return Bad(truth.kohya(pairs()) | {f"{key}.dora_scale": torch.ones(1, 256)}, "by columns")


_NAN = torch.tensor(torch.nan)

REFUSED: dict[str, Callable[[], Bad]] = {
    "SDXL": _foreign(
        "SDXL", lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k=(640, 2048)
    ),
    "SDXL, text encoders too": _foreign(
        "SDXL",
        lora_te1_text_model_encoder_layers_0_mlp_fc1=(3072, 768),
        lora_te2_text_model_encoder_layers_0_mlp_fc1=(5120, 1280),
        lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k=(640, 2048),
    ),
    "SD 1.5": _foreign(
        "SD 1.5",
        lora_te_text_model_encoder_layers_0_mlp_fc1=(3072, 768),
        lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k=(320, 768),
    ),
    "SD 3.5": _foreign("SD 3.5", lora_unet_joint_blocks_0_x_block_attn_qkv=(7296, 2432)),
    "FLUX.2": _foreign(
        "FLUX.2",
        transformer__single_transformer_blocks__0__attn__to_qkv_mlp_proj=(55296, 6144),
    ),
    "FLUX.2, BFL names": _foreign(
        "FLUX.2",
        diffusion_model__double_blocks__0__img_attn__qkv=(18432, 6144),
        diffusion_model__double_stream_modulation_img__lin=(36864, 6144),
    ),
    "FLUX.2, its width alone": _foreign(
        "FLUX.2", diffusion_model__double_blocks__0__img_attn__qkv=(18432, 6144)
    ),
    "FLUX.2 klein, which is as wide as FLUX.1": _foreign(
        "FLUX.2",
        diffusion_model__double_blocks__0__img_attn__qkv=(9216, 3072),
        diffusion_model__single_blocks__0__linear1=(27648, 3072),
    ),
    "Qwen-Image": _foreign(
        "Qwen-Image",
        transformer__transformer_blocks__0__attn__to_q=(3072, 3072),
        transformer__transformer_blocks__0__img_mlp__net__2=(3072, 12288),
    ),
    "Qwen-Image, attention alone": _foreign(
        "Qwen-Image",
        **{f"transformer__transformer_blocks__{n}__attn__to_q": (3072, 3072) for n in range(60)},
    ),
    "HunyuanVideo": _foreign(
        "HunyuanVideo",
        **{f"transformer__transformer_blocks__{n}__attn__to_q": (3072, 3072) for n in range(20)},
        **{
            f"transformer__single_transformer_blocks__{n}__attn__to_q": (3072, 3072)
            for n in range(40)
        },
    ),
    "HunyuanVideo, its own names": _foreign(
        "HunyuanVideo",
        diffusion_model__double_blocks__0__img_attn_qkv=(9216, 3072),
        diffusion_model__txt_in__individual_token_refiner__blocks__0__mlp__fc1=(12288, 3072),
    ),
    "Wan": _foreign("Wan", diffusion_model__blocks__0__cross_attn__k=(5120, 5120)),
    "Z-Image": _foreign("Z-Image", diffusion_model__layers__0__attention__to_q=(3840, 3840)),
    "Chroma": _foreign("Chroma", diffusion_model__distilled_guidance_layer__in_proj=(5120, 64)),
    "FLUX.1, where another FLUX paints": _foreign(
        "FLUX.1: transformer_blocks.0.attn.to_q is 256x256",
        transformer__transformer_blocks__0__attn__to_q=(3072, 3072),
    ),
    "deeper": _foreign("no transformer_blocks.7", lora_unet_double_blocks_7_img_mlp_0=(1024, 256)),
    "IP-Adapter": lambda: Bad(
        _whole(
            "double_blocks.0.processor.ip_adapter_double_stream_k_proj.weight", torch.ones(2, 2)
        ),
        "an IP-Adapter",
    ),
    "Nunchaku": lambda: Bad(
        _whole("transformer_blocks.0.qkv_proj.qweight", torch.ones(2, 2)), "Nunchaku"
    ),
    "checkpoint": lambda: Bad(
        _whole("double_blocks.0.img_attn.qkv.weight", torch.ones(768, 256)), "a whole checkpoint"
    ),
    "control LoRA": _control,
    "OFT": _kohya("This is OFT", oft_blocks=torch.ones(4, 4, 4)),
    "OFT of kohya": _kohya("This is OFT", oft_diag=torch.ones(4, 4)),
    "GLoRA": _kohya("This is GLoRA", **{"a1.weight": torch.ones(4, 4)}),
    "middle tensor": _kohya("convolutions", **{"lora_mid.weight": torch.ones(4, 4, 1, 1)}),
    "DoRA by columns over several": _dora_by_columns,
    "DoRA without lengths": _metadata("no lengths", '{"transformer.use_dora": true}'),
    "two ways at once": _kohya("in two ways", diff=torch.ones(256, 256)),
    "half a LoKr": lambda: Bad(
        _whole("lora_unet_double_blocks_1_img_attn_proj.lokr_w1", torch.ones(2, 2)),
        "half of its tensors",
    ),
    "LoKr that does not fit": lambda: Bad(
        {
            "lora_unet_double_blocks_1_img_attn_proj.lokr_w1": torch.ones(2, 2),
            "lora_unet_double_blocks_1_img_attn_proj.lokr_w2": torch.ones(64, 128),
        },
        "128x256 in this LoRA",
    ),
    "empty": lambda: Bad({}, "no LoRA"),
    "all zero": lambda: Bad(
        _whole("diffusion_model.double_blocks.1.img_attn.proj.diff", torch.zeros(256, 256)),
        "all that it holds is zero",
    ),
    "not a number": _numbers("NaN", **{"lora_up.weight": torch.full((256, RANK), torch.nan)}),
    "infinite": _numbers("infinite", **{"lora_down.weight": torch.full((RANK, 256), torch.inf)}),
    "not a number in LoKr": lambda: Bad(
        {
            "lora_unet_double_blocks_1_img_attn_proj.lokr_w1": torch.full((2, 2), torch.nan),
            "lora_unet_double_blocks_1_img_attn_proj.lokr_w2": torch.ones(128, 128),
        },
        "NaN",
        by_numbers=True,
    ),
    "wide": _kohya("256x256", **{"lora_down.weight": torch.ones(RANK, 512)}),
    "narrow": _kohya("128x256", **{"lora_up.weight": torch.ones(128, RANK)}),
    "negative alpha": _kohya("alpha", alpha=torch.tensor(-1.0)),
    "alpha that is none": _kohya("alpha", alpha=_NAN),
    "half of it": _renamed("half of its tensors", "1.attn.to_q.lora_A.", "0.attn.to_q.lora_A."),
    "one name twice": _renamed("two tensors for", "to_q.lora_A.", "to_k.lora_A.extra."),
    "a space too many": _renamed("no FLUX.1 LoRA has", "to_q.lora_A.weight", "to_q.lora_A.weight "),
    "broken metadata": _metadata("no JSON", "{"),
    "a scale that is none": _metadata("no number", '{"transformer.lora_alpha": "8"}'),
    "a bias that T5 has not": lambda: Bad(
        truth.kohya(pairs())
        | _whole("lora_te3_encoder_block_0_layer_0_SelfAttention_q.diff_b", torch.ones(192)),
        "no text_encoder_2.encoder.block.0.layer.0.SelfAttention.q.bias",
    ),
}
