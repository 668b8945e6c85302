"""The form of the Generate tab: its components, what they hold as a request, and back again.

Ranges, shapes and defaults are the base model's. It submits nothing.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from fluxui.errors import FluxuiError, LoraNotFound
from fluxui.loras.library import Lora
from fluxui.request import (
    DEFAULT_WEIGHT,
    MAX_IMAGES,
    MAX_LORAS,
    MAX_PROMPT,
    MAX_WEIGHT,
    GenerationForm,
    GenerationRequest,
)
from fluxui.studio import Studio
from fluxui.ui import html
from fluxui.ui.desk import Desk
from fluxui.ui.events import Changes
from fluxui.ui.frame import Frame
from fluxui.ui.kept import Entries, recall

WEIGHT_STEP = 0.05
# `advanced_label`, in the browser: an answer from here, late, would undo what is being typed.
LABEL = (
    "(steps, guidance) => ({__type__: 'update', "
    "label: `Advanced · ${steps} steps · guidance ${guidance}`})"
)
NONE = ""


class Chip:
    """One of the places on which a chosen LoRA lies, with its weight."""

    def __init__(self, number: int) -> None:
        with gr.Column(
            visible=False, elem_id=f"lora-{number}", elem_classes="fx-lora", min_width=0
        ) as self.column:
            self.head = gr.HTML(
                elem_id=f"lora-{number}-head", js_on_load=html.CLICKS, apply_default_css=False
            )
            self.weight = gr.Slider(
                0,
                MAX_WEIGHT,
                value=DEFAULT_WEIGHT,
                step=WEIGHT_STEP,
                label=f"Weight of LoRA {number}",
                show_label=False,
                container=False,
                interactive=True,
                buttons=[],
                elem_id=f"lora-{number}-weight",
                elem_classes="fx-slim",
            )

    @property
    def parts(self) -> list[Any]:
        return [self.column, self.head, self.weight]


class Form:
    """Prompt, LoRAs, shape, images, seed and the rest. Built inside the tab."""

    def __init__(self, studio: Studio, frame: Frame) -> None:
        self.studio, self.frame = studio, frame
        self.limits = studio.base_model.limits
        self.shapes = studio.base_model.shapes
        self.prompt = gr.Textbox(
            label="Prompt",
            placeholder="What should it paint?",
            lines=3,
            max_lines=8,
            max_length=MAX_PROMPT,
            interactive=True,
            elem_id="prompt",
        )
        self.add = gr.Dropdown(
            label="Add a LoRA",
            choices=self.choices(),
            value=None,
            filterable=True,
            interactive=True,
            elem_id="lora-add",
        )
        # Which LoRAs lie on the chips, as the browser shows them: what is seen is what is asked.
        # "hidden" and not gone, so that it tells its changes.
        self.chosen = gr.JSON([""] * MAX_LORAS, visible="hidden", elem_id="lora-chosen")
        self.chips = [Chip(number) for number in range(1, MAX_LORAS + 1)]
        self.ratio = gr.Radio(
            list(self.shapes),
            value=self.shape_of(self.limits.width, self.limits.height),
            label=shape_label(self.limits.width, self.limits.height),
            interactive=True,
            elem_id="ratio",
            elem_classes="fx-seg fx-shapes",
        )
        self._build_count_and_seed()
        self._build_advanced()

    def _build_count_and_seed(self) -> None:
        with gr.Row(elem_id="count-seed"):
            self.num = gr.Radio(
                [str(number) for number in range(1, MAX_IMAGES + 1)],
                value="1",
                label="Images",
                interactive=True,
                min_width=120,
                elem_id="num",
                elem_classes="fx-seg",
            )
            with gr.Column(min_width=140, elem_id="seed-box"):
                self.seed = gr.Textbox(
                    label="Seed",
                    placeholder="random",
                    max_length=20,
                    interactive=True,
                    elem_id="seed",
                )
                with gr.Row(elem_id="seed-buttons"):
                    self.dice = gr.Button("New", size="sm", min_width=0, elem_id="dice")
                    self.reuse = gr.Button("Reuse", size="sm", min_width=0, elem_id="reuse")

    def _build_advanced(self) -> None:
        limits = self.limits
        label = advanced_label(limits.steps, limits.guidance)
        with gr.Accordion(label, open=False, elem_id="advanced") as self.advanced:
            self.steps = gr.Slider(
                1,
                limits.max_steps,
                value=limits.steps,
                step=1,
                label="Steps",
                interactive=True,
                buttons=[],
                elem_id="steps",
            )
            self.guidance = gr.Slider(
                0,
                limits.max_guidance,
                value=limits.guidance,
                step=0.1,
                label="Guidance",
                interactive=True,
                buttons=[],
                elem_id="guidance",
            )
            with gr.Row(elem_id="size"):
                self.width = self._number("Width", limits.width)
                self.height = self._number("Height", limits.height)

    def _number(self, label: str, value: int) -> gr.Number:
        return gr.Number(
            value,
            label=label,
            info=f"multiple of {self.limits.size_step}, to {self.limits.max_size}",
            step=self.limits.size_step,
            precision=0,
            interactive=True,
            min_width=100,
            elem_id=label.lower(),
        )

    # What the components hold

    @property
    def inputs(self) -> list[Any]:
        """What `read` takes, in its order."""
        weights = [chip.weight for chip in self.chips]
        numbers = [self.num, self.seed, self.steps, self.guidance, self.width, self.height]
        return [self.prompt, self.chosen, *numbers, *weights]

    @property
    def outputs(self) -> list[Any]:
        """All that `fill` and `pick` may change."""
        fields = [self.prompt, self.add, self.ratio, self.num, self.seed, self.advanced]
        numbers = [self.steps, self.guidance, self.width, self.height]
        return [*fields, *numbers, *self.chip_parts]

    @property
    def chip_parts(self) -> list[Any]:
        return [self.chosen, *(part for chip in self.chips for part in chip.parts)]

    def read(self, values: tuple[Any, ...]) -> GenerationForm:
        """The components' values as a form. Raises InvalidRequest."""
        prompt, chosen, num, seed, steps, guidance, width, height, *weights = values
        loras = [
            {"model_id": model_id, "weight": weight}
            for model_id, weight in zip(chosen, weights, strict=True)
            if model_id
        ]
        return GenerationForm.parse(
            {
                "prompt": prompt or "",
                "loras": loras,
                "num_images": num,
                "seed": (seed or "").strip() or None,
                "num_inference_steps": steps,
                "guidance_scale": guidance,
                "width": width,
                "height": height,
            }
        )

    def fill(self, desk: Desk, request: GenerationRequest) -> Changes:
        """Updates that make the form say `request`. A LoRA that is gone is left out."""
        return self.enter(desk, Entries.of(request))

    def enter(self, desk: Desk, entries: Entries) -> Changes:
        """Updates that make the form hold `entries`. A LoRA that is gone is left out."""
        known = self.known()
        chosen = [model_id for model_id in entries.loras if model_id in known]
        desk.loras = chosen + [""] * (MAX_LORAS - len(chosen))
        shape = self.shape_of(entries.width, entries.height)
        return {
            self.prompt: entries.prompt,
            self.ratio: gr.update(value=shape, label=shape_label(entries.width, entries.height)),
            self.num: str(entries.num),
            self.seed: entries.seed,
            self.advanced: gr.update(label=advanced_label(entries.steps, entries.guidance)),
            self.steps: entries.steps,
            self.guidance: entries.guidance,
            self.width: entries.width,
            self.height: entries.height,
            **self.lay(desk, entries.loras),
        }

    def recall(self, desk: Desk, told: Any) -> tuple[Changes, list[str]]:
        """What this browser kept, and in words what had to change."""
        fitting = [model_id for _, model_id in self.choices() if model_id != NONE]
        entries, changed = recall(told, self.limits, fitting)
        return self.enter(desk, entries), changed

    def lay(self, desk: Desk, weights: dict[str, float]) -> Changes:
        """Updates of all chips; those named in `weights` get that weight, those gone go."""
        updates: Changes = {}
        known = self.known()
        desk.loras = [one if one in known else "" for one in desk.loras]
        for chip, model_id in zip(self.chips, desk.loras, strict=True):
            updates[chip.column] = gr.update(visible=bool(model_id))
            if not model_id:
                continue
            lora = known[model_id]
            updates[chip.head] = chip_head(lora, self.studio.collection.preview(model_id))
            slider: dict[str, Any] = {"label": f"Weight of {lora.name}"}
            if model_id in weights:
                slider["value"] = weights[model_id]
            updates[chip.weight] = gr.update(**slider)
        return updates | {self.chosen: desk.loras}

    # Choices

    def known(self) -> dict[str, Lora]:
        """The LoRAs by id, from the listing: to ask for one alone may mean to download it."""
        return {lora.model_id: lora for lora in self.studio.collection.all()}

    def choices(self) -> list[tuple[str, str]]:
        """Every LoRA that fits, None first."""
        fitting = [lora for lora in self.studio.collection.all() if lora.fit.fits]
        return [("None", NONE), *((choice_words(lora), lora.model_id) for lora in fitting)]

    def shape_of(self, width: int | None, height: int | None) -> str | None:
        """The ratio that has exactly this size; None for a size of one's own."""
        return next((name for name, size in self.shapes.items() if size == (width, height)), None)

    # Handlers of the form itself

    def pick(self, model_id: str | None, desk: Desk) -> Changes:
        """A LoRA was chosen in the list: lay it on a free place. None takes all away."""
        chosen: Changes = {self.add: gr.update(value=None)}
        if model_id:
            return chosen | self.put(desk, model_id)
        desk.loras = [""] * MAX_LORAS
        return chosen | self.lay(desk, {})

    def put(self, desk: Desk, model_id: str) -> Changes:
        """Lay one LoRA down with its default weight, or say that there is no place."""
        lora = self.known().get(model_id)
        if lora is None:
            raise LoraNotFound(model_id)
        if desk.place(model_id):
            return self.lay(desk, {model_id: lora.default_weight})
        if model_id in desk.loras:  # Gradio tells a choice again when the list closes
            return {}
        return self.frame.say(desk, f"{MAX_LORAS} LoRAs at most: take one away first.")

    def take(self, number: int, desk: Desk) -> Changes:
        """The ✕ of one chip."""
        desk.loras[number] = ""
        return self.lay(desk, {})

    def resize(self, ratio: str | None) -> Changes:
        """A shape was chosen: its size goes to width, height and the label."""
        if ratio is None:
            return {self.ratio: gr.skip()}
        width, height = self.shapes[ratio]
        return {
            self.width: width,
            self.height: height,
            self.ratio: gr.update(label=shape_label(width, height)),
        }

    def reshape(self, width: int | None, height: int | None) -> Any:
        """A size was typed: the shape that has it, or none."""
        return gr.update(value=self.shape_of(width, height), label=shape_label(width, height))

    def forecast(self, *values: Any) -> str:
        """The line above Generate. No seed and no prompt is needed for it."""
        _, chosen, num, _, *rest = values
        try:
            form = self.read(("picture", chosen, num, "", *rest))
            return eta(self.studio.estimate(form), int(num), self.studio.seconds_left())
        except FluxuiError as error:
            return eta_error(error)


def choice_words(lora: Lora) -> str:
    """The name; with the id where one can't be guessed from the other."""
    if lora.name.lower().replace(" ", "-") == lora.model_id.lower():
        return lora.name
    return f"{lora.name} · {lora.model_id}"


def chip_head(lora: Lora, preview: bytes | None) -> str:
    words = ", ".join(lora.trigger_words)
    adds = f"adds “{words}”" if words else "no trigger words"
    return (
        f'<div class="fx-lora-head">{lora_picture(lora, preview)}'
        f'<span class="fx-lora-words"><b>{html.esc(lora.name)}</b>'
        f'<span class="fx-sub">{html.esc(adds)}</span></span>'
        f'<button type="button" class="fx-icon" data-act="take" '
        f'aria-label="Remove {html.esc(lora.name)}">✕</button></div>'
    )


def lora_picture(lora: Lora, preview: bytes | None) -> str:
    """Its preview, or the first letter of its name on a mat."""
    if preview:
        return f'<img class="fx-lora-picture" src="{html.data_url(preview, "image/webp")}" alt="">'
    letter = html.esc(lora.name[:1].upper())
    return f'<span class="fx-lora-picture fx-letter" aria-hidden="true">{letter}</span>'


def shape_label(width: int | None, height: int | None) -> str:
    return f"Shape · {width or '?'} × {height or '?'}"


def advanced_label(steps: float, guidance: float) -> str:
    return f"Advanced · {steps:g} steps · guidance {guidance:g}"


def eta(seconds: float | None, images: int, before: float | None = None) -> str:
    """What it will cost, before anybody pressed; `before` is the time of all that is queued."""
    words = "First picture: time unknown"
    if seconds is not None:
        count = html.counted(images, "image")
        words = f"About <b>{html.duration(seconds)}</b> for {count}"
    if before:
        words += f", and {html.duration(before)} in the queue"
    return eta_line(words, '<span class="fx-desktop">Ctrl + Enter</span>')


def eta_error(error: FluxuiError) -> str:
    return eta_line(f'<span class="fx-warn-text">{html.esc(error.message)}</span>', "")


def eta_line(markup: str, end: str) -> str:
    """Words at the left and at the right, both as markup."""
    return f'<p class="fx-eta"><span>{markup}</span><span class="fx-end">{end}</span></p>'
