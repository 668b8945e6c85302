"""The real embedded model: same request, same bytes; nothing that went wrong leaves a trace."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from fluxui.errors import BaseModelDamaged, BaseModelUnavailable, Cancelled, LoraError, OutOfMemory
from fluxui.loras.canonical import read
from fluxui.pipeline import Adapter, Step
from fluxui.pipeline.base_models import CATALOGUE
from fluxui.pipeline.devices import cpu, probe
from fluxui.pipeline.flux import FluxPipeline
from fluxui.pipeline.placement import place
from fluxui.pipeline.targets import targets
from fluxui.settings import Settings
from tests.loras import truth
from tests.loras.truth import kohya, pairs
from tests.pipeline.conftest import Easel, lora, make_pipeline


def of_file(path: Path) -> Adapter:
    name = hashlib.sha256(path.read_bytes()).hexdigest()
    return Adapter(sha256=name, weight=1.0, load=lambda: read(path, truth.targets()))


def test_equal_requests_give_equal_bytes(easel: Easel) -> None:
    one = easel.paint()
    easel.paint(prompt="a blue house at night", seed=3)
    two = easel.paint()
    assert (one.width, one.height, len(one.pixels)) == (64, 64, 64 * 64 * 3)
    assert one.pixels == two.pixels
    assert easel.paint(seed=8).pixels != one.pixels
    assert easel.paint(prompt="a green tree by day").pixels != one.pixels


def test_it_paints_what_diffusers_paints(easel: Easel) -> None:
    bare = easel.pipe(
        "a red boat on the sea at sunset",
        width=96,
        height=64,
        num_inference_steps=2,
        guidance_scale=3.5,
        max_sequence_length=easel.pipeline.base_model.max_sequence_length,
        generator=torch.Generator("cpu").manual_seed(7),
    ).images[0]
    painted = easel.paint(width=96, height=64)
    assert (painted.width, painted.height) == bare.size
    assert painted.pixels == bare.tobytes()


@pytest.mark.parametrize("seed", [0, 2**32, 2**64 - 1])
def test_every_legal_seed_paints(easel: Easel, seed: int) -> None:
    assert easel.paint(seed=seed, steps=1).pixels


def test_a_lora_changes_the_picture_and_none_gives_it_back(easel: Easel) -> None:
    plain = easel.paint()
    sizes = targets(easel.pipeline.base_model.config)
    changed = easel.paint([lora(sizes)])
    assert changed.layers == (62,)
    assert changed.pixels != plain.pixels
    assert easel.paint([lora(sizes, weight=0.4)]).pixels != changed.pixels
    assert easel.paint([lora(sizes, weight=0.0)]).pixels == plain.pixels
    assert easel.paint([lora(sizes)]).pixels == changed.pixels
    assert easel.paint().pixels == plain.pixels


def test_steps_are_counted_and_shown(easel: Easel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxui.pipeline.preview.SECONDS_BETWEEN", 0.0)
    steps: list[Step] = []
    painted = easel.pipeline.paint(
        "a red boat on the sea at sunset",
        width=128,
        height=64,
        steps=4,
        guidance=3.5,
        seed=7,
        adapters=[],
        on_step=steps.append,
    )
    assert [(step.step, step.steps) for step in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert steps[-1].preview is None  # the picture itself is next
    for step in steps[:-1]:
        assert step.preview is not None
        with Image.open(BytesIO(step.preview)) as preview:
            assert (preview.format, preview.size) == ("JPEG", (64, 32))
    assert painted.pixels == easel.paint(width=128, steps=4).pixels


def test_a_preview_is_near_the_picture(easel: Easel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxui.pipeline.preview.SECONDS_BETWEEN", 0.0)
    steps: list[Step] = []
    painted = easel.pipeline.paint(
        "a castle on snowy mountains at night",
        width=128,
        height=128,
        steps=6,
        guidance=3.5,
        seed=1,
        adapters=[],
        on_step=steps.append,
    )
    shown = Image.open(BytesIO(steps[-2].preview or b"")).resize((8, 8), Image.Resampling.BOX)
    final = Image.frombytes("RGB", (128, 128), painted.pixels).resize((8, 8), Image.Resampling.BOX)
    pairs = zip(shown.tobytes(), final.tobytes(), strict=True)
    assert sum(abs(a - b) for a, b in pairs) / (8 * 8 * 3) < 50


def test_cancel_stops_within_the_step_and_decodes_nothing(
    easel: Easel, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = easel.paint()
    decoded: list[int] = []
    monkeypatch.setattr(easel.pipeline, "_decode", lambda *_: decoded.append(1))
    seen: list[int] = []

    def stop(step: Step) -> None:
        seen.append(step.step)
        if step.step == 2:
            raise Cancelled(step.step)

    with pytest.raises(Cancelled) as caught:
        easel.pipeline.paint(
            "a red boat",
            width=64,
            height=64,
            steps=20,
            guidance=3.5,
            seed=7,
            adapters=[],
            on_step=stop,
        )
    assert (caught.value.step, seen, decoded) == (2, [1, 2], [])
    monkeypatch.undo()
    assert easel.paint().pixels == plain.pixels


def bad_files(lora_file: Callable[..., Path], folder: Path) -> dict[str, Path]:
    good = kohya(pairs())
    out = "lora_unet_double_blocks_1_img_attn_proj"
    whole = lora_file(good, "whole.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.safetensors").write_bytes(b"")
    torch.save(good, folder / "zip.safetensors")
    save_file({}, folder / "nothing.safetensors")
    wide = good | {f"{out}.lora_down.weight": torch.ones(4, 512)}
    nan = good | {f"{out}.lora_up.weight": torch.full((256, 4), torch.nan)}
    foreign = {
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down.weight": torch.ones(
            2, 2048
        )
    }
    return {
        **{name: folder / f"{name}.safetensors" for name in ("cut", "empty", "zip", "nothing")},
        "wide": lora_file(wide, "wide.safetensors"),
        "nan": lora_file(nan, "nan.safetensors"),
        "foreign": lora_file(foreign, "foreign.safetensors"),
    }


def test_a_bad_lora_hurts_one_picture_only(
    easel: Easel, lora_file: Callable[..., Path], tmp_path: Path
) -> None:
    plain = easel.paint()
    good = of_file(lora_file(kohya(pairs()), "good.safetensors"))
    with_good = easel.paint([good])
    for name, path in bad_files(lora_file, tmp_path).items():
        with pytest.raises(LoraError):
            easel.paint([good, of_file(path)])
        assert easel.paint([good]).pixels == with_good.pixels, name
        with pytest.raises(LoraError):
            easel.paint([of_file(path)])
        assert easel.paint().pixels == plain.pixels, name


def test_a_repeated_prompt_is_not_encoded_again(
    easel: Easel, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = easel.paint(prompt="a boat and a castle")
    for encoder in (easel.pipe.text_encoder, easel.pipe.text_encoder_2):
        monkeypatch.setattr(encoder, "forward", None)
    assert easel.paint(prompt="a boat and a castle").pixels == one.pixels
    with pytest.raises(TypeError):
        easel.paint(prompt="a prompt that was never painted")


def test_a_prompt_is_encoded_anew_for_other_loras_of_the_text_encoders(
    easel: Easel, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = easel.pipeline.base_model.targets()
    words = {name: sizes[name] for name in sizes if "SelfAttention" in name}
    encoder = easel.pipe.text_encoder_2
    before = {name: weight.detach().clone() for name, weight in encoder.named_parameters()}
    plain = easel.paint()
    painted = easel.paint([lora(words, "words", weight=1.0)])
    assert painted.layers == (len(words),)
    half = easel.paint([lora(words, "words", weight=0.5)])
    pictures = lora(targets(easel.pipeline.base_model.config), "pictures")
    both = easel.paint([lora(words, "words", weight=0.5), pictures])
    assert len({plain.pixels, painted.pixels, half.pixels, both.pixels}) == 4
    # Each of them is remembered: no encoder runs again, and none is mistaken for another.
    for part in (easel.pipe.text_encoder, encoder):
        monkeypatch.setattr(part, "forward", None)
    assert easel.paint([lora(words, "words", weight=1.0)]).pixels == painted.pixels
    assert easel.paint([pictures, lora(words, "words", weight=0.5)]).pixels == both.pixels
    assert easel.paint([lora(words, "words", weight=0.5)]).pixels == half.pixels
    assert easel.paint([lora(words, "words", weight=0.0)]).pixels == plain.pixels
    assert easel.paint().pixels == plain.pixels
    for name, weight in encoder.named_parameters():
        assert torch.equal(weight, before[name]), name


def test_out_of_memory_is_said_and_survived(easel: Easel, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = easel.paint()

    def fail(*_: object) -> bytes:
        # As torch fails on the CPU.
        torch.empty(1 << 60)
        return b""

    monkeypatch.setattr(easel.pipeline, "_decode", fail)
    with pytest.raises(OutOfMemory, match="64x64 is too large"):
        easel.paint()
    monkeypatch.undo()
    assert easel.paint().pixels == plain.pixels


def test_a_damaged_model_is_loaded_again(tmp_path: Path) -> None:
    easel = Easel(make_pipeline(tmp_path))
    assert easel.pipeline.describe() == {}
    plain = easel.paint()
    transformer = easel.pipe.transformer

    def damage(_: Step) -> None:
        transformer.x_embedder.weight = torch.nn.Parameter(torch.zeros(256, 128))
        raise ValueError("something else")

    with pytest.raises(BaseModelDamaged):
        easel.pipeline.paint(
            "a boat",
            width=64,
            height=64,
            steps=2,
            guidance=3.5,
            seed=1,
            adapters=[],
            on_step=damage,
        )
    assert easel.pipeline.describe() == {}
    assert easel.paint().pixels == plain.pixels


def test_the_system_tab_gets_plain_facts(loaded: FluxPipeline) -> None:
    facts = loaded.describe()
    assert facts["device"] == "CPU"
    assert facts["dtype"] == "float32"
    assert facts["seconds_to_load"] > 0
    assert facts["threads"] >= 1


def test_load_again_does_nothing(loaded: FluxPipeline) -> None:
    pipe = loaded._ready.pipe
    loaded.load()
    assert loaded._ready.pipe is pipe


def test_a_model_that_can_not_run_here_is_refused_before_any_download(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, base_model="flux1-dev")
    pipeline = FluxPipeline(CATALOGUE["flux1-dev"], settings)
    if place(probe(), pipeline.base_model.sizes).short == "":
        pytest.skip("this machine has room for FLUX.1-dev")
    with pytest.raises(BaseModelUnavailable, match="FLUX.1-dev needs .* GB") as caught:
        pipeline.load()
    assert "FLUXUI_BASE_MODEL=tiny" in caught.value.hint


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_smaller_types_paint_and_are_restored_too(
    dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a T4 and newer GPUs run it, on the CPU: T5 and the VAE stay in fp32."""
    rung = replace(place(cpu(), CATALOGUE["tiny"].sizes), dtype=dtype)
    monkeypatch.setattr("fluxui.pipeline.flux.ladder", lambda *given: (rung,))
    easel = Easel(make_pipeline(tmp_path))
    plain = easel.paint()
    assert easel.pipeline.describe()["dtype"] == dtype
    assert len(set(plain.pixels)) > 20
    changed = easel.paint([lora(targets(easel.pipeline.base_model.config))])
    assert changed.pixels != plain.pixels
    assert easel.paint().pixels == plain.pixels
