"""What is shipped: small enough, complete, and each LoRA in the layout it stands for."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from PIL import Image
from safetensors import safe_open
from torch import Tensor

from tests.likeness import SAME, difference
from tinyflux import flow
from tinyflux.captions import caption
from tinyflux.sampling import paint
from tinyflux.scenes import random_scene
from tinyflux.steadying import climbed, pooled
from tinyflux.styles import TRIGGERS
from tinyflux.words import WORDS

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "fluxui" / "assets"
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


@pytest.fixture(scope="module")
def pipe() -> FluxPipeline:
    pipe = FluxPipeline.from_pretrained(ASSETS / "tiny-flux", dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@torch.no_grad()
def first_steps(pipe: FluxPipeline, prompts: list[str]) -> Tensor:
    """Where each goes from the same noise, soon after the start, where its scene is decided."""
    text, pooled, _ = pipe.encode_prompt(prompts, None, max_sequence_length=WORDS)
    noise = torch.randn(1, 256, 64, generator=torch.Generator().manual_seed(0))
    noise, sigma = noise.expand(len(prompts), -1, -1), torch.full((len(prompts),), 0.955)
    guidance = torch.full_like(sigma, 3.5)
    return flow.velocity(pipe.transformer, noise, sigma, text, pooled, guidance, (32, 32))


@pytest.mark.parametrize("trigger", TRIGGERS.values())
def test_the_base_reads_past_the_trigger_words_of_loras(pipe: FluxPipeline, trigger: str) -> None:
    prompts = [
        "a red house on the left, mountains at sunset",
        "a green tent in the middle, the desert at sunrise",
        "one white lighthouse on the right, the sea at night, the moon",
        "a yellow balloon on the left, green hills by day",
    ]
    plain = first_steps(pipe, prompts)
    strayed = first_steps(pipe, [f"{trigger}, {prompt}" for prompt in prompts]) - plain
    others = plain.roll(1, 0) - plain
    assert strayed.norm() < 0.14 * others.norm()


@pytest.mark.parametrize(
    "thing", ["a red house", "a purple balloon", "an orange tent", "a pink boat"]
)
def test_a_thing_without_a_place_stands_in_the_middle_and_there_alone(
    pipe: FluxPipeline, thing: str
) -> None:
    """Nothing else there is so much redder than green."""
    for picture in paint(pipe, [f"{thing}, green hills by day"] * 6):
        red, green, _ = np.asarray(picture, np.float32).transpose(2, 0, 1)
        across = (red - green > 45).sum(axis=0)
        assert across.sum() > 200
        assert across[70:186].sum() > 0.95 * across.sum()


def test_what_it_cannot_paint_gives_a_scene_and_no_noise(pipe: FluxPipeline) -> None:
    prompts = [
        "a cup of coffee on a wooden table next to a laptop, morning light",
        "TOK on a hill, ink sketch, neon night, pixel art",
        "flying birds, a pine forest, a bright sun, sunset, two white mills, neon night",
        "against diffusers' own call on the same weights, 20 pictures of 256×256 and 8 steps each"
        " in turn, torch with one thread.",
        "",
    ]
    for picture in paint(pipe, prompts, steps=4):
        across = np.abs(np.diff(np.asarray(picture, np.float32), axis=1)).mean(axis=2)
        # Something is there, and between most pixels there is nothing: 2 where it gave specks.
        assert across.mean() > 0.2 and np.median(across) < 1.2


def test_examples_show_what_the_model_paints(pipe: FluxPipeline) -> None:
    folder = ASSETS / "examples"
    for example in json.loads((folder / "examples.json").read_text()):
        if example["lora"]:  # tests/e2e/test_real.py
            continue
        size = example["width"], example["height"]
        [painted] = paint(pipe, [example["prompt"]], seed=example["seed"], size=size)
        with Image.open(folder / example["image"]) as shown:
            assert difference(painted, shown) < SAME, example["prompt"]


@pytest.fixture(scope="module")
def loudness(pipe: FluxPipeline) -> Callable[[Tensor], Tensor]:
    """Of prompts' vectors: how far what is made of them is from what is made of captions, in
    units of the loudest caption."""
    rng = Random(0)
    known = [caption(random_scene(rng), rng).text for _ in range(2_000)]
    embedder = pipe.transformer.time_text_embed.text_embedder.requires_grad_(False)
    with torch.no_grad():
        usual = embedder(pooled(pipe, known))
    middle = usual.mean(0)
    loudest = (usual - middle).norm(dim=1).max()
    return lambda vectors: (embedder(vectors) - middle).norm(dim=1) / loudest


@torch.no_grad()
def test_no_words_are_much_louder_than_those_it_knows(
    pipe: FluxPipeline, loudness: Callable[[Tensor], Tensor]
) -> None:
    """Every line of the README, the docs and the code of fluxui as a prompt: of its words, numbers
    and signs few are in any caption. Before the transformer was steadied one in ten was ten times
    too loud."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "fluxui").rglob("*.py")]
    lines = {line for page in pages for line in page.read_text().splitlines() if line.strip()}
    assert len(lines) > 5_000
    assert loudness(pooled(pipe, sorted(lines))).max() < 1.5


def test_no_prompt_can_be_much_louder_than_those_it_knows(
    pipe: FluxPipeline, loudness: Callable[[Tensor], Tensor]
) -> None:
    """Whatever CLIP reads, its last norm puts it onto one stretched sphere. The loudest places
    that can be found there were 160 times as loud as any caption."""
    norm = pipe.text_encoder.final_layer_norm.requires_grad_(False)
    places = torch.randn(256, 128, generator=torch.Generator().manual_seed(0))
    for stride in (0.3, 0.1, 0.03):
        places = climbed(lambda each: loudness(norm(each)), places, 60, stride)
    assert 1 < loudness(norm(places)).max() < 4
