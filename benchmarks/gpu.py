"""FLUX.1-dev's real shapes on a GPU: python -m benchmarks.gpu [--json FILE]

Random weights, made on the device: no download, no account. In one process, in turn: fluxui with a
LoRA merged, against diffusers as it comes (eager, its own LoRA beside the layers), 1024x1024 in 28
steps. Then another LoRA, how long the GPU waits between two queued generations, and every rung of
the ladder on a GPU of 12, 16 and 24 GB, which the memory fraction of torch stands for: it tells
what fits, not how fast such a card is.

It needs no more than torch, diffusers, transformers, peft, safetensors, numpy, Pillow and pydantic.
`--tiny` rehearses all of it with a narrow model of the real depth, on whatever there is.
"""

from __future__ import annotations

import gc
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.random_flux import write_model
from benchmarks.timing import Row, arguments, milliseconds, summary, tell
from fluxui import images
from fluxui.pipeline import Adapter, Step
from fluxui.pipeline.base_models import choose_base_model
from fluxui.pipeline.devices import Device, probe
from fluxui.pipeline.flux import FluxPipeline
from fluxui.pipeline.placement import Placement, Rung, Sizes, ladder, place
from fluxui.pipeline.targets import targets
from fluxui.queue.local import LocalQueue
from fluxui.queue.order import Ticket

RANK, WEIGHT, GUIDANCE = 16, 0.8, 3.5
TERAFLOPS_A_STEP = 74.38  # counted at 1024x1024 with 512 tokens of text
TERAFLOPS_A_SECOND = 790.0  # bf16, as an H200 was seen to multiply matrices
CARDS = (12, 16, 24)  # GB
BOTH = 90e9  # two transformers, one of them with the copy that LoRAs are merged from


@dataclass
class Bare:
    """As much of the settings as the engine looks at."""

    base_model: str
    fast: str = ""
    hf_token: None = None


@dataclass
class Plan:
    """What is painted. `side` in pixels."""

    folder: Path
    side: int
    steps: int
    pairs: int
    fast: str
    tiny: bool
    facts: dict[str, Any] = field(default_factory=dict)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--tiny", action="store_true", help="a narrow model: a rehearsal")
    parser.add_argument("--folder", type=Path, help="where the model is written: 34 GB")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--fast", default="", help="as FLUXUI_FAST")
    given = parser.parse_args()
    device = probe()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary) / "random-flux"
        side, steps = (64, 2) if given.tiny else (1024, 28)
        plan = Plan(folder, side, steps, given.pairs, given.fast, given.tiny)
        if not (folder / "transformer" / "config.json").exists():
            write_model(folder, torch.device(device.kind), given.tiny)
        rows: dict[str, Row] = {}
        if plan.tiny or device.room > BOTH:
            rows = against_diffusers(plan, device)
        else:
            plan.facts["diffusers"] = f"no room for both, which take {BOTH / 1e9:.0f} GB"
        rows |= rungs(plan, device)
    tell(rows, given.json, device=device.name, tiny=given.tiny, **plan.facts)


# One model of ours and one of diffusers', side by side


def against_diffusers(plan: Plan, device: Device) -> dict[str, Row]:
    ours = engine(plan, device)
    ours.load()
    stock = diffusers_beside(plan, ours)
    lora = make_lora(ours, 0)
    stock.load_lora_weights(for_diffusers(lora), adapter_name="one")
    stock.set_adapters("one", WEIGHT)
    told = ours.describe()
    plan.facts |= {name: told[name] for name in ("rung", "attention", "compiled", "fell")}
    plan.facts["pixels"] = differ(paint(ours, plan, 0, [lora]), bare(stock, plan, 0))
    rows = pictures(plan, ours, stock, lora)
    del stock
    clear()
    rows |= swaps(plan, ours) | between_two(plan, ours, lora)
    return rows


def pictures(plan: Plan, ours: FluxPipeline, stock: Any, lora: Adapter) -> dict[str, Row]:
    """Pair by pair; each prompt is a new one to both."""
    times: dict[str, list[float]] = {"a picture, diffusers": [], "a picture, fluxui": []}
    for number in range(1, plan.pairs + 1):
        turns = [
            ("a picture, diffusers", partial(bare, stock, plan, number)),
            ("a picture, fluxui", partial(paint, ours, plan, number, [lora])),
        ]
        for name, call in turns if number % 2 else reversed(turns):
            times[name].append(milliseconds(call))
    rows = {name: summary(taken) for name, taken in times.items()}
    theirs, mine = (row["median"] for row in rows.values())
    plan.facts["times_faster"] = round(theirs / mine, 2)
    if not plan.tiny:
        floor = plan.steps * TERAFLOPS_A_STEP / TERAFLOPS_A_SECOND * 1000
        plan.facts["percent_of_the_floor"] = round(100 * floor / mine, 1)
    return rows


def swaps(plan: Plan, ours: FluxPipeline) -> dict[str, Row]:
    """The LoRAs are in memory already, as those used last are."""
    loras = [make_lora(ours, number) for number in range(3)]
    for lora in loras:
        swap(ours, lora)
    others = [milliseconds(partial(swap, ours, loras[k % 3])) for k in range(plan.pairs)]
    weights = [replace(loras[0], weight=0.1 + k / 100) for k in range(plan.pairs)]
    return {
        "another LoRA": summary(others),
        "another weight": summary([milliseconds(partial(swap, ours, one)) for one in weights]),
    }


def swap(ours: FluxPipeline, lora: Adapter) -> None:
    ours._ready.adapters.apply([lora])
    wait()


def between_two(plan: Plan, ours: FluxPipeline, lora: Adapter) -> dict[str, Row]:
    """From the decoder's last work to the transformer's first, on the device's own clock.

    In the real queue, with the PNG encoded beside it as the worker does; the prompt is known, or
    its encoding would count as idle.
    """
    pipe = ours._ready.pipe
    begins: list[Any] = []
    ends: list[Any] = []
    hooks = [
        pipe.transformer.register_forward_pre_hook(
            lambda *_: begins.append(mark()) if len(begins) == len(ends) else None
        ),
        pipe.vae.decoder.register_forward_hook(lambda *_: ends.append(mark())),
    ]
    done = threading.Semaphore(0)

    def run(job_id: str, report: Any, cancelled: Any) -> Any:
        pixels = paint(ours, plan, 0, [lora], seed=int(job_id))
        ends[len(begins) - 1 :] = ends[-1:]  # a decoder in tiles ends often: the last one counts

        def tail() -> None:
            images.encode(pixels, plan.side, plan.side, SETTINGS)
            done.release()

        return tail

    queue = LocalQueue(run, lambda: None, size=64)
    count = plan.pairs + 1
    for number in range(count):
        queue.put(Ticket(str(number)), lambda: None)
    for _ in range(count):
        done.acquire()
    queue.close()
    for hook in hooks:
        hook.remove()
    idle = [apart(end, begin) for end, begin in zip(ends[:-1], begins[1:], strict=True)]
    return {"GPU idle between two": summary(idle)}


# Every rung, on every card


def rungs(plan: Plan, device: Device) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for name, card in cards(device).items():
        model = choose_base_model(Bare(str(plan.folder)), card)  # type: ignore[arg-type]
        for placement in (*ladder(card, model.sizes, plan.fast), *rehearsed(card)):
            called = f"{name}, {placement.rung.value}" + (", T5 visits" * placement.text_visits)
            with only(card, device):
                took = climb(plan, card, placement)
                plan.facts[f"{called}, GB"] = peak() if took else "did not run"
            clear()
            if took:
                rows[called] = summary([took])
    return rows


def rehearsed(card: Device) -> tuple[Placement, ...]:
    """A CPU has one rung of its own; there the last one of a GPU is tried as well."""
    if card.kind != "cpu":
        return ()
    plain = place(card, Sizes(1, 1))
    return (replace(plain, rung=Rung.layered, text_visits=True, pristine=""),)


def cards(device: Device) -> dict[str, Device]:
    if device.kind == "cpu":
        return {"this machine": device}
    smaller = {f"{size} GB": int(size * 1e9) for size in CARDS}
    fitting = {name: size for name, size in smaller.items() if size < device.room}
    limited = {name: replace(device, memory=size, free=size) for name, size in fitting.items()}
    return limited | {"the whole device": device}


@contextmanager
def only(card: Device, device: Device) -> Iterator[None]:
    """As much of the device as that card has."""
    if device.kind == "cpu":
        yield
        return
    torch.cuda.set_per_process_memory_fraction(min(1.0, card.memory / device.memory))
    torch.cuda.reset_peak_memory_stats()
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def climb(plan: Plan, card: Device, placement: Placement) -> float:
    """Milliseconds of a warm picture on this very rung, as large as it paints by default; 0 if it
    does not run."""
    from fluxui.errors import FluxuiError

    ours = engine(plan, card)
    ours._facts, ours._device, ours._rungs = card, torch.device(placement.device), [placement]
    smaller = plan.side * 3 // 4 // 16 * 16 if placement.smaller else plan.side
    at = replace(plan, side=smaller)
    try:
        lora = make_lora(ours, 0)
        paint(ours, at, 0, [lora])
        return milliseconds(partial(paint, ours, at, 1, [lora]))
    except FluxuiError as error:
        plan.facts[f"{card.name}, {placement.rung.value}"] = error.message
        return 0.0


# What all of it is made of

SETTINGS: dict[str, Any] = {
    **{"loras": [], "num_inference_steps": 28, "guidance_scale": GUIDANCE, "seed": 0},
    **{"width": 0, "height": 0, "base_model": "random", "painted": "", "fluxui": ""},
}


def engine(plan: Plan, device: Device) -> FluxPipeline:
    settings: Any = Bare(str(plan.folder), plan.fast)
    return FluxPipeline(choose_base_model(settings, device), settings, device)


def diffusers_beside(plan: Plan, ours: FluxPipeline) -> Any:
    """diffusers' own pipeline: a transformer of its own, eager; the other parts are ours."""
    from diffusers import FluxPipeline as Diffusion
    from diffusers import FluxTransformer2DModel

    parts = dict(ours._ready.pipe.components)
    dtype = getattr(torch, ours._rungs[0].dtype)
    parts["transformer"] = FluxTransformer2DModel.from_pretrained(
        plan.folder / "transformer", dtype=dtype
    ).to(ours._device)
    parts["scheduler"] = type(parts["scheduler"]).from_config(parts["scheduler"].config)
    pipe = Diffusion(**parts)
    pipe.set_progress_bar_config(disable=True)
    # Its attention is torch's own, whatever ours takes.
    pipe.transformer.set_attention_backend("native")
    ours._ready.pipe.transformer.set_attention_backend(ours._ready.speed.attention)
    return pipe


def make_lora(ours: FluxPipeline, seed: int) -> Adapter:
    """Every layer of every block, as most trainers write it."""

    def load() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        generator = torch.Generator().manual_seed(seed)
        return {
            name: (
                torch.randn(rows, RANK, generator=generator).mul(0.01).bfloat16(),
                torch.randn(RANK, columns, generator=generator).mul(0.01).bfloat16(),
            )
            for name, (rows, columns) in targets(ours.base_model.config).items()
            if "transformer_blocks." in name
        }

    return Adapter(f"random {seed}", WEIGHT, load)


def for_diffusers(lora: Adapter) -> dict[str, torch.Tensor]:
    return {
        f"transformer.{name}.lora_{letter}.weight": matrix
        for name, (up, down) in lora.load().items()  # type: ignore[misc]
        for letter, matrix in (("A", down), ("B", up))
    }


def paint(
    ours: FluxPipeline, plan: Plan, number: int, loras: list[Adapter], seed: int | None = None
) -> bytes:
    return ours.paint(
        f"a tree on the hills {number}",
        width=plan.side,
        height=plan.side,
        steps=plan.steps,
        guidance=GUIDANCE,
        seed=number if seed is None else seed,
        adapters=loras,
        on_step=look_away,
    ).pixels


def bare(stock: Any, plan: Plan, number: int) -> bytes:
    picture = stock(
        f"a tree on the hills {number}",
        width=plan.side,
        height=plan.side,
        num_inference_steps=plan.steps,
        guidance_scale=GUIDANCE,
        max_sequence_length=512,
        generator=torch.Generator("cpu").manual_seed(number),
    ).images[0]
    return bytes(picture.tobytes())


def look_away(step: Step) -> None:
    """Nobody watches."""


def differ(one: bytes, two: bytes) -> str:
    """bf16 rounds a merged weight once, and the two sums of a LoRA beside its layer twice."""
    a, b = (torch.frombuffer(bytearray(pixels), dtype=torch.uint8).int() for pixels in (one, two))
    apart = (a - b).abs()
    return (
        f"{float(apart.float().mean()):.3f} apart in the mean, {int(apart.max())} at most, of 255"
    )


def mark() -> Any:
    if not torch.cuda.is_available():
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def apart(begin: Any, end: Any) -> float:
    """Milliseconds."""
    return float(begin.elapsed_time(end) if torch.cuda.is_available() else (end - begin) * 1000)


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def clear() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def peak() -> float | str:
    if not torch.cuda.is_available():
        return "no GPU"
    return round(torch.cuda.max_memory_reserved() / 1e9, 1)


if __name__ == "__main__":
    main()
