from PIL import Image

from tinyflux.captions import Caption
from tinyflux.evaluate import asked, score, table, told
from tinyflux.scenes import Scene


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
