"""What fits where: a device's facts and the size of the weights → dtype and offload.

A pure function over plain values. Each rung is one line of a ladder, from what is fastest to what
still runs, and says in words what it costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from fluxui.pipeline.devices import Device

# Of FLUX.1's 33.7 GB in bf16 the transformer is 23.8; with what a step needs, 74 %.
_LARGEST_PART = 0.74
# All weights, a second transformer to restore LoRAs from, and some room to work.
_WITH_COPIES = 1.75
_LEAF = 4_000_000_000  # one layer at a time, the decoder in tiles
_BFLOAT16 = (8, 0)  # compute capability of the first that has it


class Offload(str, Enum):
    """Where the weights wait: `none` on the device, else in the machine's memory."""

    none = "none"
    model = "model"
    group = "group"


@dataclass(frozen=True)
class Placement:
    """How a base model runs. `dtype` is the transformer's; T5 and the VAE have their own.

    `short` says what is missing where nothing fits; then the rest is the closest there is.
    """

    device: str
    dtype: str
    wide_dtype: str
    offload: Offload
    note: str
    short: str = ""


def place(device: Device, weight_bytes: int) -> Placement:
    """The first rung that fits. `weight_bytes` counts two bytes a weight."""
    if device.kind == "cpu":
        return _on_cpu(device, weight_bytes)
    native = device.capability >= _BFLOAT16
    # T5 and the VAE overflow in fp16, so they take twice the room there.
    dtype, wide_dtype = ("bfloat16", "bfloat16") if native else ("float16", "float32")
    need = weight_bytes if native else weight_bytes * 1.3
    if device.memory >= need * _WITH_COPIES:
        return Placement("cuda", dtype, wide_dtype, Offload.none, "Everything stays on the GPU.")
    offload, note = Offload.group, "Each layer visits the GPU in turn: several times slower."
    if device.memory >= need * _LARGEST_PART:
        offload, note = Offload.model, "Each part visits the GPU in turn: some seconds a picture."
    return Placement("cuda", dtype, wide_dtype, offload, note, short=_short(device, need))


def _on_cpu(device: Device, weight_bytes: int) -> Placement:
    need = 2 * weight_bytes * 1.5
    short = f"{need / 1e9:.0f} GB of memory" if 0 < device.ram < need else ""
    return Placement("cpu", "float32", "float32", Offload.none, "The CPU paints.", short)


def _short(device: Device, need: float) -> str:
    if device.memory < _LEAF:
        return f"{_LEAF / 1e9:.0f} GB of GPU memory"
    if 0 < device.ram < need * _WITH_COPIES:
        return f"{need * _WITH_COPIES / 1e9:.0f} GB of memory"
    return ""
