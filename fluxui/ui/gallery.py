"""The Gallery tab: every picture, newest first, and each with all its settings.

A page of thumbnails, or one picture in its place. What a button does with a picture is the
Generate tab's; this one finds pictures and moves between them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import gradio as gr

from fluxui.errors import FluxuiError, NotFound
from fluxui.gallery import PAGE_SIZE, Card, GalleryPage
from fluxui.history import Query
from fluxui.studio import Studio
from fluxui.ui import html, wall
from fluxui.ui.desk import Desk
from fluxui.ui.events import EVERY, QUIET, Changes, answered
from fluxui.ui.filters import Filters, asked
from fluxui.ui.generate import Generate
from fluxui.ui.html import button

# Back from a picture: the grid is the same nodes, but the page has scrolled to its top.
TO_PLACE = "() => setTimeout(() => scrollTo(0, window.fxY || 0), 50)"


class Gallery:
    """List and detail. Built inside its tab."""

    def __init__(self, studio: Studio, desk: gr.State, generate: Generate) -> None:
        self.studio, self.desk, self.generate = studio, desk, generate
        with gr.Column(elem_id="g-list", min_width=0) as self.list:
            self.filters = Filters(studio)
            clicks = html.clicks(wall.LINE)
            self.bar = gr.HTML(elem_id="g-bar", js_on_load=clicks, apply_default_css=False)
            self.grid = gr.HTML(elem_id="g-grid", js_on_load=wall.CLICKS, apply_default_css=False)
        with gr.Column(elem_id="g-detail", min_width=0, visible=False) as self.detail:
            self.picture = gr.HTML(elem_id="g-picture", js_on_load=clicks, apply_default_css=False)
            self.tags = gr.Textbox(
                label="Tags",
                placeholder="sea, night",
                info="With commas between. Enter keeps them.",
                interactive=True,
                max_length=900,
                elem_id="g-tags",
            )

    @property
    def outputs(self) -> list[Any]:
        fields = [*self.filters.narrowing, self.tags]
        return [self.list, self.detail, *fields, self.bar, self.grid, self.picture]

    def wire(self) -> None:
        """Connect the components. Call once, when all tabs are built."""
        filters = self.filters
        gr.on(
            # A paste is no `input`.
            [filters.search.change, *(one.input for one in filters.dropdowns)],
            self.filter,
            [self.desk, *filters.fields],
            self.outputs,
            trigger_mode="always_last",
            **QUIET,
        )
        everything = list(dict.fromkeys([*self.generate.outputs, *self.outputs, filters.search]))
        said = [*self.outputs, self.generate.frame.toast]
        self.tags.submit(self.label, [self.desk, self.tags], said, **QUIET)
        for part in (self.bar, self.grid):
            answered(part.act(self.act, self.desk, everything, **EVERY), wall.LINE)
        acted = self.picture.act(self.act, self.desk, everything, **EVERY)
        answered(acted, wall.LINE)
        self.generate.then_watch(acted.then(None, None, None, js=TO_PLACE, **QUIET))

    # Handlers

    def refresh(self, desk: Desk) -> Changes:
        """The tab was opened."""
        return self.filters.refresh(desk.gallery.query) | self._show(desk)

    def filter(self, desk: Desk, *fields: Any) -> Changes:
        """A field of the row above was changed; star and tag stay."""
        former, query = desk.gallery.query, asked(*fields)
        return self._ask(
            desk, replace(query, favourite=former.favourite, tag=query.tag or former.tag)
        )

    def _ask(self, desk: Desk, query: Query) -> Changes:
        """Another question: from its first page on."""
        here = desk.gallery
        here.query, here.stack = query, [("", 0)]
        here.shown, here.notice, here.pair = None, "", False
        return self._show(desk)

    def label(self, desk: Desk, words: str) -> Changes:
        """The field under a picture: its tags, with commas between."""
        if desk.gallery.shown is None:
            return {self.picture: gr.skip()}
        try:
            self.studio.pictures.tag(desk.gallery.shown[0], words.split(","))
        except FluxuiError as error:
            return self.generate.frame.say(desk, error.message)
        return self._show(desk) | self.generate.frame.say(desk, "Saved")

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
            "favourites": self._favourites,
            "favourite": self._favourite,
            "tagged": lambda desk, data: self._tagged(desk, data["tag"]),
            "untag": lambda desk, data: self._tagged(desk, ""),
            "select": lambda desk, data: self._select(desk, True),
            "done": lambda desk, data: self._select(desk, False),
            "tick": self._tick,
            "pair": self._pair,
            "trash": self._trash,
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
            desk.gallery.notice, desk.gallery.shown = wall.said(error.message), None
            return self._show(desk)

    def _open(self, desk: Desk, data: dict[str, str]) -> Changes:
        desk.gallery.shown = (data["id"], int(data["index"]))
        return self._show(desk)

    def _back(self, desk: Desk, data: dict[str, str]) -> Changes:
        desk.gallery.shown, desk.gallery.pair = None, False
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
        at = wall.position(cards, desk.gallery.shown) + pictures
        if 0 <= at < len(cards):
            desk.gallery.shown = wall.name(cards[at])
        elif at < 0 and len(desk.gallery.stack) > 1:
            desk.gallery.shown = wall.name(self._turn_to(desk, -1).cards[-1])
        elif at >= len(cards) and self._page(desk).cursor:
            desk.gallery.shown = wall.name(self._turn_to(desk, 1).cards[0])
        return self._show(desk)

    # Stars, tags and a selection

    def _favourites(self, desk: Desk, data: dict[str, str]) -> Changes:
        query = desk.gallery.query
        return self._ask(desk, replace(query, favourite=bool(data.get("on"))))

    def _favourite(self, desk: Desk, data: dict[str, str]) -> Changes:
        self.studio.pictures.favourite(data["id"], int(data["index"]), bool(data.get("on")))
        return self._show(desk)

    def _tagged(self, desk: Desk, tag: str) -> Changes:
        return self._ask(desk, replace(desk.gallery.query, tag=tag))

    def _select(self, desk: Desk, on: bool) -> Changes:
        desk.gallery.selecting, desk.gallery.selected = on, []
        return self._show(desk)

    def _tick(self, desk: Desk, data: dict[str, str]) -> Changes:
        """What is ticked on this page; the grid has drawn it already, only the bar is told."""
        page = self._page(desk)
        here = {wall.name(card) for card in page.cards}
        parts = (told.rpartition("/") for told in data["pictures"].split()[:PAGE_SIZE])
        ticked = dict.fromkeys((job_id, int(index)) for job_id, _, index in parts)
        kept = [one for one in desk.gallery.selected if one not in here or one in ticked]
        desk.gallery.selected = list(dict.fromkeys([*kept, *ticked]))
        return {self.bar: wall.bar(desk, page)}

    def _pair(self, desk: Desk, data: dict[str, str]) -> Changes:
        desk.gallery.pair = len(desk.gallery.selected) == 2
        return self._show(desk)

    def _trash(self, desk: Desk, data: dict[str, str]) -> Changes:
        """All that is selected; with a picture go the others of its generation."""
        job_ids = list(dict.fromkeys(job_id for job_id, _ in desk.gallery.selected))
        desk.gallery.selected = []
        return self._discard(desk, job_ids)

    def _delete(self, desk: Desk, data: dict[str, str]) -> Changes:
        return self._discard(desk, [data["id"]])

    def _discard(self, desk: Desk, job_ids: list[str]) -> Changes:
        here, pictures = desk.gallery, 0
        here.deleted, here.shown, here.selecting = [], None, False
        off_stage: Changes = {}
        for job_id in job_ids:
            with suppress(NotFound):  # somebody else was faster
                count = len(self.studio.get(job_id).images)
                self.studio.delete(job_id)
                pictures += count
                here.deleted.append(job_id)
                off_stage |= self._off_stage(desk, job_id)
        words = f"{html.counted(pictures, 'picture')} moved to the trash."
        here.notice = f"{wall.said(words)} {button('undo', 'Undo', kind='accent')}"
        return self._show(desk) | off_stage

    def _off_stage(self, desk: Desk, job_id: str) -> Changes:
        """What is deleted is not left standing on the other tab."""
        if job_id in (desk.shown, desk.twin):
            desk.show("")
            return self.generate.show(desk)
        return {}

    def _undo(self, desk: Desk, data: dict[str, str]) -> Changes:
        while desk.gallery.deleted:
            self.studio.pictures.restore(desk.gallery.deleted[-1])
            desk.gallery.deleted.pop()
        return self._show(desk)

    def _clear(self, desk: Desk, data: dict[str, str]) -> Changes:
        emptied: Changes = {self.filters.search: ""}
        for part in self.filters.narrowing:
            emptied[part] = gr.update(value="")
        return emptied | self._ask(desk, Query(oldest=desk.gallery.query.oldest))

    def _rebuild(self, desk: Desk, data: dict[str, str]) -> Changes:
        self.studio.rebuild_history()
        desk.gallery.notice = wall.said("Looking in the storage.")
        return self._show(desk)

    # What is shown

    def _page(self, desk: Desk) -> GalleryPage:
        return self.studio.pictures.gallery(desk.gallery.query, desk.gallery.stack[-1][0])

    def _show(self, desk: Desk) -> Changes:
        page = self._page(desk)
        while not page.cards and len(desk.gallery.stack) > 1:
            page = self._turn_to(desk, -1)  # the last picture of the last page was deleted
        shown, pair = self._shown(desk), self._compared(desk)
        changes: Changes = {
            self.list: gr.update(visible="hidden" if shown or pair else True),
            self.detail: gr.update(visible=bool(shown or pair)),
            self.tags: gr.update(visible=bool(shown)),
        }
        if pair:
            return changes | {self.picture: wall.pair(*pair)}
        if shown:
            tags = gr.update(value=", ".join(shown.generation.tags), visible=True)
            return changes | {self.picture: self._detail(desk, page, shown), self.tags: tags}
        rebuilding, owner = self.studio.upkeep.rebuilding, self.studio.owned()
        grid = wall.grid(desk, page, rebuilding, owner)
        return changes | {self.bar: wall.bar(desk, page), self.grid: grid}

    def _shown(self, desk: Desk) -> Card | None:
        """The picture of the detail; the list comes back if it was deleted elsewhere."""
        if desk.gallery.shown is None:
            return None
        try:
            return self.studio.pictures.card(*desk.gallery.shown)
        except NotFound as error:
            desk.gallery.shown, desk.gallery.notice = None, wall.said(error.message)
            return None

    def _compared(self, desk: Desk) -> list[Card]:
        """The two pictures that are compared, if they are still there."""
        if not desk.gallery.pair:
            return []
        try:
            return [self.studio.pictures.card(*one) for one in desk.gallery.selected]
        except NotFound as error:
            desk.gallery.pair, desk.gallery.notice = False, wall.said(error.message)
            return []

    def _detail(self, desk: Desk, page: GalleryPage, shown: Card) -> str:
        at = wall.position(page.cards, wall.name(shown))
        number = desk.gallery.stack[-1][1] + at + 1 if at >= 0 else 0
        compare = self.generate.acts.compare_words(shown)
        ends = number == 1, number == page.total
        ways = self.generate.acts.ways(shown)
        return wall.detail(shown, number, page.total, *ends, compare, ways)
