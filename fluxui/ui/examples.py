"""The prompts to try, shown by the built-in model before there are pictures."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from fluxui.ui import html
from fluxui.ui.stage import Example

EXAMPLES = Path(__file__).parents[1] / "assets" / "examples" / "examples.json"


@cache
def examples() -> tuple[Example, ...]:
    """The prompts to try, with their pictures inside; none where the file is missing."""
    if not EXAMPLES.is_file():
        return ()
    return tuple(
        Example(
            prompt=one["prompt"],
            image=_inline(EXAMPLES.parent / one["image"]),
            seed=one["seed"],
            lora=one["lora"] or "",
            width=one["width"],
            height=one["height"],
        )
        for one in json.loads(EXAMPLES.read_text(encoding="utf-8"))
    )


def _inline(picture: Path) -> str:
    kind = "image/" + picture.suffix.lstrip(".").replace("jpg", "jpeg")
    return html.data_url(picture.read_bytes(), kind)
