"""Each layout, read back by the plainest arithmetic there is, must give the same deltas."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from tinyflux import layouts

WIDE, RANK = 8, 2
SIZES = {
    "ff.net.0.proj": (32, 8),
    "ff_context.net.0.proj": (32, 8),
    "ff.net.2": (8, 32),
    "ff_context.net.2": (8, 32),
    "proj_mlp": (32, 8),
    "proj_out": (8, 40),
}


def adapter(tables: dict[str, dict[str, tuple[str, ...]]]) -> layouts.Tensors:
    torch.manual_seed(0)
    tensors = {}
    for kind, names in tables.items():
        for module in (module for group in names.values() for module in group):
            rows, columns = SIZES.get(module, (WIDE, WIDE))
            for block in range(2):
                tensors[f"{kind}.{block}.{module}.lora_A.weight"] = torch.randn(RANK, columns)
                tensors[f"{kind}.{block}.{module}.lora_B.weight"] = torch.randn(rows, RANK)
    return tensors


WHOLE = adapter({"transformer_blocks": layouts.DOUBLE, "single_transformer_blocks": layouts.SINGLE})
ATTENTION = adapter(
    {"transformer_blocks": layouts.XLABS_DOUBLE, "single_transformer_blocks": layouts.XLABS_SINGLE}
)


def delta(tensors: layouts.Tensors, module: str) -> Tensor:
    return tensors[f"{module}.lora_B.weight"] @ tensors[f"{module}.lora_A.weight"]


def rows_of(modules: tuple[str, ...], tensors: layouts.Tensors, prefix: str) -> Tensor:
    return torch.cat([delta(tensors, f"{prefix}.{module}") for module in modules])


def test_peft(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    layouts.write_peft(WHOLE, path, RANK, 4.0)
    saved = load_file(path)
    assert set(saved) == {f"transformer.{key}" for key in WHOLE}
    with safe_open(path, "pt") as file:
        metadata = json.loads(file.metadata()["lora_adapter_metadata"])
    assert metadata["transformer.r"] == RANK and metadata["transformer.lora_alpha"] == 4.0


@pytest.mark.parametrize(
    ("kind", "short", "names"),
    [
        ("transformer_blocks", "double", layouts.DOUBLE),
        ("single_transformer_blocks", "single", layouts.SINGLE),
    ],
)
def test_kohya(tmp_path: Path, kind: str, short: str, names: dict[str, tuple[str, ...]]) -> None:
    path = tmp_path / "a.safetensors"
    layouts.write_kohya(WHOLE, path, RANK, 4.0, "word")
    saved = load_file(path)
    for name, modules in names.items():
        key = f"lora_unet_{short}_blocks_1_{name}".replace(".", "_")
        down, up = saved[f"{key}.lora_down.weight"], saved[f"{key}.lora_up.weight"]
        scale = saved[f"{key}.alpha"].item() / len(down)
        assert torch.allclose(
            up @ down * scale, rows_of(modules, WHOLE, f"{kind}.1") * 2.0, atol=1e-5
        )
    assert len(saved) == 2 * 3 * (len(layouts.DOUBLE) + len(layouts.SINGLE))


@pytest.mark.parametrize(("name", "module"), layouts.OUTER.items())
def test_kohya_around_the_blocks(tmp_path: Path, name: str, module: str) -> None:
    path = tmp_path / "a.safetensors"
    down, up = torch.randn(RANK, WIDE), torch.randn(WIDE, RANK)
    ends = {f"{module}.lora_A.weight": down, f"{module}.lora_B.weight": up}
    layouts.write_kohya(WHOLE | ends, path, RANK, 4.0, "word")
    saved, key = load_file(path), f"lora_unet_{name}".replace(".", "_")
    product = saved[f"{key}.lora_up.weight"] @ saved[f"{key}.lora_down.weight"]
    assert torch.allclose(product * saved[f"{key}.alpha"] / RANK, delta(ends, module) * 2.0)


@pytest.mark.parametrize(
    ("kind", "short", "names"),
    [
        ("transformer_blocks", "double", layouts.XLABS_DOUBLE),
        ("single_transformer_blocks", "single", layouts.XLABS_SINGLE),
    ],
)
def test_xlabs(tmp_path: Path, kind: str, short: str, names: dict[str, tuple[str, ...]]) -> None:
    path = tmp_path / "a.safetensors"
    layouts.write_xlabs(ATTENTION, path)
    saved = load_file(path)
    for name, modules in names.items():
        key = f"{short}_blocks.1.processor.{name}"
        product = saved[f"{key}.up.weight"] @ saved[f"{key}.down.weight"]
        assert torch.allclose(product, rows_of(modules, ATTENTION, f"{kind}.1"), atol=1e-5)


def test_ai_toolkit_has_no_alpha(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    layouts.write_ai_toolkit(WHOLE, path, 300)
    assert set(load_file(path)) == {f"transformer.{key}" for key in WHOLE}
