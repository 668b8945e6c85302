"""How a file may change one layer: LoRA, LoKr, LoHa, whole differences, each with DoRA or without.

By the names and shapes of the tensors alone. It knows no layer of any model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fluxui.errors import LoraMisfit, LoraUnreadable

Shape = tuple[int, ...]

MAX_RANK = 4096

_LOKR = ("lokr_w1", "lokr_w2", "lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b")
_LOHA = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")

# What a tensor is to its layer, by how its name ends. PEFT may put its adapter's name in between.
_ROLES = tuple(
    (re.compile(pattern), role)
    for pattern, role in (
        (r"\.lora_(?:down|A)(?:\.\w+)?\.weight$", "down"),
        (r"\.lora_(?:up|B)(?:\.\w+)?\.weight$", "up"),
        (r"(?:\.lora)?\.down\.weight$", "down"),
        (r"(?:\.lora)?\.up\.weight$", "up"),
        (r"\.alpha$", "alpha"),
        (r"\.(?:dora_scale|lora_magnitude_vector(?:\.\w+)?(?:\.weight)?)$", "magnitude"),
        (r"\.(?:diff|w_norm)$", "diff"),
        (r"\.(?:diff_b|b_norm)$", "bias"),
        (r"\.lora_(?:up|B)(?:\.\w+)?\.bias$", "scaled bias"),
        *((rf"\.{role}(?:\.\w+)?$", role) for role in (*_LOKR, *_LOHA)),
    )
)
_FOREIGN = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"\.(oft_|boft_)", "OFT"),
        (r"\.lora_mid\.|\.(lokr|hada)_t[12]", "a LoRA for convolutions"),
        (r"\.(glora|[ab][12])\.", "GLoRA"),
        (r"\.on_input$", "IA3"),
    )
)


@dataclass(frozen=True)
class Method:
    """What the tensors of one layer are together: its weight's change is rows × columns.

    `tensors`: role → name in the file. `rank` divides alpha; 0 where alpha has no say.
    """

    name: str
    tensors: Mapping[str, str]
    shape: Shape
    rank: int


def role_of(key: str) -> tuple[str, str] | None:
    """The layer's name in the file and the tensor's role there; None for what we don't know."""
    for pattern, role in _ROLES:
        if match := pattern.search(key):
            return key[: match.start()], role
    return None


def foreign_method(key: str) -> str:
    """The name of a method that is no sum of a weight and a change; "" for any other tensor."""
    return next((name for pattern, name in _FOREIGN if pattern.search(key)), "")


def method_of(path: str, tensors: Mapping[str, str], shapes: Mapping[str, Shape]) -> Method | None:
    """How the weight of a layer is changed; None if only its bias is.

    Raises LoraUnreadable where tensors are missing, or do not belong together.
    """
    sizes = {role: _matrix(path, role, shapes[key]) for role, key in tensors.items()}
    kinds = {name for role, name in _KIND.items() if role in tensors}
    if len(kinds) > 1:
        raise LoraUnreadable(f"This LoRA changes {path[:80]} in two ways.")
    if not kinds:
        if left := tensors.keys() - {"bias"}:
            raise LoraUnreadable(f"This LoRA has only {min(left)} for {path[:80]}.")
        return None
    name = kinds.pop()
    shape, rank = _MEASURES[name](path, sizes)
    return Method(name, {role: tensors[role] for role in sizes if role in _PARTS}, shape, rank)


def _matrix(path: str, role: str, shape: Shape) -> Shape:
    """Without the ones that a convolution of 1x1 has at its end."""
    if role in ("alpha", "bias", "scaled bias", "magnitude", "diff"):
        return shape
    if len(shape) < 2 or any(size != 1 for size in shape[2:]):
        raise LoraUnreadable(f"The tensors for {path[:80]} are no matrices.")
    return shape[:2]


def _lora(path: str, sizes: Mapping[str, Shape]) -> tuple[Shape, int]:
    return _product(path, sizes, "up", "down")


def _loha(path: str, sizes: Mapping[str, Shape]) -> tuple[Shape, int]:
    one, rank = _product(path, sizes, "hada_w1_a", "hada_w1_b")
    two, _ = _product(path, sizes, "hada_w2_a", "hada_w2_b")
    if one != two:
        raise LoraUnreadable(f"The two halves for {path[:80]} are not of one size.")
    return one, rank


def _lokr(path: str, sizes: Mapping[str, Shape]) -> tuple[Shape, int]:
    """The rank is that of the second factor, or of the first where the second is whole."""
    (rows, columns), first = _factor(path, sizes, "lokr_w1")
    (height, width), second = _factor(path, sizes, "lokr_w2")
    return (rows * height, columns * width), second or first


def _factor(path: str, sizes: Mapping[str, Shape], role: str) -> tuple[Shape, int]:
    return (sizes[role], 0) if role in sizes else _product(path, sizes, f"{role}_a", f"{role}_b")


def _full(path: str, sizes: Mapping[str, Shape]) -> tuple[Shape, int]:
    return sizes["diff"], 0


def _product(path: str, sizes: Mapping[str, Shape], up: str, down: str) -> tuple[Shape, int]:
    if up not in sizes or down not in sizes:
        raise LoraUnreadable(f"This LoRA has half of its tensors for {path[:80]}.")
    (rows, rank), (other, columns) = sizes[up], sizes[down]
    if rank != other or not 1 <= rank <= MAX_RANK:
        raise LoraUnreadable(f"The ranks for {path[:80]} do not agree: {other} and {rank}.")
    return (rows, columns), rank


_MEASURES = {"LoRA": _lora, "LoKr": _lokr, "LoHa": _loha, "full": _full}
_KIND = {
    **dict.fromkeys(("down", "up"), "LoRA"),
    **dict.fromkeys(_LOKR, "LoKr"),
    **dict.fromkeys(_LOHA, "LoHa"),
    "diff": "full",
}
_PARTS = frozenset(_KIND) | {"magnitude"}


def check_magnitude(path: str, magnitude: Shape, shape: Shape, fused: bool) -> None:
    """DoRA's lengths are those of the rows, or of the columns where the shape says so.

    Raises LoraUnreadable, and LoraMisfit for columns that several layers here would share.
    """
    if len(shape) == 2 and magnitude in ((shape[0],), (shape[0], 1)):
        return
    if len(shape) != 2 or magnitude != (1, shape[1]):
        raise LoraUnreadable(f"The DoRA lengths for {path[:80]} are {magnitude}, not {shape}.")
    if fused:
        raise LoraMisfit(
            "This is DoRA by columns over layers that are several here, which can't be merged.",
            "Train or export it as a plain LoRA.",
        )
