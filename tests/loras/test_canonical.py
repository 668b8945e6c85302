"""One truth in every layout gives the same weights; what is no such LoRA is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fluxui.errors import LoraMisfit, LoraUnreadable
from fluxui.loras.canonical import read
from tests.loras.truth import (
    LAYOUTS,
    RANK,
    XLABS,
    deltas,
    kohya,
    layers,
    lettered,
    pairs,
    targets,
)

Write = Callable[..., Path]


def merged(path: Path) -> dict[str, Tensor]:
    return {
        layer: up.double() @ down.double() for layer, (up, down) in read(path, targets()).items()
    }


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for layer, delta in expected.items():
        torch.testing.assert_close(found[layer], delta.double(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_weights(layout: str, lora_file: Write) -> None:
    truth = pairs()
    expected = deltas(truth)
    if layout.startswith("xlabs"):
        kept = {layer for name in XLABS for layer in layers(name)}
        expected = {layer: delta for layer, delta in expected.items() if layer in kept}
    assert_equal(merged(lora_file(LAYOUTS[layout](truth))), expected)


def test_outer_layers_of_kohya_and_the_swapped_one(lora_file: Write) -> None:
    up, down = torch.randn(512, 2), torch.randn(2, 256)
    tensors = {
        "lora_unet_final_layer_adaLN_modulation_1.lora_up.weight": up,
        "lora_unet_final_layer_adaLN_modulation_1.lora_down.weight": down,
        "lora_unet_img_in.lora_up.weight": torch.randn(256, 128),
        "lora_unet_img_in.lora_down.weight": torch.randn(128, 64),
        "lora_unet_guidance_in_out_layer.lora_up.weight": torch.randn(256, 2),
        "lora_unet_guidance_in_out_layer.lora_down.weight": torch.randn(2, 256),
    }
    found = merged(lora_file(tensors))
    assert found.keys() == {
        "norm_out.linear",
        "x_embedder",
        "time_text_embed.guidance_embedder.linear_2",
    }
    shift, scale = (up.double() @ down.double()).chunk(2)
    torch.testing.assert_close(found["norm_out.linear"], torch.cat([scale, shift]))


def test_two_layouts_in_one_file_add_up(lora_file: Write) -> None:
    one, two = pairs(1), pairs(2)
    found = merged(lora_file(kohya(one) | lettered("transformer.")(two)))
    sums = {layer: delta + deltas(two)[layer] for layer, delta in deltas(one).items()}
    assert_equal(found, sums)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_small_number_types_are_exact(dtype: torch.dtype, lora_file: Write) -> None:
    rounded = {
        name: (up.to(dtype).float(), down.to(dtype).float()) for name, (up, down) in pairs().items()
    }
    stored = {
        key: tensor if key.endswith("alpha") else tensor.to(dtype)
        for key, tensor in kohya(rounded).items()
    }
    assert_equal(merged(lora_file(stored)), deltas(rounded))


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({"transformer.r": RANK, "transformer.lora_alpha": 8}, 2.0),
        ({"transformer.lora_alpha": 8, "transformer.use_rslora": True}, 4.0),
        ({"transformer.lora_alpha": 8, "transformer.alpha_pattern": {"to_q": 8, "nothing": 1}}, 2),
    ],
)
def test_the_scale_in_the_metadata_of_peft(
    config: dict[str, object], scale: float, lora_file: Write
) -> None:
    truth = pairs()
    path = lora_file(lettered("transformer.")(truth), lora_adapter_metadata=config)
    # `lettered` has baked alpha / rank = 1/2 in already.
    assert_equal(merged(path), deltas(truth, scale / 2))


def test_alpha_pattern_rules_single_layers(lora_file: Write) -> None:
    truth = pairs()
    config = {"transformer.lora_alpha": 4, "transformer.alpha_pattern": {"ff.net.2": 12}}
    path = lora_file(lettered("transformer.")(truth), lora_adapter_metadata=config)
    once = deltas(truth, 0.5)
    once["transformer_blocks.1.ff.net.2"] *= 3
    assert_equal(merged(path), once)


Q = "lora_unet_double_blocks_1_img_attn_qkv"
OUT = "lora_unet_double_blocks_1_img_attn_proj"
BAD: dict[str, tuple[dict[str, Tensor], type[Exception], str]] = {
    "nan": ({f"{Q}.lora_up.weight": torch.full((768, RANK), torch.nan)}, LoraUnreadable, "NaN"),
    "infinite": (
        {f"{Q}.lora_down.weight": torch.full((RANK, 256), torch.inf)},
        LoraUnreadable,
        "infinite",
    ),
    "overflow": (
        {
            f"{Q}.lora_up.weight": torch.full((768, RANK), 1e30),
            f"{Q}.lora_down.weight": torch.full((RANK, 256), 1e30),
        },
        LoraUnreadable,
        "too large",
    ),
    "negative alpha": ({f"{Q}.alpha": torch.tensor(-1.0)}, LoraUnreadable, "alpha"),
    "nan alpha": ({f"{Q}.alpha": torch.tensor(torch.nan)}, LoraUnreadable, "alpha"),
    "alpha of many": ({f"{Q}.alpha": torch.ones(3)}, LoraUnreadable, "one number"),
    "wide": ({f"{OUT}.lora_down.weight": torch.ones(RANK, 512)}, LoraMisfit, "256x256"),
    "narrow": ({f"{OUT}.lora_up.weight": torch.ones(128, RANK)}, LoraMisfit, "128x256"),
    "ranks": ({f"{OUT}.lora_up.weight": torch.ones(256, 3)}, LoraUnreadable, "ranks"),
    "integers": (
        {f"{OUT}.lora_up.weight": torch.ones(256, RANK, dtype=torch.int32)},
        LoraUnreadable,
        "floating point",
    ),
    "deeper": (
        {
            "lora_unet_double_blocks_7_img_mlp_0.lora_up.weight": torch.ones(1024, RANK),
            "lora_unet_double_blocks_7_img_mlp_0.lora_down.weight": torch.ones(RANK, 256),
        },
        LoraMisfit,
        "transformer_blocks.7",
    ),
    "half": ({"lora_unet_img_in.lora_up.weight": torch.ones(256, RANK)}, LoraUnreadable, "half"),
    "unknown": (
        {"lora_unet_moon.lora_up.weight": torch.ones(256, 2)},
        LoraMisfit,
        "lora_unet_moon",
    ),
    "bias": ({f"{OUT}.diff_b": torch.ones(128)}, LoraMisfit, "bias is 256"),
    "dora": ({f"{OUT}.dora_scale": torch.ones(7, 1)}, LoraUnreadable, "DoRA lengths"),
    "lokr": ({f"{OUT}.lokr_w1": torch.ones(4, 4)}, LoraUnreadable, "two ways"),
    "control": (
        {
            "img_in.lora_A.weight": torch.ones(RANK, 128),
            "img_in.lora_B.weight": torch.ones(256, RANK),
            "double_blocks.0.img_attn.norm.query_norm.scale": torch.ones(32),
        },
        LoraMisfit,
        "control LoRA",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused_names_the_cause(name: str, lora_file: Write) -> None:
    tensors, error, words = BAD[name]
    path = lora_file(kohya(pairs()) | tensors)
    with pytest.raises(error, match=words):
        read(path, targets())


@pytest.mark.parametrize(
    ("key", "down", "up", "family"),
    [
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", 2048, 640, "SDXL"),
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 768, 320, "SD 1"),
        ("diffusion_model.blocks.0.cross_attn.k", 5120, 5120, "Wan"),
        ("transformer.transformer_blocks.0.img_mlp.net.2", 12288, 3072, "Qwen-Image"),
        ("transformer.transformer_blocks.0.attn.to_q", 3072, 3072, "FLUX.1"),
        ("transformer.transformer_blocks.0.attn.to_q", 1024, 1024, "1024 wide"),
    ],
)
def test_other_families_are_told(
    key: str, down: int, up: int, family: str, lora_file: Write
) -> None:
    tensors = {
        f"{key}.lora_down.weight": torch.ones(2, down),
        f"{key}.lora_up.weight": torch.ones(up, 2),
    }
    with pytest.raises(LoraMisfit, match=family):
        read(lora_file(tensors), targets())
