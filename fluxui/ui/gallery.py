"""The Gallery tab: every picture, newest first, and each with all its settings.

A page of thumbnails, or one picture in its place. What a button does with a picture is the
Generate tab's; this one finds pictures and moves between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from fluxui.errors import FluxuiError, NotFound
from fluxui.gallery import PAGE_SIZE, Card, GalleryPage
from fluxui.history import Query
from fluxui.rebuild import Rebuilding
from fluxui.studio import Studio
from fluxui.ui import html, stage
from fluxui.ui.desk import Desk
from fluxui.ui.events import QUIET, Changes
from fluxui.ui.generate import Generate
from fluxui.ui.html import button, esc
from fluxui.ui.system import IDLE, rebuild_progress

# Arrows in words where there is room.
PREVIOUS = '‹<span class="fx-desktop">&nbsp;Previous</span>'
NEXT = '<span class="fx-desktop">Next&nbsp;</span>›'
# Back from a picture: the grid is the same nodes, but the page has scrolled to its top.
TO_PLACE = "() => setTimeout(() => scrollTo(0, window.fxY || 0), 50)"


class Gallery:
    """List and detail. Built inside its tab."""

    def __init__(self, studio: Studio, desk: gr.State, generate: Generate) -> None:
        self.studio, self.desk, self.generate = studio, desk, generate
        with gr.Column(elem_id="g-list", min_width=0) as self.list:
            with gr.Row(elem_id="g-filters"):
                self.search = gr.Textbox(
                    label="Search",
                    placeholder="Search every prompt",
                    interactive=True,
                    scale=3,
                    min_width=200,
                    elem_id="g-search",
                )
                self.lora = gr.Dropdown(
                    label="LoRA",
                    choices=self._choices(),
                    value="",
                    filterable=False,
                    num_choices_shown=None,
                    interactive=True,
                    scale=1,
                    min_width=140,
                    elem_id="g-lora",
                )
            self.bar = gr.HTML(elem_id="g-bar", js_on_load=html.CLICKS, apply_default_css=False)
            self.grid = gr.HTML(elem_id="g-grid", js_on_load=html.CLICKS, apply_default_css=False)
        with gr.Column(elem_id="g-detail", min_width=0, visible=False) as self.detail:
            self.picture = gr.HTML(
                elem_id="g-picture", js_on_load=html.CLICKS, apply_default_css=False
            )

    @property
    def outputs(self) -> list[Any]:
        return [self.list, self.detail, self.lora, self.bar, self.grid, self.picture]

    def wire(self) -> None:
        """Connect the components. Call once, when all tabs are built."""
        filters = [self.desk, self.search, self.lora]
        gr.on(
            [self.search.change, self.lora.input],  # a paste is no `input`
            self.filter,
            filters,
            self.outputs,
            trigger_mode="always_last",
            **QUIET,
        )
        everything = list(dict.fromkeys([*self.generate.outputs, *self.outputs, self.search]))
        for part in (self.bar, self.grid):
            part.act(self.act, self.desk, everything, **QUIET)
        acted = self.picture.act(self.act, self.desk, everything, **QUIET)
        self.generate.then_watch(acted.then(None, None, None, js=TO_PLACE, **QUIET))

    # Handlers

    def refresh(self, desk: Desk) -> Changes:
        """The tab was opened."""
        changes: Changes = {self.lora: gr.update(choices=self._choices())}
        return changes | self._show(desk)

    def filter(self, desk: Desk, words: str, model_id: str | None) -> Changes:
        desk.gallery.query = Query(words=words.strip(), model_id=model_id or "")
        desk.gallery.stack = [("", 0)]
        desk.gallery.shown, desk.gallery.notice = None, ""
        return self._show(desk)

    def act(self, desk: Desk, event: gr.EventData) -> Changes:
        """A button of the bar, the grid or the detail."""
        data = event._data
        acts: dict[str, Callable[[Desk, dict[str, str]], Changes]] = {
            "open": self._open,
            "back": self._back,
            "prev": lambda desk, data: self._step(desk, -1),
            "next": lambda desk, data: self._step(desk, 1),
            "newer": lambda desk, data: self._turn(desk, -1),
            "older": lambda desk, data: self._turn(desk, 1),
            "delete": self._delete,
            "undo": self._undo,
            "clear": self._clear,
            "rebuild": self._rebuild,
            "first": lambda desk, data: self.generate.frame.go_to("generate"),
        }
        desk.gallery.notice = ""
        if data["act"] not in acts:
            return self.generate.acts.perform(desk, data)
        try:
            return acts[data["act"]](desk, data)
        except FluxuiError as error:
            desk.gallery.notice, desk.gallery.shown = said(error.message), None
            return self._show(desk)

    def _open(self, desk: Desk, data: dict[str, str]) -> Changes:
        desk.gallery.shown = (data["id"], int(data["index"]))
        return self._show(desk)

    def _back(self, desk: Desk, data: dict[str, str]) -> Changes:
        desk.gallery.shown = None
        return self._show(desk)

    def _turn(self, desk: Desk, pages: int) -> Changes:
        """One page on, or one back."""
        self._turn_to(desk, pages)
        return self._show(desk)

    def _turn_to(self, desk: Desk, pages: int) -> GalleryPage:
        stack = desk.gallery.stack
        if pages < 0 and len(stack) > 1:
            stack.pop()
        elif pages > 0 and (page := self._page(desk)).cursor:
            stack.append((page.cursor, stack[-1][1] + len(page.cards)))
        return self._page(desk)

    def _step(self, desk: Desk, pictures: int) -> Changes:
        """The next picture or the one before, on the next page where this one ends."""
        cards = self._page(desk).cards
        at = _position(cards, desk.gallery.shown) + pictures
        if 0 <= at < len(cards):
            desk.gallery.shown = _id(cards[at])
        elif at < 0 and len(desk.gallery.stack) > 1:
            desk.gallery.shown = _id(self._turn_to(desk, -1).cards[-1])
        elif at >= len(cards) and self._page(desk).cursor:
            desk.gallery.shown = _id(self._turn_to(desk, 1).cards[0])
        return self._show(desk)

    def _delete(self, desk: Desk, data: dict[str, str]) -> Changes:
        count = len(self.studio.get(data["id"]).images)
        self.studio.delete(data["id"])
        desk.gallery.shown = None
        words = f"{html.counted(count, 'picture')} moved to the trash."
        undo = button("undo", "Undo", kind="accent", id=data["id"])
        desk.gallery.notice = f"{said(words)} {undo}"
        return self._show(desk) | self._off_stage(desk, data["id"])

    def _off_stage(self, desk: Desk, job_id: str) -> Changes:
        """What is deleted is not left standing on the other tab."""
        if job_id in (desk.shown, desk.twin):
            desk.show("")
            return self.generate.show(desk)
        return {}

    def _undo(self, desk: Desk, data: dict[str, str]) -> Changes:
        self.studio.pictures.restore(data["id"])
        return self._show(desk)

    def _clear(self, desk: Desk, data: dict[str, str]) -> Changes:
        return {self.search: "", self.lora: gr.update(value="")} | self.filter(desk, "", "")

    def _rebuild(self, desk: Desk, data: dict[str, str]) -> Changes:
        self.studio.rebuild_history()
        desk.gallery.notice = said("Looking in the storage.")
        return self._show(desk)

    # What is shown

    def _page(self, desk: Desk) -> GalleryPage:
        return self.studio.pictures.gallery(desk.gallery.query, desk.gallery.stack[-1][0])

    def _choices(self) -> list[tuple[str, str]]:
        return [("Any LoRA", ""), *((one.name, one.model_id) for one in self.studio.loras())]

    def _show(self, desk: Desk) -> Changes:
        page = self._page(desk)
        while not page.cards and len(desk.gallery.stack) > 1:
            page = self._turn_to(desk, -1)  # the last picture of the last page was deleted
        shown = self._shown(desk)
        changes: Changes = {
            self.list: gr.update(visible="hidden" if shown else True),
            self.detail: gr.update(visible=bool(shown)),
        }
        if shown:
            return changes | {self.picture: self._detail(desk, page, shown)}
        rebuilding, owner = self.studio.upkeep.rebuilding, self.studio.owned()
        grid_now = grid(desk, page, rebuilding, owner)
        return changes | {self.bar: bar(desk, page), self.grid: grid_now}

    def _shown(self, desk: Desk) -> Card | None:
        """The picture of the detail; the list comes back if it was deleted elsewhere."""
        if desk.gallery.shown is None:
            return None
        try:
            return self.studio.pictures.card(*desk.gallery.shown)
        except NotFound as error:
            desk.gallery.shown, desk.gallery.notice = None, said(error.message)
            return None

    def _detail(self, desk: Desk, page: GalleryPage, shown: Card) -> str:
        at = _position(page.cards, _id(shown))
        number = desk.gallery.stack[-1][1] + at + 1 if at >= 0 else 0
        compare = self.generate.acts.compare_words(shown)
        return detail(shown, number, page.total, number == 1, number == page.total, compare)


def _id(card: Card) -> tuple[str, int]:
    return card.generation.id, card.image.index


def _position(cards: Sequence[Card], shown: tuple[str, int] | None) -> int:
    """Where on its page a picture is; -1 if it is not there."""
    return next((at for at, card in enumerate(cards) if _id(card) == shown), -1)


def said(words: str) -> str:
    """A sentence in the place of the count."""
    return f'<b role="status">{esc(words)}</b>'


def bar(desk: Desk, page: GalleryPage) -> str:
    """The count, or what was just done, and the pager."""
    left = (
        desk.gallery.notice or f'<span class="fx-sub">{html.counted(page.total, "picture")}</span>'
    )
    number = len(desk.gallery.stack)
    pages = max(-(-page.total // PAGE_SIZE), number + bool(page.cursor))
    if pages < 2:
        return f'<div class="fx-row fx-spread fx-toolbar"><div class="fx-row">{left}</div></div>'
    pager = (
        f'<nav class="fx-row" aria-label="Pages">{_arrow("newer", "‹", "Newer page", number > 1)}'
        f'<span class="fx-pages"><span class="fx-desktop">Page </span>{number} of {pages}</span>'
        f"{_arrow('older', '›', 'Older page', bool(page.cursor))}</nav>"
    )
    return f'<div class="fx-row fx-spread fx-toolbar"><div class="fx-row">{left}</div>{pager}</div>'


def grid(desk: Desk, page: GalleryPage, rebuilding: Rebuilding = IDLE, owner: bool = False) -> str:
    """The pictures; above them that more of them come, while the history is rebuilt."""
    if rebuilding.running and (rebuilding.lacking or rebuilding.waits):
        words = rebuilding.waits or rebuild_progress(rebuilding)
        note = html.notice("The history is being made whole.", words)
        return f'<div class="fx-above">{note}</div>{_grid(desk, page, False)}'
    return _grid(desk, page, owner)


def _grid(desk: Desk, page: GalleryPage, owner: bool) -> str:
    if page.cards:
        return f'<div class="fx-grid">{"".join(map(stage.thumb, page.cards))}</div>'
    if desk.gallery.query == Query():
        words = "Everything you generate is kept here, with what is needed to repeat it."
        first = button("first", "Generate the first one")
        return html.empty(
            "No pictures yet.", words, first + button("rebuild", "Look in the storage")
        )
    asked = f" “{desk.gallery.query.words}”" if desk.gallery.query.words else " this filter"
    return html.empty(f"No picture matches{asked}.", "", button("clear", "Clear search"))


def detail(card: Card, number: int, total: int, first: bool, last: bool, compare: str) -> str:
    """One picture, everything that is known of it, and the way to its neighbours."""
    place = f"{number:,} of {total:,}" if number else ""
    arrows = _arrow("prev", PREVIOUS, "Previous", not first)
    arrows += _arrow("next", NEXT, "Next", not last)
    nav = (
        f'<div class="fx-row fx-spread fx-toolbar"><div class="fx-row">'
        f'{button("back", "← All pictures")}<span class="fx-sub">{place}</span></div>'
        f'<nav class="fx-row" aria-label="Pictures">{arrows}</nav></div>'
    )
    image = card.image
    picture = stage.frame(card.url, card.generation.request.prompt, image.width, image.height)
    panel = (
        f'<p class="fx-prompt">{html.prompt_markup(card.generation)}</p>'
        f"{html.facts(all_facts(card))}"
        f'<div class="fx-actions">{stage.actions(card, compare)}</div>'
    )
    return (
        f'{nav}<div class="fx-detail"><div class="fx-mat">{picture}</div>'
        f'<div class="fx-panel fx-card-panel">{panel}</div></div>'
    )


def all_facts(card: Card) -> list[tuple[str, str]]:
    generation, image = card.generation, card.image
    request = generation.request
    when = generation.completed_at or generation.created_at
    took = f", in {html.duration(generation.seconds)}" if generation.seconds is not None else ""
    rows = [
        ("LoRA", html.proofs(generation) or "none"),
        ("Base model", esc(generation.base_model)),
        ("Size", f"{image.width} × {image.height}"),
        ("Steps · guidance", f"{request.num_inference_steps} · {request.guidance_scale:g}"),
        ("Seed", esc(image.seed)),
        ("Painted", esc(html.moment(when) + took)),
        ("File", f"image_{image.index}.png · {html.file_size(image.bytes)}"),
        ("Job", f"<code>{esc(generation.id)}</code>"),
    ]
    if request.num_images > 1:
        rows.insert(4, ("Image", f"{image.index} of {request.num_images}"))
    return rows


def _arrow(act: str, sign: str, words: str, enabled: bool) -> str:
    off = "" if enabled else " disabled"
    return (
        f'<button type="button" class="fx-btn fx-arrow" data-act="{act}" aria-label="{words}"'
        f"{off}>{sign}</button>"
    )
