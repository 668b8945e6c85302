"""The row of fields above the pictures: what they ask for, and what there is to choose from.

A field for what all pictures have in common is not shown. It shows no picture.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import gradio as gr

from fluxui.history import Query
from fluxui.studio import Studio
from fluxui.ui import html
from fluxui.ui.events import Changes

Choice = tuple[str, str]

DATES = [("Any time", ""), ("Today", "1"), ("7 days", "7"), ("30 days", "30"), ("A year", "365")]
ORDERS = [("Newest first", ""), ("Oldest first", "oldest")]
HASH = 64  # characters of a SHA-256; a LoRA that was never read has none yet
VISITORS = 50  # those with most pictures
ME = "owner"  # no visitor's mark, which all say of what kind they are


class Filters:
    """Built inside the Gallery. `fields` are what `query` takes, in its order."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        with gr.Row(elem_id="g-filters"):
            self.search = gr.Textbox(
                label="Search",
                placeholder="Search every prompt, seed:7, tag:sea",
                interactive=True,
                scale=3,
                min_width=200,
                elem_id="g-search",
            )
            self.lora = self._dropdown("LoRA", self._loras(), "g-lora")
            self.base_model = self._dropdown("Base model", [], "g-model", visible=False)
            self.visitor = self._dropdown("Visitor", [], "g-visitor", visible=False)
            self.date = self._dropdown("Date", DATES, "g-date")
            self.size = self._dropdown("Size", [], "g-size")
            self.order = self._dropdown("Order", ORDERS, "g-order")

    def _dropdown(
        self, label: str, choices: list[Choice], elem_id: str, visible: bool = True
    ) -> gr.Dropdown:
        return gr.Dropdown(
            label=label,
            choices=choices or [("", "")],
            value="",
            filterable=False,
            num_choices_shown=None,
            interactive=True,
            scale=1,
            min_width=120,
            visible=visible,
            elem_id=elem_id,
        )

    @property
    def narrowing(self) -> list[gr.Dropdown]:
        """Those that leave pictures out."""
        return [self.lora, self.base_model, self.visitor, self.date, self.size]

    @property
    def dropdowns(self) -> list[gr.Dropdown]:
        return [*self.narrowing, self.order]

    @property
    def fields(self) -> list[gr.Component]:
        """What `asked` takes, in its order."""
        return [self.search, *self.dropdowns]

    def refresh(self, now: Query) -> Changes:
        """What there is to choose from; what is asked for now stays among it."""
        found = self.studio.pictures.choices()
        chosen = (now.width, now.height) if now.width and now.height else None
        sizes = dict.fromkeys([*found.sizes, *([chosen] if chosen else [])])
        models = dict.fromkeys([*found.base_models, *([now.base_model] if now.base_model else [])])
        marks = [*found.visitors[:VISITORS], *([] if now.visitor is None else [now.visitor])]
        visitors = dict.fromkeys(marks)
        told: dict[gr.Dropdown, list[Choice]] = {
            self.lora: self._loras(),
            self.size: [("Any size", ""), *((f"{w} × {h}", f"{w}x{h}") for w, h in sizes)],
            self.base_model: [("Any model", ""), *((name, name) for name in models)],
            self.visitor: [("Everybody", ""), *((html.visitor(m), m or ME) for m in visitors)],
        }
        changes: Changes = {part: gr.update(choices=choices) for part, choices in told.items()}
        for part in (self.base_model, self.visitor):
            changes[part] = gr.update(choices=told[part], visible=len(told[part]) > 2)
        return changes

    def _loras(self) -> list[Choice]:
        """By what they are, so that one is found under its former names too."""
        known = ((one.name, one.sha256 or one.model_id) for one in self.studio.collection.all())
        return [("Any LoRA", ""), *known]


def asked(
    words: str,
    lora: str | None = "",
    base_model: str | None = "",
    visitor: str | None = "",
    days: str | None = "",
    size: str | None = "",
    order: str | None = "",
) -> Query:
    """What the fields ask for; `seed:7` and `tag:sea` among the words are filters."""
    plain, seed, tag = [], None, ""
    for word in words.split():
        kind, _, value = word.partition(":")
        if kind == "seed" and value.isdecimal():
            seed = int(value)
        elif kind == "tag" and value:
            tag = value
        else:
            plain.append(word)
    width, _, height = (size or "").partition("x")
    hashed = len(lora or "") == HASH
    return Query(
        words=" ".join(plain),
        lora=lora or "" if hashed else "",
        model_id="" if hashed else lora or "",
        base_model=base_model or "",
        visitor="" if visitor == ME else visitor or None,
        seed=seed,
        tag=tag,
        since=_since(int(days)) if days else None,
        width=int(width) if width else None,
        height=int(height) if height else None,
        oldest=order == "oldest",
    )


def _since(days: int) -> datetime:
    """The beginning of the day, in the machine's own time, `days` - 1 days ago."""
    today = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=days - 1)
