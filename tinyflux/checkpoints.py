"""Training state on disk: written whole or not at all, and read back without unpickling code."""

import os
from pathlib import Path
from typing import Any

import torch

State = dict[str, Any]


def save(path: Path, state: State) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load(path: Path) -> State | None:
    """The last state saved here, or None where nothing was."""
    if not path.exists():
        return None
    return torch.load(path, map_location="cpu", weights_only=True)
