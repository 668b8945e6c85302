"""Loading: each part in its own number type, quietly, and known by its shapes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fluxui.pipeline.base_models import CATALOGUE
from fluxui.pipeline.devices import cpu
from fluxui.pipeline.loading import fingerprint, put_on_device, read_model
from fluxui.pipeline.placement import Sizes, place
from fluxui.settings import Settings


def test_every_part_has_its_own_type(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    placement = replace(place(cpu(), Sizes(1, 1)), dtype="bfloat16")
    pipe = read_model(CATALOGUE["tiny"], placement, Settings(data_dir=tmp_path))
    put_on_device(pipe, placement)
    assert pipe.transformer.dtype == pipe.text_encoder.dtype == torch.bfloat16
    assert pipe.text_encoder_2.dtype == pipe.vae.dtype == torch.float32
    assert capfd.readouterr() == ("", "")
    before = fingerprint(pipe)
    assert before["transformer.x_embedder.weight"] == (256, 64)
    pipe.transformer.x_embedder.weight.data.zero_()
    assert fingerprint(pipe) == before
    pipe.transformer.x_embedder.weight = torch.nn.Parameter(torch.zeros(256, 128))
    assert fingerprint(pipe) != before
