"""What the buttons of a picture do, on whichever tab it is shown.

Each act takes the desk and the button's data, and gives back what changes on the page. The data
comes from the browser: ids are looked up, never trusted.
"""

from __future__ import annotations

from collections.abc import Callable

from fluxui.errors import FluxuiError, GenerationNotFound, LoraMisfit, StorageFull, TryLater
from fluxui.gallery import Card
from fluxui.generation import Status
from fluxui.request import GenerationForm, GenerationRequest, random_seed
from fluxui.studio import Studio
from fluxui.ui import html
from fluxui.ui.desk import Desk
from fluxui.ui.events import Changes
from fluxui.ui.examples import examples
from fluxui.ui.form import Form
from fluxui.ui.frame import Frame

Show = Callable[[Desk], Changes]


class Acts:
    """The acts of the Generate tab; `show` renders its stage anew."""

    def __init__(self, studio: Studio, frame: Frame, form: Form, show: Show) -> None:
        self.studio, self.frame, self.form, self.show = studio, frame, form, show

    def perform(self, desk: Desk, data: dict[str, str]) -> Changes:
        """Do what a button with `data-act` says. What it names comes from the browser."""
        acts: dict[str, Callable[[Desk, dict[str, str]], Changes]] = {
            "use": self.use,
            "vary": self.vary,
            "compare": self.compare,
            "delete": self.delete,
            "undo": self.undo,
            "again": self.again,
            "up": self.up,
            "pause": lambda desk, data: self.hold_back(desk, True),
            "resume": lambda desk, data: self.hold_back(desk, False),
            "example": self.example,
            "open": self.open,
            "frame": self.choose,
            "back": self.back,
            "unload": self.unload,
            "gallery": lambda desk, data: self.frame.go_to("gallery"),
            "system": lambda desk, data: self.frame.go_to("system"),
        }
        desk.notice = ""
        return self.guard(desk, lambda: acts[data["act"]](desk, data))

    def guard(self, desk: Desk, work: Callable[[], Changes]) -> Changes:
        """What `work` gives; what it refuses becomes a notice on the stage."""
        try:
            return work()
        except FluxuiError as error:
            if isinstance(error, GenerationNotFound):
                desk.show("")
            desk.notice = html.error_notice(error, _way_out(error))
            return self.show(desk)

    def use(self, desk: Desk, data: dict[str, str]) -> Changes:
        """Fill the form so that Generate would paint this picture again."""
        request = self._request_of(data)
        filled = self.form.fill(desk, request) | self.frame.go_to("generate")
        gone = [ref.model_id for ref in request.loras if ref.model_id not in desk.loras]
        words = f"Settings restored, but without {', '.join(gone)}: not found"
        return filled | self.frame.say(desk, words if gone else "Settings restored")

    def vary(self, desk: Desk, data: dict[str, str]) -> Changes:
        """The same settings with a new seed, at once."""
        request = self._request_of(data).model_copy(update={"seed": random_seed()})
        form = GenerationForm.parse(request.model_dump())
        desk.show(self.studio.submit(form).id)
        filled = self.form.fill(desk, request) | {self.form.seed: ""}
        return filled | self.show(desk) | self.frame.go_to("generate")

    def _request_of(self, data: dict[str, str]) -> GenerationRequest:
        """The request that paints one picture of a generation alone."""
        card = self.studio.pictures.card(data["id"], int(data["index"]))
        return card.generation.request.model_copy(update={"seed": card.image.seed, "num_images": 1})

    def compare(self, desk: Desk, data: dict[str, str]) -> Changes:
        """Paint the same picture without LoRA, or find it where it was painted before."""
        card = self.studio.pictures.card(data["id"], int(data["index"]))
        key = f"compare/{card.generation.id}/{card.image.index}"
        twin = self.studio.submit(_twin(card), key)
        if twin.status in (Status.failed, Status.cancelled):
            twin = self.studio.retry(twin.id)
        desk.show(card.generation.id, card.image.index)
        desk.twin = twin.id
        return self.show(desk) | self.frame.go_to("generate")

    def back(self, desk: Desk, data: dict[str, str]) -> Changes:
        desk.twin = ""
        return self.show(desk)

    def delete(self, desk: Desk, data: dict[str, str]) -> Changes:
        count = len(self.studio.get(data["id"]).images)
        self.studio.delete(data["id"])
        desk.show("")
        undo = html.button("undo", "Undo", id=data["id"])
        desk.notice = html.notice(f"{html.counted(count, 'picture')} moved to the trash.", "", undo)
        return self.show(desk)

    def undo(self, desk: Desk, data: dict[str, str]) -> Changes:
        desk.show(self.studio.pictures.restore(data["id"]).id)
        return self.show(desk)

    def again(self, desk: Desk, data: dict[str, str]) -> Changes:
        desk.show(self.studio.retry(data["id"]).id)
        return self.show(desk)

    def up(self, desk: Desk, data: dict[str, str]) -> Changes:
        self.studio.move_up(data["id"])
        return self.show(desk)

    def hold_back(self, desk: Desk, paused: bool) -> Changes:
        self.studio.pause(paused)
        return self.show(desk)

    def open(self, desk: Desk, data: dict[str, str]) -> Changes:
        card = self.studio.pictures.card(data["id"], int(data["index"]))
        desk.show(card.generation.id, card.image.index)
        return self.show(desk)

    def choose(self, desk: Desk, data: dict[str, str]) -> Changes:
        desk.index = int(data["index"])
        return self.show(desk)

    def example(self, desk: Desk, data: dict[str, str]) -> Changes:
        """Fill the form with an example; it does not start."""
        one = examples()[int(data["index"])]
        desk.loras = [""] * len(desk.loras)
        changes: Changes = {self.form.prompt: one.prompt, self.form.seed: str(one.seed)}
        if one.lora in self.form.known():
            return changes | self.form.put(desk, one.lora)
        return changes | self.form.lay(desk, {})

    def unload(self, desk: Desk, data: dict[str, str]) -> Changes:
        """Take every LoRA off the form that this base model can't use."""
        fitting = [one for one, lora in self.form.known().items() if lora.fit.fits]
        desk.loras = [one if one in fitting else "" for one in desk.loras]
        return self.form.lay(desk, {}) | self.show(desk)

    def compare_words(self, card: Card) -> str:
        """What the button says: with the price, and "" where there is nothing to compare."""
        if not any(lora.weight for lora in card.generation.request.loras):
            return ""
        seconds = self.studio.estimate(_twin(card))
        price = f" · {html.duration(seconds)}" if seconds is not None else ""
        return f"Compare without LoRA{price}"


def _way_out(error: FluxuiError) -> str:
    """The one button that helps with this error."""
    if isinstance(error, LoraMisfit):
        return html.button("unload", "Remove it")
    if isinstance(error, StorageFull):
        return html.button("system", "Open System")
    if isinstance(error, TryLater):
        return html.press_button("Try again", "#go")
    return ""


def _twin(card: Card) -> GenerationForm:
    """The same words and the same seed without LoRA."""
    request = card.generation.request
    return GenerationForm(
        prompt=card.generation.painted,
        num_inference_steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale,
        width=request.width,
        height=request.height,
        seed=card.image.seed,
    )
