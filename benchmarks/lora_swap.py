"""The LoRA hot swap against diffusers' own: python -m benchmarks.lora_swap [--json FILE]

One process, one thread, both sides in turn on the same files: unload_lora_weights and
load_lora_weights of diffusers against the merge of fluxui, on the embedded transformer and on one
of FLUX.1-dev's real depth (19 + 38 blocks) but narrow, where the work per layer is what counts.
Then what does not show in one swap: whether it grows with the LoRAs that were used, what a step
costs, what is left in memory, and whether every bit comes back.
First both must compute the same. Times are those of a CPU and tell of code, not of a GPU.
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import truediv
from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from diffusers.utils import logging
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.timing import Row, arguments, milliseconds, summary, tell
from fluxui.loras.canonical import read
from fluxui.pipeline import Adapter
from fluxui.pipeline.adapters import Adapters
from fluxui.pipeline.base_models import CATALOGUE, FLUX1, TINY, choose_base_model
from fluxui.pipeline.flux import FluxPipeline as Pipeline
from fluxui.pipeline.targets import targets
from fluxui.settings import Settings

PAIRS = 15
STEP_PAIRS = 45
MANY = 50
ROUND = 10
SWAPS = 500
RANDOM = 200
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
            bench = prepare(model, Path(folder) / name, count=MANY)
            facts[f"{name}, relative difference"] = f"{compare(bench):.1e}"
            facts[f"{name}, layers of a LoRA"] = str(bench.adapters.apply([bench.adapter(0)])[0])
            stepped, facts[f"{name}, a step against none"] = steps(bench)
            measured = measure(bench) | growth(bench) | stepped
            rows |= {f"{name}: {what}": row for what, row in measured.items()}
            facts[f"{name}, times faster"] = faster(measured)
            facts[f"{name}, after many against after 1"] = dearer(
                measured, "swap, after 1 LoRA", ("swap, after 10", "swap, after 50")
            )
            facts[f"{name}, memory over {SWAPS} swaps"] = f"{memory(bench):+.1f} MB"
            restored(bench)
            facts[f"{name}, None after {RANDOM} random swaps"] = "every bit as before"
        rows |= cold(Path(folder))
    facts["text encoders' calls for a prompt painted twice"] = str(encodings())
    tell(rows, given.json, **facts)


def tiny() -> Any:
    return FluxTransformer2DModel.from_pretrained(TINY / "transformer", dtype=torch.float32)


def deep() -> Any:
    torch.manual_seed(0)
    return FluxTransformer2DModel.from_config(DEEP).eval()


def prepare(model: Any, folder: Path, count: int) -> Bench:
    folder.mkdir()
    sizes = targets(model.config)
    twin = twin_of(model)
    stock = FluxPipeline(FlowMatchEulerDiscreteScheduler(), None, None, None, None, None, twin)
    files = [write(folder / f"{number}.safetensors", sizes, number) for number in range(count)]
    return Bench(model, stock, Adapters(model, sizes, torch.device("cpu")), sizes, files)


def twin_of(model: Any) -> Any:
    twin = FluxTransformer2DModel.from_config(model.config).eval()
    twin.load_state_dict(model.state_dict())
    return twin


def write(
    path: Path,
    sizes: dict[str, tuple[int, int]],
    seed: int,
    rank: int = RANK,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Every layer of every block, as most trainers write it, in a size that shows."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, (rows, columns) in sizes.items():
        if "transformer_blocks." in name:
            down = torch.randn(rank, columns, generator=generator) * 0.05
            tensors[f"transformer.{name}.lora_A.weight"] = down.to(dtype)
            up = torch.randn(rows, rank, generator=generator) * 0.05
            tensors[f"transformer.{name}.lora_B.weight"] = up.to(dtype)
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
    for number in range(ROUND):
        bench.swap_ours(number)  # warm: the file was read before
    rows = in_turn(
        {
            "swap, diffusers": bench.swap_stock,
            "swap, fluxui": bench.swap_ours,
            "swap, fluxui, from the file": partial(swap_cold, bench),
        }
    )
    rows |= in_turn(
        {
            "set_adapters": lambda number: bench.stock.set_adapters("one", weight(number)),
            "weight only, fluxui": lambda number: bench.adapters.apply(
                [bench.adapter(0, weight(number))]
            ),
        }
    )
    return rows


def growth(bench: Bench) -> dict[str, Row]:
    """One swap for three models, of which one has met 1 LoRA, one 10 and one 50."""
    models = {}
    for used in (1, 10, MANY):
        twin = twin_of(bench.ours)
        swap = Adapters(twin, bench.sizes, torch.device("cpu"))
        for number in range(used):
            swap.apply([bench.adapter(number)])
        models["swap, after 1 LoRA" if used == 1 else f"swap, after {used}"] = swap
    times: dict[str, list[float]] = {name: [] for name in models}
    for pair in range(-2, PAIRS):
        for name, swap in models.items():
            swap.apply([])
            took = milliseconds(lambda swap=swap: swap.apply([bench.adapter(0)]))  # type: ignore[misc]
            if pair >= 0:
                times[name].append(took)
    return {name: summary(taken) for name, taken in times.items()}


def steps(bench: Bench) -> tuple[dict[str, Row], str]:
    """What a step costs in one and the same model, with no LoRA, with one and with four; and how
    often as long they take as the one with none right before them.
    """
    chosen = {"no LoRA": 0, "1 LoRA": 1, "4 LoRAs": 4}
    times: dict[str, list[float]] = {name: [] for name in chosen}
    stock: list[float] = []
    bench.swap_stock(0)
    for pair in range(-2, STEP_PAIRS):
        for name, count in chosen.items():
            bench.adapters.apply([bench.adapter(number) for number in range(count)])
            forward(bench.ours)
            took = milliseconds(lambda: [forward(bench.ours) for _ in range(3)]) / 3
            if pair >= 0:
                times[name].append(took)
        if 0 <= pair < PAIRS:
            stock.append(milliseconds(partial(forward, bench.stock.transformer)))
    bench.adapters.apply([])
    rows = {f"forward, {name}": summary(taken) for name, taken in times.items()}
    ratios = (
        f"{name}: {statistics.median(map(truediv, times[name], times['no LoRA'])):.3f} times"
        for name in ("1 LoRA", "4 LoRAs")
    )
    return rows | {"forward, 1 LoRA in diffusers": summary(stock)}, ", ".join(ratios)


def memory(bench: Bench) -> float:
    """MB that the process has more after many swaps than after the first tenth of them."""
    before = 0.0
    for number in range(SWAPS):
        bench.adapters.apply([bench.adapter(number % MANY)])
        if number == SWAPS // 10:
            before = resident()
    bench.adapters.apply([])
    return resident() - before


def cold(folder: Path) -> dict[str, Row]:
    """A file of FLUX.1-dev's own sizes into the form that is merged, against reading its tensors
    as they are, which is the least that any cache of it on the disk would take.
    """
    base = CATALOGUE["flux1-dev"]
    sizes, rows = targets(base.config), {}
    for rank in (16, 64):
        path = write(folder / f"dev {rank}.safetensors", sizes, 0, rank, torch.bfloat16)
        rows |= in_turn(
            {
                f"FLUX.1-dev, rank {rank}: converted": lambda _: read(path, base.targets()),  # noqa: B023
                f"FLUX.1-dev, rank {rank}: only read": lambda _: as_it_is(path),  # noqa: B023
            }
        )
        path.unlink()
    return rows


def as_it_is(path: Path) -> list[Tensor]:
    with safe_open(path, "pt") as file:
        return [file.get_tensor(name).clone() for name in file.keys()]  # noqa: SIM118


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def restored(bench: Bench) -> None:
    """Raises AssertionError unless every weight is what it was."""
    before = {name: weight.clone() for name, weight in bench.ours.named_parameters()}
    choice = random.Random(0)
    for _ in range(RANDOM):
        chosen = choice.sample(range(MANY), choice.randint(0, 4))
        bench.adapters.apply([bench.adapter(number, choice.uniform(0, 2)) for number in chosen])
    bench.adapters.apply([])
    for name, weight in bench.ours.named_parameters():
        assert torch.equal(weight, before[name]), name


def encodings() -> int:
    """Calls of CLIP and T5 in the second of two pictures of one prompt."""
    settings = Settings(base_model="tiny")
    pipeline = Pipeline(choose_base_model(settings), settings)
    calls: list[int] = []
    paint = partial(
        pipeline.paint,
        "a red boat on the sea at sunset",
        width=64,
        height=64,
        steps=1,
        guidance=3.5,
        adapters=[],
        on_step=lambda _: None,
    )
    paint(seed=1)
    for part in (pipeline._ready.pipe.text_encoder, pipeline._ready.pipe.text_encoder_2):
        part.register_forward_hook(lambda *_: calls.append(1))
    paint(seed=2)
    return len(calls)


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
            took = milliseconds(partial(call, pair % ROUND))
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
            ratio("weight only", "swap, diffusers", "weight only, fluxui"),
            ratio("weight only against set_adapters", "set_adapters", "weight only, fluxui"),
        ]
    )


def dearer(rows: dict[str, Row], base: str, others: tuple[str, ...]) -> str:
    return ", ".join(
        f"{other.split(', ')[1]}: {rows[other]['median'] / rows[base]['median']:.3f} times"
        for other in others
    )


if __name__ == "__main__":
    main()
