"""What the metadata of a file says, bounded."""

from __future__ import annotations

import json

import pytest

from fluxui.loras.metadata import training, trigger_words


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, ()),
        ({"trigger_words": '["tok", " pixel art "]'}, ("tok", "pixel art")),
        ({"trigger_words": "tok, pixel art"}, ("tok", "pixel art")),
        ({"modelspec.trigger_phrase": "in the style of TOK"}, ("in the style of TOK",)),
        ({"ss_tag_frequency": '{"1_tok": {"tok": 1}}'}, ("tok",)),
        ({"ss_tag_frequency": '{"10_a": {"cat": 3, "dog": 2}}'}, ()),
        ({"ss_tag_frequency": "no json"}, ()),
        ({"ss_tag_frequency": "[1]"}, ()),
        ({"trigger_words": json.dumps(["x" * 101, "\x00", "", 3])}, ()),
        (
            {"trigger_words": json.dumps([f"w{k}" for k in range(50)])},
            tuple(f"w{k}" for k in range(8)),
        ),
    ],
)
def test_trigger_words(metadata: dict[str, str], words: tuple[str, ...]) -> None:
    assert trigger_words(metadata) == words


def test_training_tells_what_is_there() -> None:
    found = training({"ss_network_dim": "16", "ss_steps": "None", "modelspec.title": "t" * 999})
    assert found == {"network dim": "16", "title": "t" * 200}
