"""LoRA files, made by hand: small, and exactly what a test needs."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from fluxui.pipeline.base_models import choose_base_model
from fluxui.settings import Settings


def fitting_lora(settings: Settings) -> bytes:
    """A LoRA of rank 2 for one layer of the base model of these settings."""
    targets = choose_base_model(settings).targets()
    layer = next(name for name in targets if name.endswith("attn.to_q"))
    return make_lora(layer, targets[layer])


def stranger_lora() -> bytes:
    """A LoRA for a layer that only SDXL has."""
    layer = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    return make_lora(layer, (640, 640), prefix="")


def make_lora(layer: str, shape: tuple[int, int], prefix: str = "transformer.") -> bytes:
    """The bytes of a safetensors file in the layout of diffusers. `shape` is (out, in)."""
    rank, (rows, columns) = 2, shape
    down, up = rank * columns * 4, rows * rank * 4
    header = {
        f"{prefix}{layer}.lora_A.weight": _tensor((rank, columns), 0, down),
        f"{prefix}{layer}.lora_B.weight": _tensor((rows, rank), down, down + up),
    }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + struct.pack("<f", 0.01) * ((down + up) // 4)


def _tensor(shape: tuple[int, int], start: int, end: int) -> dict[str, object]:
    return {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}


def write(folder: Path, data: bytes, name: str = "my-lora.safetensors") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path
