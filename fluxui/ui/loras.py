"""The LoRAs tab: what is there, whether it fits, and what people wrote about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from fluxui.collection import PAGE, Sort
from fluxui.errors import FluxuiError, LoraNotFound
from fluxui.history import Query
from fluxui.loras.library import Lora
from fluxui.request import DEFAULT_WEIGHT, MAX_WEIGHT
from fluxui.studio import Studio
from fluxui.ui import html, stage
from fluxui.ui.desk import Desk
from fluxui.ui.events import EVERY, QUIET, WATCHING, Changes
from fluxui.ui.form import WEIGHT_STEP
from fluxui.ui.generate import Generate
from fluxui.ui.grids import GridPanel
from fluxui.ui.html import button
from fluxui.ui.lora_cards import cards, fit_report, made, nav, toolbar, watching
from fluxui.ui.lora_import import ImportPanel
from fluxui.ui.strip import Strip

PAINTED_WITH = 8
WATCH_SECONDS = 5
SORTS = [("Last used", "used"), ("Name", "name"), ("Newest", "added")]


class Loras:
    """Cards, and one LoRA in their place. Built inside its tab."""

    def __init__(self, studio: Studio, desk: gr.State, generate: Generate) -> None:
        self.studio, self.desk, self.generate = studio, desk, generate
        with gr.Column(elem_id="l-list", min_width=0) as self.list:
            with gr.Row(elem_id="l-filters", equal_height=False):
                self.search = gr.Textbox(
                    label="Search",
                    placeholder="Name or trigger word",
                    interactive=True,
                    scale=3,
                    min_width=200,
                    elem_id="l-search",
                )
                self.sort = gr.Dropdown(
                    SORTS,
                    value="used",
                    label="Sort",
                    filterable=False,
                    interactive=True,
                    scale=1,
                    min_width=150,
                    elem_id="l-sort",
                )
                self.open_grid = gr.Button(
                    "Compare LoRAs", size="lg", scale=0, min_width=160, elem_id="l-compare"
                )
                self.open_panel = gr.Button(
                    "Import LoRA",
                    variant="primary",
                    size="lg",
                    scale=0,
                    min_width=150,
                    elem_id="l-import",
                )
            self.panel = ImportPanel(studio)
            self.grid = GridPanel(studio)
            self.watch = self._html("l-watch")
            self.notice = self._html("l-notice")
            self.bar = self._html("l-bar")
            self.cards = self._html("l-cards")
        self.timer = gr.Timer(WATCH_SECONDS, active=False)
        with gr.Column(elem_id="l-detail", min_width=0, visible=False) as self.detail:
            self.nav = self._html("l-nav")
            with gr.Row(elem_id="l-columns", equal_height=False):
                with gr.Column(scale=2, min_width=300, elem_classes="fx-panel fx-card-panel"):
                    self.fit = self._html("l-fit")
                    self._build_fields()
                with gr.Column(scale=5, min_width=300, elem_classes="fx-panel fx-card-panel"):
                    self.strip = Strip(studio)
                    self.made = self._html("l-made")

    def _html(self, elem_id: str) -> gr.HTML:
        return gr.HTML(elem_id=elem_id, js_on_load=html.CLICKS, apply_default_css=False)

    def _build_fields(self) -> None:
        self.name = gr.Textbox(label="Name", interactive=True, max_length=100, elem_id="l-name")
        self.trigger = gr.Textbox(
            label="Trigger words",
            info="Put in front of the prompt, and gone with the LoRA. Commas between them.",
            interactive=True,
            max_length=300,
            elem_id="l-trigger",
        )
        self.weight = gr.Slider(
            0,
            MAX_WEIGHT,
            value=DEFAULT_WEIGHT,
            step=WEIGHT_STEP,
            label="Default weight",
            interactive=True,
            buttons=[],
            elem_id="l-weight",
        )
        self.notes = gr.Textbox(
            label="Notes", interactive=True, lines=2, max_length=5000, elem_id="l-notes"
        )

    @property
    def outputs(self) -> list[Any]:
        fields = [self.name, self.trigger, self.weight, self.notes]
        return [
            self.list,
            self.detail,
            self.timer,
            self.watch,
            self.notice,
            self.bar,
            self.cards,
            self.panel.column,
            self.panel.result,
            self.nav,
            self.fit,
            self.made,
            *self.strip.outputs,
            *fields,
        ]

    def wire(self) -> None:
        """Connect the components. Call once, when all tabs are built."""
        self.search.change(
            self.filter,
            [self.desk, self.search],
            self.outputs,
            trigger_mode="always_last",
            **QUIET,
        )
        self.sort.input(self.arrange, [self.desk, self.sort], self.outputs, **QUIET)
        self.timer.tick(self.look, self.desk, [self.watch, self.bar, self.cards], **QUIET)
        self.open_panel.click(self.panel.toggle, self.desk, self.panel.column, **QUIET)
        self.panel.wire(self.desk)
        self._wire_grid()
        self.panel.upload.upload(
            self.take_in, [self.desk, self.panel.upload], self.outputs, **QUIET
        )
        self.panel.result.act(self.bring, self.desk, self.outputs, **WATCHING)
        everything = list(dict.fromkeys([*self.generate.outputs, *self.outputs]))
        strip = self.strip.sheet
        for part in (self.notice, self.bar, self.cards, self.nav, self.made, strip.html):
            self.then_watch(part.act(self.act, self.desk, everything, **EVERY))
        self.then_watch(self.strip.wire(self.desk))
        fields = [self.desk, self.name, self.trigger, self.weight, self.notes]
        saved = [self.nav, strip.html, self.generate.frame.toast]
        gr.on(
            [
                *(self.name.submit, self.name.blur, self.trigger.submit, self.trigger.blur),
                self.notes.blur,
            ],
            self.save,
            fields,
            saved,
            **QUIET,
        )
        self.weight.input(self.save, fields, saved, trigger_mode="always_last", **QUIET)

    def _wire_grid(self) -> None:
        grid = self.grid
        opened = self.open_grid.click(grid.toggle, self.desk, grid.outputs, **QUIET)
        grid.sheet.then_watch(opened, self.desk)
        acted = grid.sheet.html.act(
            self.act_on_grid, self.desk, [*self.generate.outputs, grid.sheet.html], **EVERY
        )
        grid.sheet.then_watch(acted, self.desk)
        grid.wire(self.desk)

    def then_watch(self, event: Any) -> None:
        """After `event`: follow the strip that is shown, then tell what was painted."""
        followed = self.strip.sheet.then_watch(event, self.desk)
        told = [self.nav, self.made, self.strip.go]
        followed.then(self.tell, [self.desk, self.strip.weights], told, **QUIET)

    # Handlers

    def refresh(self, desk: Desk) -> Changes:
        """The tab was opened, by a click or by the page's address."""
        return self._show(desk) | {self.timer: gr.Timer(active=True)}

    def wake(self, event: gr.SelectData) -> Any:
        """The timer runs only while this tab is the open one."""
        return gr.Timer(active=event.value == "LoRAs")

    def look(self, desk: Desk) -> Changes:
        """Time has passed: what was dropped into the storage shows up by itself."""
        return {self.cards: gr.skip()} if desk.lora else self._cards(desk)

    def filter(self, desk: Desk, words: str) -> Changes:
        desk.lora_words, desk.lora, desk.lora_start = words.strip(), "", 0
        return self._show(desk)

    def arrange(self, desk: Desk, sort: Sort) -> Changes:
        desk.lora_sort, desk.lora_start = sort, 0
        return self._show(desk)

    def take_in(self, desk: Desk, uploaded: str) -> Changes:
        """A file was uploaded: check it, keep it, and open it."""
        source = Path(uploaded)
        try:
            desk.lora = self.studio.collection.add(source).model_id
        except FluxuiError as error:
            return self._show(desk, html.error_notice(error))
        finally:
            source.unlink()  # the library has its own copy, and Gradio's cache would keep this one
        return self._show(desk) | self.panel.closed(desk)

    def bring(self, desk: Desk) -> Iterator[Changes]:
        """Import what was checked. It goes on if the page is closed meanwhile."""
        try:
            for words in self.panel.fetch(desk):
                yield {self.panel.result: words}
        except FluxuiError as error:
            yield {self.panel.result: html.error_notice(error)}
            return
        yield self._show(desk) | self.panel.closed(desk)

    def act(self, desk: Desk, event: gr.EventData) -> Changes:
        """A button of the cards or of the detail."""
        data = event._data
        acts: dict[str, Callable[[Desk, dict[str, str]], Changes]] = {
            "lora": self._open,
            "back": self._back,
            "with": self._generate_with,
            "star": self._star,
            "favourites": self._favourites,
            "earlier": lambda desk, data: self._turn(desk, -PAGE),
            "later": lambda desk, data: self._turn(desk, PAGE),
            "remove": self._remove,
            "undo": self._undo,
            "open": self._open_picture,
            "weight": self._use_weight,
            "stop": self.strip.sheet.act,
            "again": self.strip.sheet.act,
        }
        try:
            return acts[data["act"]](desk, data)
        except FluxuiError as error:
            desk.lora = ""
            return self._show(desk, html.error_notice(error))

    def act_on_grid(self, desk: Desk, event: gr.EventData) -> Changes:
        """A button of the grid."""
        if event._data["act"] == "open":
            return self._open_picture(desk, event._data)
        return self.grid.sheet.act(desk, event._data)

    def _open(self, desk: Desk, data: dict[str, str]) -> Changes:
        desk.lora = data["id"]
        return self._show(desk)

    def _back(self, desk: Desk, data: dict[str, str]) -> Changes:
        desk.lora = ""
        return self._show(desk)

    def _generate_with(self, desk: Desk, data: dict[str, str]) -> Changes:
        """Lay this one on the form, beside what lies there."""
        return self.generate.form.put(desk, data["id"]) | self.generate.frame.go_to("generate")

    def _open_picture(self, desk: Desk, data: dict[str, str]) -> Changes:
        return self.generate.acts.open(desk, data) | self.generate.frame.go_to("generate")

    def _star(self, desk: Desk, data: dict[str, str]) -> Changes:
        lora = self._listed(data["id"])
        lora = self.studio.collection.update(lora.model_id, favourite=not lora.favourite)
        return {self.nav: self._nav(lora)}

    def _use_weight(self, desk: Desk, data: dict[str, str]) -> Changes:
        """What stood the test becomes the default."""
        weight = min(max(float(data["weight"]), 0.0), MAX_WEIGHT)
        lora = self.studio.collection.update(desk.lora, default_weight=weight)
        said = self.generate.frame.say(desk, f"Default weight of {lora.name}: {weight:g}")
        return {self.weight: weight} | self.strip.sheet.show(desk) | said

    def _favourites(self, desk: Desk, data: dict[str, str]) -> Changes:
        desk.lora_favourites, desk.lora_start = not desk.lora_favourites, 0
        return self._show(desk)

    def _turn(self, desk: Desk, by: int) -> Changes:
        desk.lora_start = max(0, desk.lora_start + by)
        return self._show(desk)

    def _remove(self, desk: Desk, data: dict[str, str]) -> Changes:
        name = self._listed(data["id"]).name
        pictures = self.studio.collection.delete(data["id"])
        desk.lora = ""
        desk.loras = ["" if one == data["id"] else one for one in desk.loras]
        stay = "Its pictures stay." if pictures > 1 else "Its picture stays."
        undo = button("undo", "Undo", kind="accent", id=data["id"])
        words = html.notice(f"{name} moved to the trash.", stay if pictures else "", undo)
        return self._show(desk, words) | self.generate.form.lay(desk, {})

    def _undo(self, desk: Desk, data: dict[str, str]) -> Changes:
        self.studio.collection.restore(data["id"])
        return self._show(desk)

    def save(self, desk: Desk, name: str, words: str, weight: float, notes: str) -> Changes:
        """Keep what was typed, if it is something new."""
        lora = self._listed(desk.lora)
        trigger = tuple(word.strip() for word in words.split(",") if word.strip())
        said: dict[str, Any] = {
            "name": name.strip() or lora.name,
            "trigger_words": trigger,
            "default_weight": float(weight),
            "notes": notes.strip(),
        }
        if all(getattr(lora, field) == value for field, value in said.items()):
            return {self.nav: self._nav(lora)}
        try:
            lora = self.studio.collection.update(lora.model_id, **said)
        except FluxuiError as error:
            return {self.nav: self._nav(lora) + html.error_notice(error)}
        shown = {self.nav: self._nav(lora)} | self.strip.sheet.show(desk)
        return shown | self.generate.frame.say(desk, "Saved")

    # What is shown

    def _show(self, desk: Desk, notice: str = "") -> Changes:
        if desk.lora:
            try:
                return self._detail(desk)
            except LoraNotFound as error:
                desk.lora, notice = "", html.error_notice(error)
        return {
            self.list: gr.update(visible=True),
            self.detail: gr.update(visible=False),
            self.notice: notice,
            **self._cards(desk),
        }

    def _cards(self, desk: Desk) -> Changes:
        page = self.studio.collection.page(
            desk.lora_words, desk.lora_sort, desk.lora_favourites, desk.lora_start
        )
        desk.lora_start = page.start
        settings = self.studio.settings
        bucket = settings.s3_bucket_name
        place = f"{bucket}/{settings.s3_prefix}models/" if bucket else "models/ in the data folder"
        return {
            self.watch: watching(page, place, settings.lora_watch > 0),
            self.bar: toolbar(page, desk.lora_favourites),
            self.cards: cards(page, desk.lora_words, desk.lora_favourites),
        }

    def _nav(self, lora: Lora) -> str:
        return nav(lora, self.studio.collection.uses(lora.model_id))

    def _listed(self, model_id: str) -> Lora:
        """From the listing, which downloads nothing. Raises LoraNotFound."""
        if lora := self.generate.form.known().get(model_id):
            return lora
        raise LoraNotFound(model_id)

    def tell(self, desk: Desk, weights: str) -> Changes:
        """A strip is done: its pictures are among those that were painted with it."""
        if not desk.lora:
            return {self.nav: gr.skip()}
        lora = self._listed(desk.lora)
        changes = {self.nav: self._nav(lora), self.made: self._made(lora)}
        return changes | {self.strip.go: self.strip.price(desk, weights)}

    def _made(self, lora: Lora) -> str:
        pictures = self.studio.pictures.gallery(Query(model_id=lora.model_id))
        return made(lora, [*map(stage.thumb, pictures.cards[:PAINTED_WITH])])

    def _detail(self, desk: Desk) -> Changes:
        lora = self._listed(desk.lora)
        return {
            self.list: gr.update(visible="hidden"),
            self.detail: gr.update(visible=True),
            self.nav: self._nav(lora),
            self.fit: fit_report(lora, self.studio.base_model.name),
            self.made: self._made(lora),
            self.name: lora.name,
            self.trigger: ", ".join(lora.trigger_words),
            self.notes: lora.notes,
            self.weight: lora.default_weight,
            **self.strip.open(desk, lora),
        }
