"""The benchmark for GPUs, rehearsed on what there is, with only what a bare GPU machine has."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
