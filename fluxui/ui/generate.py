"""The Generate tab: ask for pictures, watch them come, and act on them.

Handlers submit, watch and cancel through Studio; the queue paints. Whatever a handler changes it
gives back as a dictionary from component to value, so that parts can be put together.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import gradio as gr

from fluxui.errors import (
    GenerationNotFound,
    Restarting,
)
from fluxui.generation import Generation, Status
from fluxui.queue import Phase, Progress
from fluxui.request import GenerationForm, random_seed
from fluxui.studio import Studio
from fluxui.ui import html, stage
from fluxui.ui.acts import Acts
from fluxui.ui.as_code import LANGUAGES
from fluxui.ui.desk import Desk
from fluxui.ui.events import FOLLOWING, QUIET, Changes
from fluxui.ui.examples import examples
from fluxui.ui.form import LABEL, Form, eta, eta_line
from fluxui.ui.frame import Frame
from fluxui.ui.kept import KEEP, whose
from fluxui.ui.system import head
from fluxui.watch import Moment

LATELY = 12


class Generate:
    """Form on the left, stage on the right. Built inside its tab."""

    def __init__(self, studio: Studio, frame: Frame) -> None:
        self.studio, self.frame, self.desk = studio, frame, frame.desk
        self.whose = gr.Textbox(visible="hidden", interactive=True, elem_id="whose")
        with gr.Row(elem_id="generate", equal_height=False):
            with gr.Column(scale=0, min_width=400, elem_id="form", elem_classes="fx-panel"):
                self.form = Form(studio, frame)
                self.acts = Acts(studio, frame, self.form, self.show)
                self._build_actions()
            with gr.Column(scale=1, min_width=320, elem_id="result"):
                self.status = gr.HTML(
                    elem_id="status", js_on_load=html.CLICKS, apply_default_css=False
                )
                self.stage = gr.HTML(
                    self._idle(Desk()),
                    elem_id="stage",
                    js_on_load=html.CLICKS,
                    apply_default_css=False,
                )
                self._build_code()

    def _build_actions(self) -> None:
        with gr.Column(elem_id="actions", min_width=0):
            self.eta = gr.HTML(eta(None, 1), elem_id="eta", apply_default_css=False)
            self.hint = gr.HTML(visible=False, elem_id="hint", apply_default_css=False)
            self.go = gr.Button("Generate", variant="primary", size="lg", elem_id="go")
            self.cancel = gr.Button("Cancel", visible=False, size="lg", elem_id="cancel")

    def _build_code(self) -> None:
        with gr.Accordion(
            "This call as code", open=False, visible=False, elem_id="as-code"
        ) as self.as_code:
            self.language = gr.Radio(
                list(LANGUAGES),
                value="curl",
                show_label=False,
                label="Language",
                interactive=True,
                elem_id="lang",
                elem_classes="fx-seg",
            )
            self.code = gr.Code(
                language="shell",
                buttons=["copy"],
                show_line_numbers=False,
                wrap_lines=True,
                show_label=False,
                label="Code",
                interactive=False,
                elem_id="code",
            )

    @property
    def live(self) -> list[Any]:
        """All that `show` may change."""
        strip = [self.status, self.stage, self.eta, self.hint, self.go, self.cancel]
        return [*strip, self.frame.job, self.as_code, self.code]

    @property
    def outputs(self) -> list[Any]:
        page = [self.frame.tabs, self.frame.toast, self.frame.kept, self.whose]
        return [*self.live, *self.form.outputs, *page]

    # Listeners

    def wire(self) -> None:
        """Connect the components. Call once, when all tabs are built."""
        form, inputs = self.form, [self.desk, *self.form.inputs]
        asked = self.go.click(self.submit, inputs, self.live, **QUIET)
        acted = self.stage.act(self.act, self.desk, self.outputs, **QUIET)
        shown = [*self.live, self.frame.head]
        self.status.act(self.queue, self.desk, shown, **QUIET)
        self.then_watch(asked)
        self.then_watch(acted)
        self.cancel.click(self.stop, self.desk, self.live, **QUIET)
        self.language.input(self.speak, [self.desk, self.language], self.code, **QUIET)
        chips = [form.add, *form.chip_parts, self.frame.toast]
        picked = form.add.input(form.pick, [form.add, self.desk], chips, **QUIET)
        picked.then(form.forecast, form.inputs, self.eta, **QUIET)
        for number, chip in enumerate(form.chips):
            chip.head.act(_taking(form, number), self.desk, form.chip_parts, **QUIET)
        form.dice.click(lambda: str(random_seed()), None, form.seed, **QUIET)
        form.reuse.click(self.last_seed, self.desk, form.seed, **QUIET)
        size = [form.width, form.height]
        form.ratio.input(form.resize, form.ratio, [*size, form.ratio], **QUIET)
        gr.on([one.input for one in size], form.reshape, size, form.ratio, **QUIET)
        weights = [chip.weight for chip in form.chips]
        changing = [form.num, form.steps, form.guidance, *size, *weights]
        gr.on(
            [one.change for one in changing],
            form.forecast,
            form.inputs,
            self.eta,
            trigger_mode="always_last",
            **QUIET,
        )
        kept = [self.whose, *form.inputs]
        typed = [one.change for one in kept]
        gr.on(typed, None, kept, self.frame.kept, js=KEEP, **QUIET)
        told = [form.steps, form.guidance]
        gr.on([one.change for one in told], None, told, form.advanced, js=LABEL, **QUIET)

    def then_watch(self, event: Any) -> None:
        """After `event`: follow what the stage shows, then say what the next one will take."""
        watched = event.then(self.watch, self.desk, self.live, **FOLLOWING)
        watched.then(self.settle, self.form.inputs, [self.eta, self.frame.head], **QUIET)

    # Handlers

    def boot(self, desk: Desk, job_id: str, kept: Any, request: gr.Request) -> Changes:
        """A page was opened: show the job of its address, or the one it left behind. The form is
        that of the job in the address, else as it was left."""
        desk.ready, desk.address = True, _address(request, desk.address)
        asked = request.query_params.get("job", "")
        changes: Changes = {self.form.add: gr.update(choices=self.form.choices())}
        recalled, lost = self._recall(desk, kept)
        changes |= recalled
        if not (asked or job_id):
            desk.notice = lost
            return changes | self.show(desk)
        try:
            generation = self.studio.get(asked or job_id)
        except GenerationNotFound as error:
            desk.notice = html.error_notice(error) if asked else ""
            return changes | self.show(desk)
        image = request.query_params.get("image", "")
        desk.show(generation.id, int(image) if image.isdecimal() else 1)
        if not generation.status.ended:
            since = html.clock(generation.created_at)
            progress = self.studio.progress(generation.id)
            waits = progress is not None and progress.phase is Phase.waiting
            does = "still waits for its turn" if waits else "is still being painted"
            words = f"Your picture from {since} {does}."
            desk.notice = html.notice("Welcome back.", words)
        if asked or self.form.prompt not in recalled:
            return changes | self.form.fill(desk, generation.request) | self.show(desk)
        desk.notice += lost
        return changes | self.show(desk)

    def _recall(self, desk: Desk, kept: Any) -> tuple[Changes, str]:
        """The form as this visitor left it, and a notice of what changed. What another one left
        in this browser goes."""
        mine = whose(self.studio.visitor())
        changes: Changes = {self.whose: mine}
        if not isinstance(kept, dict):
            return changes, ""
        if kept.get("whose") != mine:
            return changes | {self.frame.kept: {}}, ""  # Gradio writes no None
        entered, changed = self.form.recall(desk, kept)
        lost = html.notice("Your form is back.", f"Now {'; '.join(changed)}.") if changed else ""
        return changes | entered, lost

    def refresh(self, desk: Desk) -> Changes:
        """The tab was opened: LoRAs may have come, and pictures gone."""
        changes: Changes = {self.form.add: gr.update(choices=self.form.choices())}
        # Gradio opens the first tab while the page boots, which knows better what to show.
        return changes | (self.show(desk) if desk.ready else {})

    def submit(self, desk: Desk, *values: Any) -> Changes:
        """Generate was pressed."""
        if not (values[0] or "").strip():
            desk.notice = html.notice("Write a prompt first.", "A few words are enough.")
            return self.show(desk)
        return self.acts.guard(desk, lambda: self._submit(desk, self.form.read(values)))

    def _submit(self, desk: Desk, form: GenerationForm) -> Changes:
        desk.show(self.studio.submit(form).id)
        return self.show(desk)

    async def watch(self, desk: Desk) -> AsyncIterator[Changes]:
        """Follow the generation on the stage to its end, or until another one takes its place."""
        desk.watcher += 1
        mine, job_id = desk.watcher, desk.active
        if not job_id:
            yield {self.hint: gr.skip()}  # Gradio takes an empty dictionary for a value
            return
        try:
            async for moment in self.studio.watch(job_id):
                if (desk.watcher, desk.active) != (mine, job_id):
                    return
                yield self.show(desk, moment)
        except GenerationNotFound:
            desk.show("")
            yield self.show(desk)
        except Restarting as error:
            desk.notice = html.error_notice(error)
            yield self.show(desk)

    def settle(self, *values: Any) -> tuple[str, str]:
        """What the next one takes, and the pills of the head."""
        return self.form.forecast(*values), head(self.studio)

    def stop(self, desk: Desk) -> Changes:
        """Cancel was pressed."""
        return self.acts.guard(desk, lambda: self._stop(desk))

    def _stop(self, desk: Desk) -> Changes:
        desk.notice = ""
        self.studio.cancel(desk.active)
        return self.show(desk)

    def act(self, desk: Desk, event: gr.EventData) -> Changes:
        """A button on the stage."""
        return self.acts.perform(desk, event._data)

    def queue(self, desk: Desk, event: gr.EventData) -> Changes:
        """A button of the strip: one's own queue in another order, held back, or let go."""
        return self.acts.perform(desk, event._data) | {self.frame.head: head(self.studio)}

    def last_seed(self, desk: Desk) -> str:
        """The seed of the framed picture, or else of the newest one."""
        if shown := self._shown(desk):
            return str(shown.request.seeds()[desk.index - 1])
        newest = self.studio.pictures.page(limit=1).generations
        return str(newest[0].request.seed) if newest else ""

    def speak(self, desk: Desk, language: str) -> Any:
        desk.language = language
        shown = self._shown(desk)
        return self._code(desk, shown) if shown else gr.skip()

    # What is shown

    def show(self, desk: Desk, moment: Moment | None = None) -> Changes:
        """The whole right side and the buttons, for what is on the desk now."""
        generation, progress, left = self._now(desk, moment)
        busy = generation is not None and not generation.status.ended
        waits = busy and progress is not None and progress.phase is Phase.waiting
        waiting = self.studio.waiting() if waits else ()
        changes: Changes = {
            self.status: stage.status(generation, progress, left, waiting),
            self.stage: self._stage(desk, generation, progress),
            self.eta: gr.update(visible=not busy),
            self.hint: gr.update(value=_hint(progress, left), visible=busy),
            self.go: gr.update(visible=not busy),
            self.cancel: gr.update(visible=busy),
        }
        if moment is None or not busy:
            shown = self._shown(desk)
            changes[self.frame.job] = desk.active if busy else ""
            changes[self.as_code] = gr.update(visible=shown is not None)
            if shown:
                changes[self.code] = self._code(desk, shown)
        return changes

    def _now(
        self, desk: Desk, moment: Moment | None
    ) -> tuple[Generation | None, Progress | None, float | None]:
        if moment is not None:
            return moment.generation, moment.progress, moment.seconds_left
        shown = self._shown(desk)
        if shown is None or not desk.twin:
            return shown, self.studio.progress(desk.shown), None
        return self.studio.get(desk.twin), self.studio.progress(desk.twin), None

    def _shown(self, desk: Desk) -> Generation | None:
        """The generation on the stage; it leaves the stage if it was deleted elsewhere."""
        try:
            return self.studio.get(desk.shown) if desk.shown else None
        except GenerationNotFound:
            desk.show("")
            return None

    def _stage(self, desk: Desk, now: Generation | None, progress: Progress | None) -> str:
        if now is None:
            return self._idle(desk)
        if not now.status.ended:
            return stage.running(now, progress, desk.notice)
        if desk.twin and now.status is Status.completed:
            return self.acts.compared(desk)
        if now.status is not Status.completed:
            desk.notice = desk.notice or stage.ended_badly(now)
        if desk.twin:
            desk.twin = ""
            now = self.studio.get(desk.shown)
        return self._result(desk, now) if now.images else self._lately(desk)

    def _result(self, desk: Desk, generation: Generation) -> str:
        cards = [self.studio.pictures.card(generation.id, one.index) for one in generation.images]
        shown = next((card for card in cards if card.image.index == desk.index), cards[0])
        compare, ways = self.acts.compare_words(shown), self.acts.ways(shown)
        return stage.result(cards, shown, compare, desk.notice, ways)

    def _idle(self, desk: Desk) -> str:
        base = self.studio.base_model
        if base.paints and not self.studio.pictures.gallery().total:
            return stage.first_run(base.paints, examples(), desk.notice)
        return self._lately(desk)

    def _lately(self, desk: Desk) -> str:
        page = self.studio.pictures.gallery()
        return stage.lately(page.cards[:LATELY], page.total, desk.notice)

    def _code(self, desk: Desk, generation: Generation) -> Any:
        language, written = LANGUAGES[desk.language]
        return gr.update(value=written(generation.request, desk.address), language=language)


def _taking(form: Form, number: int) -> Callable[[Desk], Changes]:
    def take(desk: Desk) -> Changes:
        return form.take(number, desk)

    return take


def _hint(progress: Progress | None, left: float | None) -> str:
    """Beside Cancel: a promise; on a phone, where the strip may be out of sight, the step too."""
    step = ""
    if progress and progress.step:
        step = f"Image {progress.image} of {progress.images} · step {progress.step} of "
        step += f"{progress.steps}"
    time = f"about {html.duration(left)} left" if left is not None else ""
    words = "Cancel stops within one step."
    return eta_line(
        f'<b class="fx-phone">{step}</b><span class="fx-desktop">{words}</span>',
        f'<span class="fx-phone">{time}</span>',
    )


def _address(request: gr.Request, default: str) -> str:
    """Where the browser sees this page, without its query."""
    page = request.headers.get("referer", "").split("?")[0].rstrip("/")
    return page or default
