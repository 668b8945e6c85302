"""What is shipped: small enough, complete, and each LoRA in the layout it stands for."""

import json
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open

ASSETS = Path(__file__).parents[2] / "fluxui" / "assets"
MEGABYTE = 1024 * 1024
# One key that only this layout has, and one word of its metadata.
LAYOUTS = {
    "pixel-art": (
        "transformer.transformer_blocks.0.attn.to_q.lora_A.weight",
        "lora_adapter_metadata",
    ),
    "ink-sketch": ("lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight", "ss_network_module"),
    "neon-night": ("transformer.transformer_blocks.0.attn.to_q.lora_A.weight", "software"),
    "tok-lighthouse": ("double_blocks.0.processor.qkv_lora1.down.weight", ""),
}


def test_the_weights_are_at_most_25_megabytes() -> None:
    weights = list(ASSETS.rglob("*.safetensors"))
    assert len(weights) == 8
    assert sum(path.stat().st_size for path in weights) <= 25 * MEGABYTE


def test_the_base_model_is_a_whole_pipeline() -> None:
    folder = ASSETS / "tiny-flux"
    parts = json.loads((folder / "model_index.json").read_text())
    named = [name for name, kind in parts.items() if isinstance(kind, list) and kind[0]]
    assert all(any((folder / name).iterdir()) for name in named)
    assert (folder / "README.md").read_text()


def test_its_configs_name_no_folder_of_the_machine_that_made_them() -> None:
    configs = [json.loads(path.read_text()) for path in ASSETS.rglob("tiny-flux/**/*.json")]
    names = {one["_name_or_path"] for one in configs if "_name_or_path" in one}
    assert names and all(name.startswith("tiny-flux") for name in names)


@pytest.mark.parametrize("model_id", LAYOUTS)
def test_a_lora_has_its_layout_its_record_and_its_picture(model_id: str) -> None:
    folder = ASSETS / "loras" / model_id
    path = folder / f"{model_id}.safetensors"
    key, word = LAYOUTS[model_id]
    assert path.stat().st_size <= MEGABYTE
    with safe_open(path, "pt") as file:
        assert key in file.keys()  # noqa: SIM118 - a safetensors file is no mapping
        assert word in {"": "", **(file.metadata() or {})}
        assert any(name.endswith(".alpha") for name in file.keys()) == (model_id == "ink-sketch")  # noqa: SIM118
    record = json.loads((folder / "model.json").read_text())
    assert record["model_id"] == model_id and record["base_model"] == "tiny"
    assert record["trigger_words"] and 0 < record["default_weight"] <= 1
    with Image.open(folder / "preview.webp") as preview:
        assert preview.width == 256


def test_six_examples_two_of_them_with_a_lora() -> None:
    folder = ASSETS / "examples"
    examples = json.loads((folder / "examples.json").read_text())
    assert len(examples) == 6
    assert sum(example["lora"] is not None for example in examples) == 2
    for example in examples:
        assert set(example) == {"prompt", "image", "seed", "lora", "width", "height"}
        assert example["lora"] is None or example["lora"] in LAYOUTS
        with Image.open(folder / example["image"]) as image:
            assert image.width == 1.5 * example["width"] and image.height == 1.5 * example["height"]
