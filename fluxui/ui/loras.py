"""The LoRAs tab: what is there, whether it fits, and what people wrote about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from fluxui.errors import FluxuiError, LoraNotFound
from fluxui.history import Query
from fluxui.loras.library import Lora
from fluxui.request import DEFAULT_WEIGHT, MAX_WEIGHT
from fluxui.studio import Studio
from fluxui.ui import html, stage
from fluxui.ui.desk import Desk
from fluxui.ui.events import QUIET, Changes
from fluxui.ui.form import WEIGHT_STEP, lora_picture
from fluxui.ui.generate import Generate
from fluxui.ui.html import button, esc

PAINTED_WITH = 8


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
                self.upload = gr.UploadButton(
                    "Import a .safetensors",
                    file_types=[".safetensors"],
                    variant="primary",
                    size="lg",
                    scale=0,
                    min_width=210,
                    elem_id="l-import",
                )
            self.notice = self._html("l-notice")
            self.cards = self._html("l-cards")
        with gr.Column(elem_id="l-detail", min_width=0, visible=False) as self.detail:
            self.nav = self._html("l-nav")
            with gr.Row(elem_id="l-columns", equal_height=False):
                with gr.Column(scale=2, min_width=300, elem_classes="fx-panel fx-card-panel"):
                    self.fit = self._html("l-fit")
                    self._build_fields()
                with gr.Column(scale=5, min_width=300, elem_classes="fx-panel fx-card-panel"):
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

    @property
    def outputs(self) -> list[Any]:
        fields = [self.name, self.trigger, self.weight]
        return [
            self.list,
            self.detail,
            self.notice,
            self.cards,
            self.nav,
            self.fit,
            self.made,
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
        self.upload.upload(self.take_in, [self.desk, self.upload], self.outputs, **QUIET)
        everything = list(dict.fromkeys([*self.generate.outputs, *self.outputs]))
        for part in (self.notice, self.cards, self.nav, self.made):
            part.act(self.act, self.desk, everything, **QUIET)
        fields = [self.desk, self.name, self.trigger, self.weight]
        saved = [self.nav, self.generate.frame.toast]
        gr.on(
            [self.name.submit, self.name.blur, self.trigger.submit, self.trigger.blur],
            self.save,
            fields,
            saved,
            **QUIET,
        )
        self.weight.input(self.save, fields, saved, trigger_mode="always_last", **QUIET)

    # Handlers

    def refresh(self, desk: Desk) -> Changes:
        """The tab was opened."""
        return self._show(desk)

    def filter(self, desk: Desk, words: str) -> Changes:
        desk.lora_words, desk.lora = words.strip(), ""
        return self._show(desk)

    def take_in(self, desk: Desk, uploaded: str) -> Changes:
        """A file was uploaded: check it, keep it, and open it."""
        source = Path(uploaded)
        try:
            desk.lora = self.studio.import_lora(source).model_id
        except FluxuiError as error:
            return self._show(desk, html.error_notice(error))
        finally:
            source.unlink()  # the library has its own copy, and Gradio's cache would keep this one
        return self._show(desk)

    def act(self, desk: Desk, event: gr.EventData) -> Changes:
        """A button of the cards or of the detail."""
        data = event._data
        acts: dict[str, Callable[[Desk, dict[str, str]], Changes]] = {
            "lora": self._open,
            "back": self._back,
            "with": self._generate_with,
            "ask": self._ask,
            "remove": self._remove,
            "open": self._open_picture,
        }
        try:
            return acts[data["act"]](desk, data)
        except FluxuiError as error:
            desk.lora = ""
            return self._show(desk, html.error_notice(error))

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

    def _ask(self, desk: Desk, data: dict[str, str]) -> Changes:
        """A LoRA has no trash to come back from, so this one delete asks first."""
        return {self.nav: nav(self._listed(data["id"]), sure=True)}

    def _remove(self, desk: Desk, data: dict[str, str]) -> Changes:
        name = self._listed(data["id"]).name
        pictures = self.studio.delete_lora(data["id"])
        desk.lora = ""
        desk.loras = ["" if one == data["id"] else one for one in desk.loras]
        stay = f"Its {html.counted(pictures, 'picture')} stay." if pictures else ""
        words = html.notice(f"{name} was deleted.", stay)
        return self._show(desk, words) | self.generate.form.lay(desk, {})

    def save(self, desk: Desk, name: str, words: str, weight: float) -> Changes:
        """Keep what was typed, if it is something new."""
        lora = self._listed(desk.lora)
        trigger = tuple(word.strip() for word in words.split(",") if word.strip())
        said = (name.strip() or lora.name, trigger, float(weight))
        if said == (lora.name, lora.trigger_words, lora.default_weight):
            return {self.nav: nav(lora)}
        try:
            lora = self.studio.update_lora(
                lora.model_id, name=said[0], trigger_words=trigger, default_weight=said[2]
            )
        except FluxuiError as error:
            return {self.nav: nav(lora) + html.error_notice(error)}
        return {self.nav: nav(lora)} | self.generate.frame.say(desk, "Saved")

    # What is shown

    def _show(self, desk: Desk, notice: str = "") -> Changes:
        if desk.lora:
            try:
                return self._detail(desk)
            except LoraNotFound as error:
                desk.lora, notice = "", html.error_notice(error)
        found = [one for one in self.studio.loras() if _matches(one, desk.lora_words)]
        return {
            self.list: gr.update(visible=True),
            self.detail: gr.update(visible=False),
            self.notice: notice,
            self.cards: self._cards(found, desk.lora_words),
        }

    def _listed(self, model_id: str) -> Lora:
        """From the listing, which downloads nothing. Raises LoraNotFound."""
        if lora := self.generate.form.known().get(model_id):
            return lora
        raise LoraNotFound(model_id)

    def _cards(self, found: list[Lora], words: str) -> str:
        if found:
            cards = "".join(card(one, self.studio.lora_preview(one.model_id)) for one in found)
            count = html.counted(len(found), "LoRA")
            return f'<p class="fx-sub fx-toolbar">{count}</p><div class="fx-loras">{cards}</div>'
        if words:
            return html.empty(f"No LoRA matches “{words}”.", "")
        return html.empty("No LoRAs yet.", "Import a .safetensors file to paint in its style.")

    def _detail(self, desk: Desk) -> Changes:
        lora = self._listed(desk.lora)
        pictures = self.studio.pictures.gallery(Query(model_id=lora.model_id))
        return {
            self.list: gr.update(visible="hidden"),
            self.detail: gr.update(visible=True),
            self.nav: nav(lora),
            self.fit: fit_report(lora, self.studio.base_model.name),
            self.made: made(lora, [*map(stage.thumb, pictures.cards[:PAINTED_WITH])]),
            self.name: lora.name,
            self.trigger: ", ".join(lora.trigger_words),
            self.weight: lora.default_weight,
        }


def _matches(lora: Lora, words: str) -> bool:
    said = " ".join((lora.name, lora.model_id, *lora.trigger_words)).lower()
    return all(word in said for word in words.lower().split())


def verdict_pill(lora: Lora) -> str:
    return html.pill("ready", "ok") if lora.fit.fits else html.pill("does not fit", "bad")


def card(lora: Lora, preview: bytes | None) -> str:
    """One LoRA; the whole card is one button."""
    words = ", ".join(lora.trigger_words) or "no trigger words"
    rank = f"rank {lora.fit.rank}" if lora.fit.rank else ""
    family = lora.fit.base_family
    tags = [family, rank, f"weight {lora.default_weight:g}"]
    return (
        f'<button type="button" class="fx-card" data-act="lora" data-id="{esc(lora.model_id)}">'
        f'<span class="fx-card-picture">{lora_picture(lora, preview)}{verdict_pill(lora)}</span>'
        f'<span class="fx-card-words"><span class="fx-row fx-spread"><b>{esc(lora.name)}</b>'
        f'<span class="fx-sub fx-end">{html.file_size(lora.size)}</span></span>'
        f'<span class="fx-sub">{esc(words)}</span>'
        f'<span class="fx-row fx-wrap">{"".join(map(html.tag, filter(None, tags)))}</span></span>'
        "</button>"
    )


def nav(lora: Lora, sure: bool = False) -> str:
    """The row above the detail; with `sure` it asks whether to delete."""
    back = button("back", "← All LoRAs")
    return (
        f'<div class="fx-row fx-spread fx-toolbar"><div class="fx-row">{back}'
        f'<h2 class="fx-h">{esc(lora.name)}</h2></div>'
        f'<div class="fx-row fx-wrap">{_asking(lora) if sure else _choices(lora)}</div></div>'
    )


def _choices(lora: Lora) -> str:
    use = button("with", "Generate with this", kind="accent", id=lora.model_id)
    remove = "" if lora.built_in else button("ask", "Delete", kind="danger", id=lora.model_id)
    return (use if lora.fit.fits else "") + remove


def _asking(lora: Lora) -> str:
    words = '<span class="fx-sub" role="status">It can’t be brought back. Pictures stay.</span>'
    keep = button("lora", "Keep it", id=lora.model_id)
    return words + keep + button("remove", "Delete for good", kind="danger", id=lora.model_id)


def fit_report(lora: Lora, base_name: str) -> str:
    """The verdict first, then what it rests on."""
    fit = lora.fit
    tone = "ok" if fit.fits else "bad"
    rows = [
        ("Model id", f"<code>{esc(lora.model_id)}</code>"),
        ("Format", esc(fit.format)),
        ("Trained for", esc(fit.base_family)),
        ("Rank · alpha", f"{esc(fit.rank or '–')} · {esc(fit.alpha or 'as rank')}"),
        ("Layers", f"{fit.layers} of {fit.layers_total} match {esc(base_name)}"),
        ("Size", html.file_size(lora.size)),
        ("Added", "comes with fluxui" if lora.built_in else esc(html.moment(lora.added))),
    ]
    if lora.sha256:
        rows.append(
            ("SHA-256", f'<code title="{esc(lora.sha256)}">{esc(lora.sha256[:16])}…</code>')
        )
    rows += [(name.capitalize(), esc(value)) for name, value in lora.training.items()]
    if lora.notes:
        rows.append(("Notes", esc(lora.notes)))
    return (
        f'<div class="fx-card-panel"><h3 class="fx-h">Fit report</h3><p class="fx-row">'
        f"{html.dot(tone)}<b>{esc(fit.verdict)}</b></p>{html.facts(rows)}</div>"
    )


def made(lora: Lora, thumbs: list[str]) -> str:
    """Pictures painted with it, newest first."""
    title = '<h3 class="fx-h">Painted with it</h3>'
    if thumbs:
        return f'{title}<div class="fx-made">{"".join(thumbs)}</div>'
    words = "Pictures that use this LoRA show up here."
    if not lora.fit.fits:
        words = "It does not fit this base model, so nothing can be painted with it."
    return f'{title}<p class="fx-sub">{words}</p>'
