"""A client of the REST door alone, over a studio whose pipeline is fake, and LoRA files."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from fluxui.api import build_api
from fluxui.studio import Studio


@pytest.fixture
def client(studio: Studio) -> Iterator[TestClient]:
    with TestClient(build_api(studio), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def lora_bytes(studio: Studio) -> bytes:
    """A LoRA of rank 2 for one layer of the base model."""
    return make_lora(*next(iter(_attention(studio).items())))


@pytest.fixture
def stranger_bytes() -> bytes:
    """A LoRA for a layer that only SDXL has."""
    name = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    return make_lora(name, (640, 640), prefix="")


def _attention(studio: Studio) -> dict[str, tuple[int, int]]:
    targets = studio.base_model.targets()
    return {name: shape for name, shape in targets.items() if name.endswith("attn.to_q")}


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
