"""ZeroGPU, against a `spaces` that forks and pickles as the real one does (tests/zero)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fluxui.pipeline.zero import Asked, seconds

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What tests/zero/paint.py saw. One thread: OpenMP's do not live through a fork."""
    folder = tmp_path_factory.mktemp("zero")
    run = subprocess.run(
        [sys.executable, "-m", "tests.zero.paint", str(folder)],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "tests" / "zero"),
            "SPACES_ZERO_GPU": "true",
            "SYSTEM": "spaces",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert run.returncode == 0, run.stderr
    loaded: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return loaded


def test_the_same_request_is_the_same_picture_there(seen: dict[str, Any]) -> None:
    assert seen["lent"] == seen["plain"]
    assert seen["lora"] == seen["plain_lora"] != seen["lent"]


def test_steps_come_back_while_it_paints(seen: dict[str, Any]) -> None:
    assert seen["steps"] == [1, 2, 3]


def test_cancel_closes_the_stream_and_the_next_picture_is_whole(seen: dict[str, Any]) -> None:
    assert seen["stopped"] == [1]
    assert seen["after"] == seen["plain"]


def test_an_error_keeps_its_class_on_the_way_back(seen: dict[str, Any]) -> None:
    assert seen["misfit"]["code"] == "lora_misfit"
    assert seen["misfit"]["hint"]


def test_a_used_up_quota_is_one_plain_sentence(seen: dict[str, Any]) -> None:
    assert seen["refused"]["code"] == "gpu_refused"
    assert seen["refused"]["message"] == "ZeroGPU: You have exceeded your GPU quota"


def test_every_door_pays_with_the_callers_quota(seen: dict[str, Any]) -> None:
    """One image each time: REST asked for two."""
    assert seen["ended"] == ["completed", "completed"]
    assert seen["tokens"] == ["gradio", "rest", "rest"]


def test_it_is_lent_for_as_long_as_the_work_takes(seen: dict[str, Any]) -> None:
    asked = Asked("a boat", 1024, 1024, 28, 3.5, 7, ())
    assert seconds(asked) == 45
    assert seen["scheduled"] == {"token": None, "seconds": 30, "size": "xlarge"}
