"""What fits where: a device's facts and the sizes of a base model → a ladder of ways to run it.

Pure functions over plain values. The ladder goes from what is fastest to what still runs; each
rung says in words what it costs. Nothing here was asked of a device: a rung proves itself when its
first step is painted (`flux.py`), and falls to the next one if it can't.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from fluxui.pipeline.devices import PACKAGES, Device

BFLOAT16 = (8, 0)  # the first compute capability that has it
FP8 = (8, 9)
HOPPER = (9, 0)

# Parts of the transformer's size, computed from FLUX.1: what a step and the decoder need beside
# the weights, in bf16 at the base model's own size. The decoder takes tiles above that size only.
_ROOM = 0.15
_TIGHT_ROOM = 0.11
_SMALLER = 0.75**2
_SLOT = 0.06  # LoRAs of rank 128 beside their layers
_LAYER = 0.02  # two of the largest layers: one at work, one on its way
_NF4 = 0.29  # of bf16: four bits, their scales, and the norms as they were
_RAM = 0.2  # the machine's own, and what loading takes
LARGE = 4_000_000_000  # bytes of a transformer that takes its time where there is no bf16


class Rung(str, Enum):
    """Where the transformer's weights are, and as what. T5 and LoRAs follow from it and room."""

    whole = "whole"
    fp8 = "fp8"
    nf4 = "nf4"
    streamed = "streamed"
    layered = "layered"
    cpu = "cpu"


@dataclass(frozen=True)
class Sizes:
    """Bytes at two a weight. `text` is T5, and the little of CLIP and the VAE."""

    transformer: int
    text: int


@dataclass(frozen=True)
class Placement:
    """How a base model runs. `dtype` is the transformer's; T5 and the VAE have their own.

    `text_visits`: T5 rests in the machine's memory, and its layers visit the device to encode.
    `pristine` is where untouched weights wait for the next LoRA, "" where LoRAs act beside their
    layers instead. `attention` is in the order of trying. `smaller`: three quarters of the base
    model's own side are enough by default. `short` says what is missing where nothing fits; then
    the rest is the closest there is. Images are painted one by one, so the VAE never slices.
    """

    rung: Rung
    device: str
    dtype: str
    wide_dtype: str
    note: str
    text_visits: bool = False
    pristine: str = ""
    tiling: bool = False
    attention: tuple[str, ...] = ()
    compiled: bool = False
    cache: bool = False
    smaller: bool = False
    short: str = ""

    @property
    def shortcuts(self) -> tuple[str, ...]:
        """What makes its pictures differ from those of the weights as they were published."""
        rounded = {Rung.fp8: ("fp8 weights",), Rung.nf4: ("NF4 weights",)}
        return rounded.get(self.rung, ()) + (("step cache",) if self.cache else ())


@dataclass(frozen=True)
class _Way:
    """A rung with the memory that it takes, in bytes, of the device and of the machine."""

    placement: Placement
    memory: float
    ram: float
    needs: str = ""
    capability: tuple[int, int] = (0, 0)


def place(device: Device, sizes: Sizes, fast: str = "") -> Placement:
    """The best rung that fits, else the closest with what is `short`. `fast` as in Settings."""
    return ladder(device, sizes, fast)[0]


def ladder(device: Device, sizes: Sizes, fast: str = "") -> tuple[Placement, ...]:
    """Every rung that fits, the best first; one that says what is `short` if none does."""
    if device.kind == "cpu":
        return (_on_cpu(device, sizes),)
    ways = [way for way in _ways(device, sizes, fast) if _possible(way, device)]
    fits = tuple(way.placement for way in ways if _missing(way, device) == "")
    if fits:
        return fits
    least = min(ways, key=lambda way: (way.memory > device.room, way.ram))
    return (replace(least.placement, short=_missing(least, device)),)


def unlocks(device: Device, sizes: Sizes, fast: str = "") -> Iterator[tuple[str, str]]:
    """Each package that is not installed and would help → what it would make possible."""
    now = place(device, sizes, fast)
    for package, gain in PACKAGES.items():
        if package in device.packages:
            continue
        better = replace(device, packages=device.packages | {package})
        then = place(better, sizes, fast)
        if then.rung is not now.rung or (now.short and not then.short):
            yield package, then.note
        elif (then.attention, then.compiled) != (now.attention, now.compiled):
            yield package, gain


def _on_cpu(device: Device, sizes: Sizes) -> Placement:
    need = 2 * (sizes.transformer + sizes.text) * 1.5
    short = f"{need / 1e9:.0f} GB of memory" if 0 < device.ram_room < need else ""
    note = "The CPU paints" + (": minutes a step." if sizes.transformer > LARGE else ".")
    return Placement(Rung.cpu, "cpu", "float32", "float32", note, pristine="cpu", short=short)


def _possible(way: _Way, device: Device) -> bool:
    return device.capability >= way.capability and (not way.needs or way.needs in device.packages)


def _missing(way: _Way, device: Device) -> str:
    """What the device or the machine lacks for it; "" if nothing."""
    if device.room < way.memory:
        return f"{way.memory / 1e9:.0f} GB of free GPU memory"
    if 0 < device.ram_room < way.ram:
        return f"{way.ram / 1e9:.0f} GB of free memory"
    return ""


def _ways(device: Device, sizes: Sizes, fast: str) -> Iterator[_Way]:
    """Best first. What rounds the weights comes where they do not fit as they are, or on demand."""
    plain = _plain(device, sizes, fast)
    whole, text = sizes.transformer, sizes.text * (1 if plain.wide_dtype == plain.dtype else 2)
    slot, ram = _SLOT * whole, _RAM * whole
    rounded = list(_rounded(plain, sizes, text))
    if "fp8" in fast:
        yield from (way for way in rounded if way.placement.rung is Rung.fp8)
    yield _Way(replace(plain, pristine="cuda"), 2 * whole + text + _ROOM * whole, ram)
    swaps = "another LoRA takes about a second."
    kept = replace(plain, pristine="cpu", note=f"Everything stays on the GPU; {swaps}")
    yield _Way(kept, whole + text + _ROOM * whole, ram + whole)
    visits = replace(
        plain, text_visits=True, tiling=True, note="T5 visits the GPU for each new prompt: seconds."
    )
    tight = _tight(visits, whole)
    yield _Way(replace(visits, pristine="cpu"), whole + tight, ram + whole + text)
    yield _Way(visits, whole + tight + slot, ram + text)
    yield from rounded
    streamed = replace(
        visits,
        rung=Rung.streamed,
        note="The weights pass through the GPU at each step: a second or more, by the bus.",
        compiled=False,
        cache=False,
        smaller=True,
    )
    least = _LAYER * whole + _tight(streamed, whole) + slot
    yield _Way(streamed, least, ram + whole + text)
    # Without pinned memory, which a container may refuse to give in such amounts.
    note = "Each layer visits the GPU in turn, and the GPU waits for it: several times slower."
    yield _Way(replace(streamed, rung=Rung.layered, note=note), least, ram + whole + text)


def _tight(placement: Placement, whole: float) -> float:
    """The least room that a picture of the default size takes, the decoder in its own type."""
    wide = 1 if placement.wide_dtype == placement.dtype else 2
    return _TIGHT_ROOM * whole * wide * (_SMALLER if placement.smaller else 1)


def _plain(device: Device, sizes: Sizes, fast: str) -> Placement:
    native = device.capability >= BFLOAT16
    return Placement(
        rung=Rung.whole,
        device="cuda",
        dtype="bfloat16" if native else "float16",
        wide_dtype="bfloat16" if native else "float32",  # T5 and the VAE overflow in fp16
        note="Everything stays on the GPU.",
        attention=_attention(device),
        compiled=native and "triton" in device.packages and sizes.transformer > LARGE,
        cache="cache" in fast,
        smaller=not native and sizes.transformer > LARGE,
    )


def _rounded(plain: Placement, sizes: Sizes, text: float) -> Iterator[_Way]:
    """fp8 by torchao, with T5 beside it or visiting; NF4 by bitsandbytes, T5 rounded as well.

    `text` is T5 in its own type, in which four bits are four bits.
    """
    whole = sizes.transformer
    tight, slot, ram = _tight(plain, whole), _SLOT * whole, _RAM * whole
    rounded = replace(plain, tiling=True)
    note = "Weights and inputs are rounded to 8 bits: pictures differ a little."
    fp8 = replace(rounded, rung=Rung.fp8, note=note)
    need = whole / 2 + tight + slot
    yield _Way(fp8, need + text, ram, needs="torchao", capability=FP8)
    visits = replace(fp8, text_visits=True)
    yield _Way(visits, need, ram + text, needs="torchao", capability=FP8)
    note = "Weights are rounded to 4 bits: pictures differ visibly."
    nf4 = replace(rounded, rung=Rung.nf4, note=note, compiled=False)
    need = _NF4 * whole + tight + slot
    yield _Way(nf4, need + _NF4 * sizes.text, ram, needs="bitsandbytes")
    yield _Way(replace(nf4, text_visits=True), need, ram + text, needs="bitsandbytes")


def _attention(device: Device) -> tuple[str, ...]:
    """diffusers' names. FlashAttention 3 is for Hopper alone; cuDNN gains from Hopper on."""
    found: list[str] = []
    if device.capability[0] == HOPPER[0]:
        found += ["_flash_3"] if "flash_attn_3" in device.packages else []
        found += ["_flash_3_hub"] if "kernels" in device.packages else []
    if device.capability >= HOPPER and device.capability[0] <= 10:
        found.append("_native_cudnn")
    return (*found, "native")
