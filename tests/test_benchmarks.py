"""The benchmark for GPUs, rehearsed on what there is, with only what a bare GPU machine has."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import random_flux
from fluxui.pipeline.base_models import FLUX1, choose_base_model
from fluxui.pipeline.flux import FluxPipeline
from fluxui.settings import Settings
from tests.pipeline.conftest import Easel

ROOT = Path(__file__).parent.parent

# Runs a module as `python -m` does, on a machine that never had these.
BARE = """
import runpy, sys
ABSENT = {
    "gradio", "gradio_client", "fastapi", "starlette", "uvicorn", "boto3", "botocore", "tinydb",
    "pydantic_settings", "platformdirs", "celery", "torchao", "bitsandbytes",
}
FOUND = list(sys.meta_path)
class Bare:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT:
            return None
        specs = (finder.find_spec(name, path, target) for finder in FOUND)
        return next((spec for spec in specs if spec), None)
    def find_distributions(self, *given):
        return FOUND[-1].find_distributions(*given)
sys.meta_path[:] = [Bare()]
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def test_the_gpu_benchmark_runs_on_a_bare_machine(tmp_path: Path) -> None:
    written = tmp_path / "gpu.json"
    given = ["--tiny", "--pairs", "2", "--json", str(written)]
    ended = subprocess.run(
        [sys.executable, "-c", BARE, "benchmarks.gpu", *given],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(written.read_text())
    assert told["tiny"] is True and told["fell"] == ""
    measured = told["milliseconds"]
    pictures = {"a picture, fluxui", "a picture, diffusers"}
    rungs = {"this machine, cpu", "this machine, layered, T5 visits"}
    swaps = {"another LoRA", "another weight"}
    assert set(measured) == pictures | rungs | swaps | {"GPU idle between two"}
    assert all(row["median"] > 0 for row in measured.values())
    assert measured["GPU idle between two"]["count"] == 2
    assert told["pixels"].startswith("0.00")
    assert "percent_of_the_floor" not in told, "a narrow model has no floor"


def test_the_random_model_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a GPU, every part made anew; only the widths are others."""
    narrow = {"joint_attention_dim": 64, "pooled_projection_dim": 32, "num_layers": 1}
    monkeypatch.setattr(
        random_flux, "FLUX1", FLUX1 | random_flux.DEPTH_ONLY | narrow | {"num_single_layers": 1}
    )
    clip = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    monkeypatch.setattr(random_flux, "CLIP_L", random_flux.CLIP_L | clip | {"projection_dim": 32})
    t5 = {"d_model": 64, "d_kv": 16, "d_ff": 64, "num_heads": 4, "num_layers": 2}
    monkeypatch.setattr(random_flux, "T5_XXL", random_flux.T5_XXL | t5)
    channels = {"block_out_channels": (32, 32, 32, 32), "sample_size": 64}
    monkeypatch.setattr(random_flux, "VAE", random_flux.VAE | channels)
    random_flux.write_model(tmp_path, torch.device("cpu"), narrow=False)
    settings = Settings(data_dir=tmp_path / "data", base_model=str(tmp_path))
    painted = Easel(FluxPipeline(choose_base_model(settings), settings)).paint()
    assert len(painted.pixels) == 64 * 64 * 3
