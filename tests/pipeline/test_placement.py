"""The ladder as a table: what each machine does with FLUX.1-dev and with the built-in model."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from benchmarks.random_flux import CLIP_L, T5_XXL, VAE, config
from fluxui.pipeline.base_models import CATALOGUE, FLUX1
from fluxui.pipeline.devices import PACKAGES, Device
from fluxui.pipeline.placement import Placement, Rung, Sizes, ladder, place, unlocks

GB = 10**9
FLUX = CATALOGUE["flux1-dev"].sizes
SMALL = CATALOGUE["tiny"].sizes
ALL = frozenset(PACKAGES)
NONE: frozenset[str] = frozenset()

# name → memory and free memory of the device, of the machine, capability
CARDS: dict[str, Device] = {
    name: Device("cuda", name, int(memory * GB), int(ram * GB), capability, free=int(free * GB))
    for name, memory, free, ram, capability in (
        ("H200", 150, 149, 128, (9, 0)),
        ("H100", 85, 84, 128, (9, 0)),
        ("A100 80 GB", 85, 84, 128, (8, 0)),
        ("A100 40 GB", 42.4, 41.9, 85, (8, 0)),
        ("L40S", 47.8, 47.2, 128, (8, 9)),
        ("5090", 34.2, 33.5, 67, (12, 0)),
        ("4090", 25.4, 24.9, 67, (8, 9)),
        ("3090", 25.4, 24.9, 67, (8, 6)),
        ("4080", 17.1, 16.6, 34, (8, 9)),
        ("T4", 15.8, 15.6, 128, (7, 5)),
        ("T4 of Colab", 15.8, 15.6, 13, (7, 5)),
        ("3060", 12.9, 12.4, 34, (8, 6)),
        ("1660", 6.2, 6.0, 67, (7, 5)),
        ("3050", 4.2, 4.1, 67, (8, 6)),
        ("1050", 2.1, 2.0, 16, (6, 1)),
        ("H200, 20 GB left", 150, 20, 128, (9, 0)),
        ("H200, 5 GB left", 150, 5, 128, (9, 0)),
    )
}

# with requirements.txt → rung, T5 visits, where pristine weights are, smaller by default
BARE = {
    "H200": (Rung.whole, False, "cuda", False),
    "H100": (Rung.whole, False, "cuda", False),
    "A100 80 GB": (Rung.whole, False, "cuda", False),
    "A100 40 GB": (Rung.whole, False, "cpu", False),
    "L40S": (Rung.whole, False, "cpu", False),
    "5090": (Rung.whole, True, "cpu", False),
    "4090": (Rung.streamed, True, "", True),
    "3090": (Rung.streamed, True, "", True),
    "T4": (Rung.streamed, True, "", True),
    "1660": (Rung.streamed, True, "", True),
    "3050": (Rung.streamed, True, "", True),
    "H200, 20 GB left": (Rung.streamed, True, "", True),
    "H200, 5 GB left": (Rung.streamed, True, "", True),
}
# and with all of requirements-gpu.txt, where that changes it
FULL = {
    "4090": (Rung.fp8, True, "", False),
    "3090": (Rung.nf4, False, "", False),
    "4080": (Rung.fp8, True, "", False),
    "T4": (Rung.nf4, False, "", True),
    "T4 of Colab": (Rung.nf4, False, "", True),
    "3060": (Rung.nf4, True, "", False),
    "H200, 20 GB left": (Rung.fp8, True, "", False),
}


def with_packages(device: Device, packages: frozenset[str]) -> Device:
    return replace(device, packages=packages)


def told(placement: Placement) -> tuple[Rung, bool, str, bool]:
    return placement.rung, placement.text_visits, placement.pristine, placement.smaller


@pytest.mark.parametrize("name", CARDS)
def test_flux1_dev_with_what_fluxui_needs(name: str) -> None:
    placement = place(CARDS[name], FLUX)
    if name in BARE:
        assert (told(placement), placement.short) == (BARE[name], "")
    else:
        assert placement.short.endswith("memory")


@pytest.mark.parametrize("name", CARDS)
def test_flux1_dev_with_everything(name: str) -> None:
    placement = place(with_packages(CARDS[name], ALL), FLUX)
    if expected := FULL.get(name) or BARE.get(name):
        assert (told(placement), placement.short) == (expected, "")
    else:
        assert placement.short


@pytest.mark.parametrize("name", CARDS)
def test_every_rung_is_honest(name: str) -> None:
    """Says what it costs, runs in a type that its card has, and comes once."""
    native = CARDS[name].capability >= (8, 0)
    rungs = ladder(with_packages(CARDS[name], ALL), FLUX)
    assert len(set(rungs)) == len(rungs)
    for rung in rungs:
        assert rung.note.endswith(".") and rung.device == "cuda"
        assert rung.dtype == ("bfloat16" if native else "float16")
        assert rung.wide_dtype == ("bfloat16" if native else "float32"), "T5 overflows in fp16"
        assert bool(rung.shortcuts) == (rung.rung in (Rung.fp8, Rung.nf4))
        assert rung.attention[-1] == "native"
        assert rung.compiled == (native and rung.rung in (Rung.whole, Rung.fp8))
        assert not (rung.pristine and rung.shortcuts), "rounded weights are not written to"


def test_a_ladder_ends_with_what_needs_least() -> None:
    rungs = [one.rung for one in ladder(with_packages(CARDS["4090"], ALL), FLUX)]
    assert rungs == [Rung.fp8, Rung.nf4, Rung.nf4, Rung.streamed, Rung.layered]
    kinds = {one.rung for one in ladder(with_packages(CARDS["H200"], ALL), FLUX)}
    assert kinds == {Rung.whole, Rung.fp8, Rung.nf4, Rung.streamed, Rung.layered}


@pytest.mark.parametrize(
    ("capability", "packages", "attention"),
    [
        ((9, 0), ALL, ("_flash_3", "_flash_3_hub", "_native_cudnn", "native")),
        ((9, 0), NONE, ("_native_cudnn", "native")),
        ((10, 0), ALL, ("_native_cudnn", "native")),
        ((12, 0), ALL, ("native",)),
        ((8, 9), ALL, ("native",)),
        ((7, 5), ALL, ("native",)),
    ],
)
def test_attention(
    capability: tuple[int, int], packages: frozenset[str], attention: tuple[str, ...]
) -> None:
    device = Device("cuda", "GPU", 150 * GB, 128 * GB, capability, packages=packages)
    assert place(device, FLUX).attention == attention


def test_what_is_fast_is_only_on_demand() -> None:
    h200, bare = with_packages(CARDS["H200"], ALL), CARDS["H200"]
    assert place(h200, FLUX).shortcuts == ()
    assert place(h200, FLUX, "fp8").shortcuts == ("fp8 weights",)
    assert place(h200, FLUX, "fp8,cache").shortcuts == ("fp8 weights", "step cache")
    assert place(bare, FLUX, "fp8").shortcuts == ()  # not installed: as it is, and doctor says so
    assert dict(unlocks(bare, FLUX, "fp8"))["torchao"].endswith("differ a little.")
    assert place(with_packages(CARDS["A100 80 GB"], ALL), FLUX, "fp8").rung is Rung.whole
    assert place(CARDS["T4"], FLUX, "cache").shortcuts == ()  # nothing gained where weights travel


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("H200", {"kernels", "flash_attn_3", "triton"}),
        ("A100 80 GB", {"triton"}),
        ("4090", {"torchao", "bitsandbytes"}),
        ("T4", {"bitsandbytes"}),
        ("T4 of Colab", {"bitsandbytes"}),
        ("1050", set()),
    ],
)
def test_which_package_would_help(name: str, packages: set[str]) -> None:
    found = dict(unlocks(CARDS[name], FLUX))
    assert set(found) == packages
    assert all(gain.endswith(".") for gain in found.values())
    assert not dict(unlocks(with_packages(CARDS[name], ALL), FLUX))


@pytest.mark.parametrize("device", [CARDS["1050"], Device("cpu", "CPU", 0, 2 * GB)])
def test_the_built_in_model_runs_anywhere(device: Device) -> None:
    placement = place(device, SMALL)
    assert (placement.rung, placement.short) == (
        (Rung.whole if device.kind == "cuda" else Rung.cpu),
        "",
    )
    assert not placement.smaller and not placement.compiled


def test_a_cpu_paints_with_flux_if_it_has_the_memory() -> None:
    def on(ram: int, free: int = 0) -> Placement:
        return place(Device("cpu", "CPU", 0, ram * GB, ram_free=free * GB), FLUX)

    assert on(16).short == "101 GB of memory"
    assert (on(256).short, on(256).dtype, on(256).attention) == ("", "float32", ())
    assert on(256, free=30).short
    assert on(0).short == ""  # a machine that does not tell is trusted


def bytes_of(model: nn.Module) -> int:
    return 2 * sum(weight.numel() for weight in model.parameters())


def test_sizes_are_those_of_the_real_shapes() -> None:
    """On `meta`, where a tensor takes no memory."""
    with torch.device("meta"):
        transformer = FluxTransformer2DModel.from_config(FLUX1)
        clip = CLIPTextModel(CLIPTextConfig(**config("text_encoder") | CLIP_L))
        t5 = T5EncoderModel(T5Config(**config("text_encoder_2") | T5_XXL))
        vae = AutoencoderKL.from_config(config("vae") | VAE)
    assert FLUX.transformer == pytest.approx(bytes_of(transformer), rel=0.001)
    assert FLUX.text == pytest.approx(sum(map(bytes_of, (clip, t5, vae))), rel=0.01)


def test_sizes_count_every_weight_once() -> None:
    assert FLUX.transformer == pytest.approx(23.8 * GB, rel=0.01)
    assert FLUX.transformer + FLUX.text == CATALOGUE["flux1-dev"].weight_bytes
    assert place(CARDS["4090"], Sizes(4 * GB, 2 * GB)).rung is Rung.whole
