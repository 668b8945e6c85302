"""Other families by the names that their trainers give to tensors."""

from __future__ import annotations

import pytest

from fluxui.loras.families import FLUX1, family_of, is_kin


@pytest.mark.parametrize(
    ("key", "shape", "family"),
    [
        ("lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight", (4, 3072), FLUX1),
        ("double_blocks.0.processor.qkv_lora1.down.weight", (4, 3072), FLUX1),
        ("transformer.single_transformer_blocks.37.attn.to_q.lora_A.weight", (4, 3072), FLUX1),
        (
            "transformer.transformer_blocks.0.attn.to_q.lora_A.weight",
            (4, 256),
            "a FLUX that is 256 wide",
        ),
        (
            "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down.weight",
            (4, 2048),
            "SDXL",
        ),
        (
            "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight",
            (4, 768),
            "SD 1.5",
        ),
        (
            "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight",
            (4, 1280),
            "Stable Diffusion",
        ),
        ("lora_unet_joint_blocks_0_x_block_attn_qkv.lora_down.weight", (4, 1536), "SD 3.5"),
        (
            "transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj.lora_A.weight",
            (4, 6144),
            "FLUX.2",
        ),
        ("transformer.transformer_blocks.0.img_mod.1.lora_A.weight", (4, 3072), "Qwen-Image"),
        ("transformer.transformer_blocks.59.attn.to_q.lora_A.weight", (4, 3072), "Qwen-Image"),
        ("diffusion_model.layers.0.attention.to_q.lora_A.weight", (4, 3840), "Z-Image"),
        ("diffusion_model.blocks.0.cross_attn.k.lora_A.weight", (4, 5120), "Wan"),
        ("txt_in.individual_token_refiner.blocks.0.lora_A.weight", (4, 3072), "HunyuanVideo"),
        ("diffusion_model.distilled_guidance_layer.in_proj.lora_A.weight", (4, 64), "Chroma"),
        ("ip_adapter.1.to_k_ip.weight", (4, 64), "an IP-Adapter"),
        ("double_blocks.0.img_attn.qkv.weight", (9216, 3072), "a whole checkpoint"),
        ("encoder.layers.0.lora_A.weight", (4, 64), ""),
    ],
)
def test_families(key: str, shape: tuple[int, ...], family: str) -> None:
    assert family_of({key: shape}) == family
    assert is_kin(family) == (family == FLUX1 or "FLUX that" in family)
