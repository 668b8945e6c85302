"""Faster steps on a transformer that is in its place: attention kernels, compiled blocks, a cache.

Each is tried with a step, and left out if that fails. It loads nothing and knows no prompt.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from subprocess import SubprocessError
from typing import Any

import torch
from huggingface_hub.errors import HfHubHTTPError

from fluxui.pipeline.placement import Placement

log = logging.getLogger(__name__)

# What drivers, compilers and other people's kernels fail with. The last are the errors of
# whichever HTTP library huggingface_hub fetches kernels with.
FAILURES = (
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    ImportError,
    OSError,
    MemoryError,
    AssertionError,
    LookupError,
    ArithmeticError,
    SubprocessError,
    *HfHubHTTPError.__bases__,
)
CACHE_THRESHOLD = 0.08  # of the first block's change: fewer steps are left out below it


@dataclass(frozen=True)
class Speed:
    """What the steps run with, and in words what they have to do without."""

    attention: str
    compiled: bool
    fell: tuple[str, ...] = ()


def speed_up(
    transformer: Any, placement: Placement, step: Callable[[], None], warm_up: Callable[[], None]
) -> Speed:
    """The best that works here. `step` paints one step, `warm_up` one at each size to prepare.

    Raises what `step` raises with nothing switched on.
    """
    if placement.cache:
        from diffusers import FirstBlockCacheConfig

        transformer.enable_cache(FirstBlockCacheConfig(threshold=CACHE_THRESHOLD))
    attention, fell = _choose_attention(transformer, placement.attention, step)
    compiled = placement.compiled
    if compiled:
        try:
            # The cache leaves the graph to look at what it holds.
            transformer.compile_repeated_blocks(fullgraph=not placement.cache)
            warm_up()
        except FAILURES as error:
            fell.append(said("compiled blocks", error))
            compiled = False
    if placement.compiled and not compiled:
        _forget_compiled(transformer)
        step()
    return Speed(attention, compiled, tuple(fell))


def _choose_attention(
    transformer: Any, names: Sequence[str], step: Callable[[], None]
) -> tuple[str, list[str]]:
    """The first that paints a step; the last one has to."""
    fell: list[str] = []
    for name in names[:-1]:
        if failed := _refusal(transformer, name, step):
            fell.append(failed)
        else:
            return name, fell
    if names:
        transformer.set_attention_backend(names[-1])
    step()
    return names[-1] if names else "native", fell


def _refusal(transformer: Any, name: str, step: Callable[[], None]) -> str:
    try:
        transformer.set_attention_backend(name)
        step()
    except FAILURES as error:
        return said(f"attention by {name.strip('_')}", error)
    return ""


def _forget_compiled(transformer: Any) -> None:
    """Undo Module.compile, which has no other way back."""
    for module in transformer.modules():
        module._compiled_call_impl = None
    torch._dynamo.reset()


def said(what: str, error: BaseException) -> str:
    """For people, without what the error quotes; the log has that."""
    log.warning("%s: %s", what, error)
    return f"{what[:1].upper()}{what[1:]} failed here ({type(error).__name__})."
