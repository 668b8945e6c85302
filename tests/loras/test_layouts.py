"""Layouts at FLUX.1-dev's own sizes, by names and shapes alone."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from fluxui.errors import LoraError, LoraMisfit, LoraUnreadable
from fluxui.loras.layouts import plan
from fluxui.loras.methods import Shape
from fluxui.pipeline.base_models import CATALOGUE
from fluxui.pipeline.targets import targets
from tests.loras.wild import ROWS

DEV = CATALOGUE["flux1-dev"].targets()
LAYERS = targets(CATALOGUE["flux1-dev"].config)
RANK = 16


def kohya(double: int = 19, single: int = 38) -> dict[str, Shape]:
    """All that sd-scripts trains, as its own code sizes it."""
    sizes = {}
    for block in range(double):
        for stream in ("img", "txt"):
            for name, rows, columns in (
                ("attn_qkv", 9216, 3072),
                ("attn_proj", 3072, 3072),
                ("mlp_0", 12288, 3072),
                ("mlp_2", 3072, 12288),
                ("mod_lin", 18432, 3072),
            ):
                sizes[f"lora_unet_double_blocks_{block}_{stream}_{name}"] = (rows, columns)
    for block in range(single):
        for name, rows, columns in (
            ("linear1", 21504, 3072),
            ("linear2", 3072, 15360),
            ("modulation_lin", 9216, 3072),
        ):
            sizes[f"lora_unet_single_blocks_{block}_{name}"] = (rows, columns)
    return with_tensors(sizes)


def with_tensors(sizes: dict[str, tuple[int, int]]) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for name, (rows, columns) in sizes.items():
        shapes[f"{name}.lora_down.weight"] = (RANK, columns)
        shapes[f"{name}.lora_up.weight"] = (rows, RANK)
        shapes[f"{name}.alpha"] = ()
    return shapes


def test_kohya_reaches_all_494_layers_of_the_blocks() -> None:
    found = plan(kohya(), {}, DEV)
    assert found.format == "kohya"
    assert found.layers == {name for name in LAYERS if "transformer_blocks." in name}
    assert (len(found.pieces), len(found.layers)) == (19 * 10 + 38 * 3, 494)


def test_every_layer_by_the_name_that_diffusers_gives_it() -> None:
    for prefix in ("transformer.", "", "base_model.model."):
        shapes: dict[str, Shape] = {}
        for name, (rows, columns) in LAYERS.items():
            shapes[f"{prefix}{name}.lora_A.weight"] = (RANK, columns)
            shapes[f"{prefix}{name}.lora_B.weight"] = (rows, RANK)
        assert plan(shapes, {}, DEV).layers == LAYERS.keys()


def test_a_deeper_model_is_another_one() -> None:
    with pytest.raises(LoraMisfit, match="HunyuanVideo"):
        plan(kohya(20, 40), {}, DEV)


def test_flux1_schnell_takes_what_was_trained_for_dev() -> None:
    assert len(plan(kohya(), {}, CATALOGUE["flux1-schnell"].targets()).layers) == 494


def test_one_layer_is_not_written_by_two_tensors_of_one_role() -> None:
    shapes = kohya(1, 0) | {
        "lora_unet_double_blocks_0_img_attn_proj.lora_A.weight": (RANK, 3072),
        "lora_unet_double_blocks_0_img_attn_proj.lora_B.weight": (3072, RANK),
    }
    with pytest.raises(LoraUnreadable, match="two tensors"):
        plan(shapes, {}, DEV)


@pytest.mark.parametrize(
    "metadata",
    [
        "{",
        "[]",
        '{"transformer.lora_alpha": "8"}',
        '{"transformer.lora_alpha": -8}',
        '{"lora_alpha": 1e999}',
        '{"lora_alpha": 1' + "0" * 400 + "}",
        '{"transformer.alpha_pattern": {"(a+)+$": 1}}',
    ],
)
def test_metadata_that_makes_no_sense_is_refused(metadata: str) -> None:
    name = "transformer.transformer_blocks.0.attn.to_q"
    shapes: dict[str, Shape] = {
        f"{name}.lora_A.weight": (RANK, 3072),
        f"{name}.lora_B.weight": (3072, RANK),
    }
    with pytest.raises(LoraUnreadable, match="metadata|lora_adapter_metadata"):
        plan(shapes, {"lora_adapter_metadata": metadata}, DEV)


def mutated(shapes: dict[str, Shape], choice: random.Random) -> dict[str, Shape]:
    """Something of it lost, renamed, or of another shape, as damage and strange trainers do."""
    found = dict(shapes)
    for _ in range(choice.randint(1, 4)):
        name = choice.choice(list(found))
        other = choice.choice(list(shapes))
        match choice.randint(0, 4):
            case 0:
                found.pop(name)
            case 1:
                found[name] = choice.choice([(), (0,), (1,), (4, 0), (1, 1), (2, 3, 1), (9,) * 5])
            case 2:
                found[name] = shapes[other]
            case 3:
                found[name.rpartition(".")[0] + "." + other.rpartition(".")[2]] = found[name]
            case _:
                found[choice.choice(["lora_te1_", "transformer.", "x"]) + name] = shapes[other]
        if not found:
            break
    return found


def is_refused(shapes: dict[str, Shape], metadata: Mapping[str, str]) -> bool:
    tiny = CATALOGUE["tiny"].targets()
    try:
        found = plan(shapes, metadata, tiny)
    except LoraError as error:
        assert error.message
        return True
    assert found.layers <= tiny.keys()
    return False


@pytest.mark.parametrize("name", ROWS)
def test_damage_is_refused_or_harmless(name: str) -> None:
    row = ROWS[name]()
    shapes = {key: tuple(tensor.shape) for key, tensor in row.tensors.items()}
    choice = random.Random(0)
    refused = sum(is_refused(mutated(shapes, choice), row.metadata) for _ in range(150))
    assert refused > 50
