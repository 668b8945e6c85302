"""Files of LoRAs, written as trainers write them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import Tensor


@pytest.fixture
def lora_file(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Write tensors as a LoRA file."""

    def write(
        tensors: dict[str, Tensor], name: str = "lora.safetensors", **metadata: object
    ) -> Path:
        path = tmp_path / name
        texts = {
            key: value if isinstance(value, str) else json.dumps(value)
            for key, value in metadata.items()
        }
        save_file(
            {key: tensor.contiguous() for key, tensor in tensors.items()}, path, texts or None
        )
        return path

    yield write
