"""The catalogue agrees with diffusers, and the choice is the best that can run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fluxui.errors import BaseModelUnavailable
from fluxui.pipeline import base_models, hub
from fluxui.pipeline.base_models import (
    CATALOGUE,
    TINY,
    choose_base_model,
    shapes_for,
)
from fluxui.pipeline.devices import Device, cpu
from fluxui.request import GenerationForm
from fluxui.settings import Settings

GB = 10**9
H200 = Device("cuda", "NVIDIA H200", 150 * GB, 128 * GB, (9, 0))
T4 = Device("cuda", "Tesla T4", 16 * GB, 13 * GB, (7, 5))


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """No token, nothing downloaded, nothing named."""
    monkeypatch.chdir(tmp_path)
    for name in ("HF_TOKEN", "FLUXUI_BASE_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda repo, name: None)
    return Settings(data_dir=tmp_path)


@pytest.mark.parametrize("model", CATALOGUE.values(), ids=CATALOGUE)
def test_limits_and_shapes_admit_their_own_defaults(model: base_models.BaseModel) -> None:
    for width, height in model.shapes.values():
        form = GenerationForm(prompt="a boat", width=width, height=height)
        assert form.admit(model.limits).num_inference_steps == model.limits.steps
    assert model.shapes["1:1"] == (model.limits.width, model.limits.height)


@pytest.mark.parametrize("side", [128, 256, 1024])
def test_shapes_have_their_ratio_and_nearly_the_area(side: int) -> None:
    for name, (width, height) in shapes_for(side).items():
        across, down = map(int, name.split(":"))
        assert abs(width / height / (across / down) - 1) < 0.1
        assert abs(width * height / side**2 - 1) < 0.17
        assert width % 16 == height % 16 == 0


def test_auto_takes_tiny_and_says_why(bare: Settings) -> None:
    reasons = {
        device.name + str(device.hidden): choose_base_model(bare, device)
        for device in (cpu(), cpu(hidden=True), T4, H200)
    }
    assert {model.id for model in reasons.values()} == {"tiny"}
    assert [
        model.reason.removesuffix(", so the small built-in model paints.")
        for model in reasons.values()
    ] == [
        "No CUDA device here",
        "The installed torch has no CUDA",
        "Tesla T4 has too little memory for FLUX.1-dev",
        "No HF_TOKEN to download FLUX.1-dev with",
    ]


def test_auto_takes_flux1_dev_where_it_runs(
    bare: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_token = Settings(data_dir=bare.data_dir, hf_token="hf_secret")  # type: ignore[arg-type]
    chosen = choose_base_model(with_token, H200)
    assert (chosen.id, chosen.reason) == ("flux1-dev", "NVIDIA H200 has room for FLUX.1-dev.")
    monkeypatch.setattr(
        hub,
        "try_to_load_from_cache",
        lambda repo, name: None if name.endswith(".index.json") else f"/{name}",
    )
    assert choose_base_model(bare, H200).id == "flux1-dev"


def test_a_name_wins(bare: Settings) -> None:
    def named(name: str) -> base_models.BaseModel:
        return choose_base_model(Settings(data_dir=bare.data_dir, base_model=name), H200)

    assert named("tiny").reason == "FLUXUI_BASE_MODEL is tiny."
    assert named("flux1-krea-dev").source == "black-forest-labs/FLUX.1-Krea-dev"
    assert named("black-forest-labs/FLUX.1-schnell").limits.steps == 4


def test_any_diffusers_folder(bare: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "my flux"
    shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    settings = Settings(data_dir=bare.data_dir, base_model=str(folder))
    model = choose_base_model(settings, cpu())
    assert (model.source, model.limits.width) == (str(folder), 256)
    assert model.targets() == CATALOGUE["tiny"].targets()
    config = json.loads((folder / "transformer/config.json").read_text())
    config["_class_name"] = "SD3Transformer2DModel"
    (folder / "transformer/config.json").write_text(json.dumps(config))
    with pytest.raises(BaseModelUnavailable, match="not a FLUX"):
        choose_base_model(settings, cpu())
    shutil.rmtree(folder / "vae")
    with pytest.raises(BaseModelUnavailable, match="vae/config.json"):
        choose_base_model(settings, cpu())


def test_a_name_that_can_not_be_a_repository(bare: Settings) -> None:
    settings = Settings(data_dir=bare.data_dir, base_model="../../nowhere/at all")
    with pytest.raises(BaseModelUnavailable, match="no FLUX model"):
        choose_base_model(settings, cpu())


def test_choosing_imports_no_torch() -> None:
    code = (
        "import sys; from fluxui.settings import Settings;"
        "from fluxui.pipeline import choose_base_model; import fluxui.loras.library;"
        "choose_base_model(Settings()).targets();"
        "sys.exit(bool({'torch', 'diffusers', 'transformers', 'peft'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_a_machine_that_takes_long_paints_smaller_by_default(bare: Settings) -> None:
    t4 = Device("cuda", "Tesla T4", 16 * GB, 128 * GB, (7, 5))
    named = Settings(data_dir=bare.data_dir, base_model="flux1-dev")
    limits = choose_base_model(named, t4).limits
    assert (limits.width, limits.height, limits.max_size) == (768, 768, 2048)
    assert choose_base_model(named, t4).shapes["1:1"] == (768, 768)
    assert choose_base_model(named, H200).limits.width == 1024
    assert choose_base_model(bare, t4).id == "tiny"
