"""What the buttons of a picture do, on whichever tab it is shown.

Each act takes the desk and the button's data, and gives back what changes on the page. The data
comes from the browser: ids are looked up, never trusted.
"""

from __future__ import annotations

from collections.abc import Callable

from fluxui.errors import FluxuiError, GenerationNotFound, LoraMisfit, StorageFull, TryLater
from fluxui.gallery import Card
from fluxui.generation import Generation, Status
from fluxui.pictures import Difference
from fluxui.recall import Recalled, changes_between
from fluxui.request import GenerationForm, GenerationRequest
from fluxui.studio import Studio
from fluxui.ui import html, stage
from fluxui.ui.desk import Desk
from fluxui.ui.events import Changes
from fluxui.ui.examples import examples
from fluxui.ui.form import Form
from fluxui.ui.frame import Frame
from fluxui.ui.kept import Entries
from fluxui.variation import vary

# What can be varied in one click, and what the button says.
WAYS = {
    "seed": "Vary",
    "weaker": "Less LoRA",
    "stronger": "More LoRA",
    "steps": "{steps} steps",
    "larger": "{size}",
}

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
            "verify": self.verify,
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
            "lay": self.lay,
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
        recalled = self.studio.recall_kept(data["id"], int(data["index"]))
        filled = self.form.fill(desk, recalled.request) | self.frame.go_to("generate")
        if not recalled.sentences:
            return filled | self.frame.say(desk, "Settings restored")
        desk.twin, desk.notice = "", restored("Settings restored.", recalled)
        return filled | self.show(desk)

    def vary(self, desk: Desk, data: dict[str, str]) -> Changes:
        """One step away from a picture, painted at once."""
        how, request = (
            data.get("how", "seed"),
            self.studio.request_of(data["id"], int(data["index"])),
        )
        varied = vary(request, how, self.studio.base_model.limits) or request
        form = GenerationForm.parse(varied.model_dump())
        desk.show(self.studio.submit(form).id)
        filled = self.form.fill(desk, varied)
        if how == "seed":
            filled[self.form.seed] = ""
        return filled | self.show(desk) | self.frame.go_to("generate")

    def ways(self, card: Card) -> str:
        """A button for each way in which this base model can vary the picture, as markup."""
        request, limits = card.generation.request, self.studio.base_model.limits
        job_id, index, found = card.generation.id, card.image.index, ""
        for how, words in WAYS.items():
            if varied := vary(request, how, limits):
                told = words.format(steps=varied.num_inference_steps, size=_size(varied))
                found += html.button("vary", told, id=job_id, index=index, how=how)
        return found + html.button("verify", "Verify", id=job_id, index=index)

    def verify(self, desk: Desk, data: dict[str, str]) -> Changes:
        """Paint a picture again as it was, to see whether it comes out the same."""
        card = self.studio.pictures.card(data["id"], int(data["index"]))
        again = self.studio.repeat(card.generation.id, card.image.index)
        desk.show(card.generation.id, card.image.index)
        desk.twin, desk.verifying = again.id, True
        return self.show(desk) | self.frame.go_to("generate")

    def compared(self, desk: Desk) -> str:
        """The picture and its twin over each other: without LoRA, or painted again."""
        pictures = self.studio.pictures
        shown, twin = pictures.card(desk.shown, desk.index), pictures.card(desk.twin, 1)
        if not desk.verifying:
            return stage.compare(shown, twin, desk.notice)
        differs = pictures.difference((desk.shown, desk.index), (desk.twin, 1))
        drop = html.button("delete", "Delete the second one", id=desk.twin)
        words = verdict(differs, drop, reason(shown.generation, twin.generation))
        return stage.compare(shown, twin, words, "Painted again", "As it was kept")

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
        """Fill the form with all that an example's picture was painted with; it does not start."""
        one, limits = examples()[int(data["index"])], self.studio.base_model.limits
        lora = self.form.known().get(one.lora)
        entries = Entries(
            prompt=one.prompt,
            loras={lora.model_id: lora.default_weight} if lora else {},
            num=1,
            seed=str(one.seed),
            steps=limits.steps,
            guidance=limits.guidance,
            width=one.width,
            height=one.height,
        )
        return self.form.enter(desk, entries)

    def lay(self, desk: Desk, data: dict[str, str]) -> Changes:
        """Put a LoRA on the form, in place of one that was not found."""
        return self.form.put(desk, data["id"]) | self.show(desk)

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


def restored(title: str, recalled: Recalled) -> str:
    """What could not be restored, and the LoRAs to take instead of lacking ones, as a notice."""
    use = "".join(html.button("lay", f"Use {one}", id=one) for one in recalled.nearest)
    words = " ".join(recalled.sentences) or "Generate paints the same picture."
    return html.notice(title, words, use, "warn" if recalled.sentences else "info")


def reason(then: Generation, now: Generation) -> str:
    """Why the same picture may differ in its last bits, as far as that is known."""
    if changed := changes_between(then, now):
        return f"What is different: {changed}."
    if then.machine:
        return "Device, precision and versions are the same: this device is not always exact."
    return "Another device, another precision or other versions paint a little differently."


def verdict(differs: Difference, drop: str, reason: str = "") -> str:
    """What came out of painting a picture again, as a notice."""
    if differs.lossy:
        return _verdict_of_jpeg(differs, drop, reason)
    if not differs.pixels:
        return html.notice("Bit-identical.", "Painted again, every pixel is the same.", drop)
    words = (
        f"{differs.pixels:,} of {differs.of:,} pixels differ, by {differs.largest} of 255 at most. "
        f"{reason}"
    )
    return html.notice("Not bit-identical.", words, drop, "warn")


def _verdict_of_jpeg(differs: Difference, drop: str, reason: str) -> str:
    """It rounds every picture a little, and so hides what is smaller than that."""
    if not differs.pixels:
        words = "Compared as JPEG, which is not lossless, every pixel is the same."
        return html.notice("The same as far as a JPEG shows.", words, drop)
    words = (
        f"Compared as JPEG, which is not lossless, {differs.pixels:,} of {differs.of:,} pixels "
        f"differ, by {differs.largest} of 255 at most. {reason}"
    )
    return html.notice("Not the same.", words, drop, "warn")


def _size(request: GenerationRequest) -> str:
    return f"{request.width} × {request.height}"


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
