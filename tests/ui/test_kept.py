from __future__ import annotations

from typing import Any

import pytest

from fluxui.request import Limits
from fluxui.ui.kept import Entries, recall, whose
from fluxui.visitor import OWNER, Visitor

LIMITS = Limits(
    size_step=16,
    min_size=64,
    max_size=256,
    max_pixels=128 * 256,
    max_steps=50,
    max_guidance=10.0,
    width=128,
    height=128,
    steps=12,
    guidance=3.5,
)
DEFAULTS = Entries("", {}, 1, "", 12, 3.5, 128, 128)
# As the browser tells it: the values of Gradio's components.
TOLD: dict[str, Any] = {
    "whose": "x",
    "prompt": "a boat",
    "loras": ["", "me/dots", "", "ink"],
    "weights": [0.8, 0.35, 0.8, 1.5],
    "num": "3",
    "seed": "18446744073709551615",
    "steps": 20,
    "guidance": 2.5,
    "width": 176,
    "height": 96,
}
KEPT = Entries("a boat", {"me/dots": 0.35, "ink": 1.5}, 3, TOLD["seed"], 20, 2.5, 176, 96)


def test_what_was_typed_comes_back() -> None:
    assert recall(TOLD, LIMITS, ["ink", "me/dots"]) == (KEPT, [])


def test_what_the_base_model_can_not_do_any_more_is_cut_and_said() -> None:
    told = TOLD | {"steps": 100, "guidance": 12, "width": 1024, "height": 512}
    entries, changed = recall(told, LIMITS, ["ink"])
    assert (entries.steps, entries.guidance, entries.loras) == (50, 10, {"ink": 1.5})
    assert (entries.width, entries.height) == (256, 128)
    assert entries.prompt == "a boat", "nothing else is lost"
    assert changed == [
        "without me/dots, which is not here",
        "50 steps, not 100",
        "guidance 10, not 12",
        "256 × 128, not 1024 × 512",
    ]


@pytest.mark.parametrize("size", [(16, 16), (5000, 64), (250, 250), (1, 9999), (0, 0), (-5, 100)])
def test_every_size_becomes_one_that_can_be_painted(size: tuple[int, int]) -> None:
    told = TOLD | {"width": size[0], "height": size[1]}
    entries, changed = recall(told, LIMITS, [])
    for side in (entries.width, entries.height):
        assert side % 16 == 0 and 64 <= side <= 256
    assert entries.width * entries.height <= LIMITS.max_pixels
    assert changed


@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        7,
        [],
        {},
        dict.fromkeys(TOLD),
        {name: {"a": 1} for name in TOLD},
        {name: [None, {}] for name in TOLD},
        dict.fromkeys(TOLD, "banana") | {"prompt": "", "seed": ""},
        dict.fromkeys(TOLD, True),
        {"steps": float("nan"), "guidance": float("inf"), "width": "1e999", "height": 1e300},
    ],
)
def test_what_is_no_value_is_the_default(nonsense: Any) -> None:
    assert recall(nonsense, LIMITS, ["ink"]) == (DEFAULTS, [])


def test_long_words_are_cut() -> None:
    entries, _ = recall({"prompt": "a" * 9999, "seed": "1" * 99}, LIMITS, [])
    assert (len(entries.prompt), len(entries.seed)) == (2000, 20)


def test_two_visitors_have_two_names_that_give_nobody_away() -> None:
    names = {whose(one) for one in (OWNER, Visitor(), Visitor("user:ann"), Visitor("user:bob"))}
    assert len(names) == 4
    assert whose(OWNER) == whose(OWNER)
    assert not any("ann" in name for name in names)
