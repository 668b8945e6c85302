"""The LoRA hot swap against diffusers' own: python -m benchmarks.lora_swap [--json FILE]

One process, one thread, both sides in turn on the same files: unload_lora_weights and
load_lora_weights of diffusers against the merge of fluxui, on the embedded transformer and on one
of FLUX.1-dev's real depth (19 + 38 blocks) but narrow, where the work per layer is what counts.
First both must compute the same. Times are those of a CPU and tell of code, not of a GPU.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from diffusers.utils import logging
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.timing import Row, arguments, milliseconds, summary, tell
from fluxui.loras.canonical import read
from fluxui.pipeline import Adapter
from fluxui.pipeline.adapters import Adapters
from fluxui.pipeline.base_models import FLUX1, TINY
from fluxui.pipeline.targets import targets

PAIRS = 15
RANK = 16
WEIGHT = 0.8
DEEP = FLUX1 | {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "axes_dims_rope": (4, 6, 6),
    "joint_attention_dim": 32,
    "pooled_projection_dim": 32,
}


@dataclass
class Bench:
    """One transformer twice: ours merges into its own copy, diffusers wraps the other."""

    ours: FluxTransformer2DModel
    stock: Any
    adapters: Adapters
    sizes: dict[str, tuple[int, int]]
    files: list[Path]

    def adapter(self, number: int, weight: float = WEIGHT) -> Adapter:
        path = self.files[number]
        return Adapter(path.name, weight, lambda: read(path, self.sizes))

    def swap_ours(self, number: int) -> None:
        self.adapters.apply([self.adapter(number)])

    def swap_stock(self, number: int) -> None:
        self.stock.unload_lora_weights()
        self.stock.load_lora_weights(self.files[number], adapter_name="one")
        self.stock.set_adapters("one", WEIGHT)


def main() -> None:
    given = arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    rows: dict[str, Row] = {}
    facts: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, model in (("tiny", tiny()), ("19+38 blocks", deep())):
            bench = prepare(model, Path(folder) / name)
            facts[f"{name}, relative difference"] = f"{compare(bench):.1e}"
            measured = measure(bench)
            rows |= {f"{name}: {what}": row for what, row in measured.items()}
            facts[f"{name}, times faster"] = faster(measured)
    tell(rows, given.json, **facts)


def tiny() -> Any:
    return FluxTransformer2DModel.from_pretrained(TINY / "transformer", dtype=torch.float32)


def deep() -> Any:
    torch.manual_seed(0)
    return FluxTransformer2DModel.from_config(DEEP).eval()


def prepare(model: Any, folder: Path, count: int = 10) -> Bench:
    folder.mkdir()
    sizes = targets(model.config)
    twin = FluxTransformer2DModel.from_config(model.config).eval()
    twin.load_state_dict(model.state_dict())
    stock = FluxPipeline(FlowMatchEulerDiscreteScheduler(), None, None, None, None, None, twin)
    files = [write(folder / f"{number}.safetensors", sizes, number) for number in range(count)]
    return Bench(model, stock, Adapters(model, sizes, torch.device("cpu")), sizes, files)


def write(path: Path, sizes: dict[str, tuple[int, int]], seed: int) -> Path:
    """Every layer of every block, as most trainers write it, in a size that shows."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, (rows, columns) in sizes.items():
        if "transformer_blocks." in name:
            down = torch.randn(RANK, columns, generator=generator) * 0.05
            tensors[f"transformer.{name}.lora_A.weight"] = down
            up = torch.randn(rows, RANK, generator=generator) * 0.05
            tensors[f"transformer.{name}.lora_B.weight"] = up
    save_file(tensors, path)
    return path


@torch.no_grad()
def forward(model: Any) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    config = model.config
    output: Tensor = model(
        torch.randn(1, 64, config.in_channels, generator=generator),
        encoder_hidden_states=torch.randn(1, 40, config.joint_attention_dim, generator=generator),
        pooled_projections=torch.randn(1, config.pooled_projection_dim, generator=generator),
        timestep=torch.tensor([0.5]),
        guidance=torch.tensor([3.5]),
        img_ids=torch.zeros(64, 3),
        txt_ids=torch.zeros(40, 3),
    ).sample
    return output


def compare(bench: Bench) -> float:
    """The largest difference of the two outputs, relative; or there is nothing to compare."""
    plain, worst = forward(bench.ours), 0.0
    for number in range(2):
        bench.swap_ours(number)
        bench.swap_stock(number)
        ours, theirs = forward(bench.ours), forward(bench.stock.transformer)
        worst = max(worst, float((ours - theirs).abs().max() / theirs.abs().max()))
        assert not torch.allclose(ours, plain, rtol=1e-2), "the LoRA does nothing"
    assert worst <= 1e-5, f"the outputs differ by {worst}"
    bench.adapters.apply([])
    assert torch.equal(forward(bench.ours), plain), "'None' does not give the base model back"
    return worst


def measure(bench: Bench) -> dict[str, Row]:
    rows = in_turn(
        {
            "swap, diffusers": bench.swap_stock,
            "swap, fluxui": bench.swap_ours,
            "swap, fluxui, from the file": partial(swap_cold, bench),
        }
    )
    rows |= in_turn(
        {
            "weight only, diffusers": lambda number: bench.stock.set_adapters(
                "one", weight(number)
            ),
            "weight only, fluxui": lambda number: bench.adapters.apply(
                [bench.adapter(0, weight(number))]
            ),
        }
    )
    many = [bench.adapter(number) for number in range(4)]
    plain = FluxTransformer2DModel.from_config(bench.ours.config).eval()

    def merged(_: int) -> None:
        forward(bench.ours)

    bench.adapters.apply(many)
    rows |= in_turn(
        {
            "forward, no LoRA": lambda _: forward(plain),
            "forward, four LoRAs in fluxui": merged,
            "forward, one LoRA in diffusers": lambda _: forward(bench.stock.transformer),
        }
    )
    return rows


def weight(number: int) -> float:
    return 0.1 + 0.05 * (number % 30)


def swap_cold(bench: Bench, number: int) -> None:
    """As the first time: the file is read, checked and converted, and nothing was kept."""
    delta = read(bench.files[number], bench.sizes)
    bench.adapters.apply([Adapter(f"cold {number}", WEIGHT, lambda: delta)])


def in_turn(calls: dict[str, Callable[[int], object]]) -> dict[str, Row]:
    """Pair by pair, each call with the same LoRA, never the one that it had before."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for pair in range(-2, PAIRS):
        for name, call in calls.items():
            took = milliseconds(partial(call, pair % 10))
            if pair >= 0:
                times[name].append(took)
    return {name: summary(taken) for name, taken in times.items()}


def faster(rows: dict[str, Row]) -> str:
    def ratio(what: str, slow: str, fast: str) -> str:
        return f"{what} {rows[slow]['median'] / rows[fast]['median']:.1f}"

    return ", ".join(
        [
            ratio("swap", "swap, diffusers", "swap, fluxui"),
            ratio("from the file", "swap, diffusers", "swap, fluxui, from the file"),
            ratio("weight only", "weight only, diffusers", "weight only, fluxui"),
        ]
    )


if __name__ == "__main__":
    main()
