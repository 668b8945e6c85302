from pathlib import Path

import pytest
from PIL import Image

from tinyflux.captions import POSITIONS, Caption
from tinyflux.evaluate import asked, placeless, score, table, told, told_for, write_card
from tinyflux.scenes import Scene
from tinyflux.sheet import COLUMNS, Strip, sheet
from tinyflux.styles import STYLES, TRIGGERS


class Oracle:
    """A judge that always gives the same answer."""

    def __init__(self, **answer: str | None) -> None:
        self.answer = answer

    def answers(self, pictures: object) -> list[dict[str, str | None]]:
        return [self.answer]


SCENE = Scene("night", "hills", "house", "red", "left", 1)
TOLD = Caption("a red house at night", frozenset({"time", "thing", "colour"}))


def test_only_what_the_prompt_says_is_asked_for() -> None:
    assert list(asked(SCENE, TOLD)) == ["time", "thing", "colour"]


def test_the_score_is_the_part_of_right_answers() -> None:
    judge = Oracle(time="night", land="sea", thing="house", colour="blue", position="left")
    row = score(judge, [Image.new("RGB", (8, 8))] * 2, [(SCENE, TOLD)] * 2)
    assert (row["time"], row["thing"], row["colour"]) == (100, 100, 0)


def test_unseen_prompts_are_the_same_every_time() -> None:
    assert told(5) == told(5)


def test_the_table_is_markdown() -> None:
    assert table("x", {"a": {"b": 1.0}}) == "| x | b |\n|---|---:|\n| a | 1.0 |\n"


@pytest.mark.parametrize("name", TRIGGERS)
def test_a_prompt_for_a_lora_has_its_trigger_word_once(name: str) -> None:
    prompts = told_for(name, 20)
    assert all(told_of.text.count(TRIGGERS[name]) == 1 for _, told_of in prompts)
    assert any("time" in told_of.claims for _, told_of in prompts)


@pytest.mark.parametrize("name", STYLES)
def test_no_style_is_taught_with_a_thing_that_no_word_tells(name: str) -> None:
    for scene, told_of in told_for(name, 60):
        assert ("thing" in told_of.claims) == bool(scene.thing)


def test_what_no_word_tells_a_place_is_looked_for_in_the_middle() -> None:
    prompts = placeless(20)
    assert len(prompts) == 20
    for scene, told_of in prompts:
        assert scene.position == "centre" and {"thing", "position"} <= told_of.claims
        assert not [words for words in sum(POSITIONS.values(), ()) if words in told_of.text]


def test_where_the_subject_stands_nothing_else_is_asked_for() -> None:
    claims = {claim for _, told_of in told_for("tok-lighthouse", 50) for claim in told_of.claims}
    assert not claims & {"thing", "colour", "position", "count"}


def test_only_the_tables_of_the_card_are_written_anew(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text("# Card\n<!-- table -->\nold\n<!-- end of table -->\nLicence\n")
    write_card(card, "| new |\n")
    assert card.read_text() == ("# Card\n<!-- table -->\n| new |\n<!-- end of table -->\nLicence\n")


def test_the_sheet_has_a_row_for_each_strip() -> None:
    strip = Strip("title", [Image.new("RGB", (320, 208), "red")] * COLUMNS, ["label"] * COLUMNS)
    one, two = sheet([strip]), sheet([strip, strip])
    assert one.width == two.width and two.height > 1.9 * one.height
    assert one.getpixel((80, 80)) == (255, 0, 0)
