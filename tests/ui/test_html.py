from __future__ import annotations

import pytest

from fluxui.errors import LoraMisfit, QueueFull
from fluxui.ui import html
from tests.ui.conftest import NASTY, make_generation


def test_every_piece_escapes_what_it_is_given() -> None:
    pieces = [
        html.button("open", NASTY, id=NASTY),
        html.copy_button(NASTY, NASTY, NASTY),
        html.download_button(NASTY, NASTY),
        html.pill(NASTY, title=NASTY),
        html.tag(NASTY),
        html.notice(NASTY, NASTY),
        html.empty(NASTY, NASTY),
        html.facts([(NASTY, "")]),
        html.prompt_markup(make_generation(NASTY, trigger_words=(NASTY,))),
        html.error_notice(LoraMisfit(NASTY, NASTY)),
    ]
    for piece in pieces:
        assert "<img src=x" not in piece
        assert "&lt;img src=x" in piece
        assert "&quot;" in piece


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (3.44, "3.4 s"), (9.96, "10 s"), (59.4, "59 s"), (125, "2 min 5 s")]
    + [(3600, "1 h 0 min"), (11_045, "3 h 4 min"), (187_200, "2 d 4 h")],
)
def test_durations_are_short(seconds: float, words: str) -> None:
    assert html.duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (1_400_000, "1.4 MB")]
    + [(33_800_000_000, "33.8 GB"), (2 * 10**15, "2000.0 TB")],
)
def test_sizes_are_decimal(count: int, words: str) -> None:
    assert html.file_size(count) == words


def test_counts_have_a_plural() -> None:
    assert html.counted(1, "picture") == "1 picture"
    assert html.counted(1284, "picture") == "1,284 pictures"


def test_errors_to_wait_for_are_amber_and_the_rest_red() -> None:
    assert "fx-edge-warn" in html.error_notice(QueueFull(64, 120))
    assert "The queue is full (64)." in html.error_notice(QueueFull(64, 120))
    red = html.error_notice(LoraMisfit("It does not fit."))
    assert "fx-edge-bad" in red
    assert 'role="alert"' in red


def test_proof_is_amber_when_layers_were_left_out() -> None:
    use = make_generation().loras[0]
    assert "dot-art 0.6 · 5/5 layers" in html.proof(use)
    assert "fx-ok" in html.proof(use)
    assert "fx-warn" in html.proof(use.model_copy(update={"layers": 4}))
