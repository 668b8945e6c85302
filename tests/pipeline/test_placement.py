"""The ladder as a table: what each machine does with FLUX.1-dev and with the built-in model."""

from __future__ import annotations

import pytest

from fluxui.pipeline.base_models import CATALOGUE
from fluxui.pipeline.devices import Device
from fluxui.pipeline.placement import Offload, place

GB = 10**9
FLUX = CATALOGUE["flux1-dev"].weight_bytes
SMALL = CATALOGUE["tiny"].weight_bytes


def cuda(memory: float, ram: float, capability: tuple[int, int]) -> Device:
    return Device("cuda", "GPU", int(memory * GB), int(ram * GB), capability)


@pytest.mark.parametrize(
    ("device", "dtype", "wide", "offload", "runs"),
    [
        (cuda(150, 128, (9, 0)), "bfloat16", "bfloat16", Offload.none, True),  # H200
        (cuda(85, 128, (8, 0)), "bfloat16", "bfloat16", Offload.none, True),  # A100 80 GB
        (cuda(51, 128, (8, 9)), "bfloat16", "bfloat16", Offload.model, True),  # L40S
        (cuda(25.4, 67, (8, 9)), "bfloat16", "bfloat16", Offload.model, True),  # 4090
        (cuda(24.1, 67, (8, 9)), "bfloat16", "bfloat16", Offload.group, True),  # L4
        (cuda(25.4, 32, (8, 9)), "bfloat16", "bfloat16", Offload.model, False),  # too little RAM
        (cuda(16, 128, (7, 5)), "float16", "float32", Offload.group, True),  # T4
        (cuda(16, 13, (7, 5)), "float16", "float32", Offload.group, False),  # T4 of Colab
        (cuda(2, 128, (8, 6)), "bfloat16", "bfloat16", Offload.group, False),
        (Device("cpu", "CPU", 0, 16 * GB), "float32", "float32", Offload.none, False),
        (Device("cpu", "CPU", 0, 256 * GB), "float32", "float32", Offload.none, True),
    ],
)
def test_flux1_dev(device: Device, dtype: str, wide: str, offload: Offload, runs: bool) -> None:
    placement = place(device, FLUX)
    assert (placement.dtype, placement.wide_dtype, placement.offload) == (dtype, wide, offload)
    assert placement.device == device.kind
    assert (placement.short == "") == runs
    assert placement.note.endswith(".")


@pytest.mark.parametrize("device", [cuda(2, 4, (7, 5)), Device("cpu", "CPU", 0, 2 * GB)])
def test_the_built_in_model_runs_anywhere(device: Device) -> None:
    placement = place(device, SMALL)
    assert (placement.offload, placement.short) == (Offload.none, "")


def test_a_machine_that_does_not_tell_its_memory_is_trusted() -> None:
    assert place(Device("cpu", "CPU", 0, 0), FLUX).short == ""
