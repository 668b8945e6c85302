"""The large box of the Generate tab, and the strip above it, as markup for each state.

The picture node keeps its place from the first preview to the final image, so that nothing
flickers. It knows no Gradio: plain values in, HTML out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fluxui.gallery import Card
from fluxui.generation import Generation, Image, Status
from fluxui.queue import Phase, Progress
from fluxui.ui import html
from fluxui.ui.html import button, esc

KEEPS_GOING = (
    "You can close this page. The picture is kept and this page shows it when you come back."
)


@dataclass(frozen=True)
class Example:
    """A prompt to try; `image` is a URL, `lora` a model_id or ""."""

    prompt: str
    image: str
    seed: int
    lora: str
    width: int
    height: int


# The strip above the box


def status(
    generation: Generation | None,
    progress: Progress | None = None,
    left: float | None = None,
    waiting: Sequence[str] = (),
) -> str:
    """State, step and time left; empty when nothing was asked for yet. `waiting` are the ids of
    the visitor's own that wait, in order."""
    if generation is None:
        return ""
    if generation.status is Status.completed:
        return _strip("completed", html.dot() + "<b>Done</b>", esc(done_words(generation)), "", "")
    if generation.status.ended:
        return _strip(generation.status.value, "", "", "", "", spoken=generation.status.value)
    progress = progress or Progress()
    name, title, rest = phase_words(progress, len(waiting))
    time = _time_left(progress, left)
    spoken = f"{title} {round(progress.fraction * 5) * 20} %"
    bar = (
        '<div class="fx-bar" role="progressbar" aria-label="Progress" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{progress.fraction * 100:.0f}">'
        f'<i style="width:{progress.fraction * 100:.1f}%"></i></div>'
    )
    end = esc(time)
    if progress.phase is Phase.waiting:
        end += _queue_buttons(generation.id, progress.paused, waiting)
    return _strip(name, f"<b>{esc(title)}</b>", esc(rest), end, bar, spoken)


def _queue_buttons(job_id: str, paused: bool, waiting: Sequence[str]) -> str:
    """What can be done with one's own that wait."""
    later = job_id in waiting[1:]
    up = button("up", "Paint this first", kind="small", id=job_id) if later else ""
    return f'<span class="fx-row">{up}{pause_button(paused) if waiting else ""}</span>'


def pause_button(paused: bool) -> str:
    """Holds back what one waits for oneself, or lets it go on."""
    if paused:
        return button("resume", "Go on", kind="small")
    return button("pause", "Pause", kind="small")


def paused_words(waiting: int) -> str:
    return f"{waiting} {'waits' if waiting == 1 else 'wait'}"


def done_words(generation: Generation) -> str:
    took = f" in {html.duration(generation.seconds)}" if generation.seconds is not None else ""
    return f"{html.counted(len(generation.images), 'image')}{took} · seed {generation.request.seed}"


def phase_words(progress: Progress, waiting: int = 0) -> tuple[str, str, str]:
    """(data-status, title, rest) of a generation that has not ended; `waiting` of its visitor."""
    if progress.phase is Phase.fetching:
        return "loading", "Fetching the LoRA", progress.obstacle
    if progress.obstacle:
        return (
            "queued" if progress.phase is Phase.waiting else "running",
            "Held up",
            progress.obstacle,
        )
    if progress.paused:
        return "queued", "Paused", paused_words(waiting) if waiting else "held back"
    if progress.phase is Phase.waiting:
        ahead = f"{progress.ahead} ahead of you" if progress.ahead else "next in line"
        return "queued", "Queued", ahead
    if progress.phase is Phase.loading:
        return "loading", "Loading the model", "Requests made now keep their place."
    if progress.phase is Phase.saving:
        return "running", "Saving", html.counted(progress.images, "image")
    title = f"Painting image {progress.image} of {progress.images}"
    if progress.images == 1:
        title = "Painting"
    return "running", title, f"step {progress.step} of {progress.steps}"


def _time_left(progress: Progress, left: float | None) -> str:
    if left is None or progress.phase is Phase.saving:
        return ""
    done = "done in" if progress.phase is Phase.waiting else ""
    return f"{done} about {html.duration(left)}{'' if done else ' left'}".strip()


def _strip(name: str, title: str, rest: str, time: str, bar: str, spoken: str = "") -> str:
    live = f'<span class="fx-spoken" role="status">{esc(spoken or name)}</span>'
    return (
        f'<div class="fx-status" data-status="{esc(name)}">{live}'
        f'<p class="fx-status-row"><span class="fx-status-title">{title}</span>'
        f'<span class="fx-sub">{rest}</span><span class="fx-sub fx-end">{time}</span></p>'
        f"{bar}</div>"
    )


# The box


def board(picture: str, side: str, notice: str = "") -> str:
    return (
        f'<div class="fx-above">{notice}</div><div class="fx-stage">'
        f'<div class="fx-picture">{picture}</div><div class="fx-side">{side}</div></div>'
    )


def frame(url: str, alt: str, width: int, height: int, label: str = "") -> str:
    """The picture in its box; `label` lies on it."""
    words = f'<span class="fx-label">{esc(label)}</span>' if label else ""
    return (
        f'<div class="fx-frame" style="--w:{width};--h:{height}">'
        f'<img src="{esc(url)}" alt="{esc(alt)}" decoding="async">{words}</div>'
    )


def running(generation: Generation, progress: Progress | None, notice: str = "") -> str:
    progress = progress or Progress()
    request = generation.request
    preview = html.data_url(progress.preview) if progress.preview else html.BLANK
    label = f"Preview · step {progress.step}" if progress.preview else phase_words(progress)[1]
    rows = [
        ("Seed", esc(request.seed)),
        ("Size", f"{request.width} × {request.height}"),
        ("Steps", f"{request.num_inference_steps} · guidance {request.guidance_scale:g}"),
        ("LoRA", esc(html.weights(generation))),
    ]
    if request.num_images > 1:
        rows.append(("Images", f"{request.num_images}, one at a time"))
    side = f'{html.facts(rows)}<p class="fx-sub">{KEEPS_GOING}</p>'
    picture = frame(preview, "Preview", request.width, request.height, label)
    return board(picture, side, notice)


def result(
    cards: Sequence[Card], shown: Card, compare: str, notice: str = "", ways: str = ""
) -> str:
    """The finished picture; `compare` is the words of that button, "" where there is none, and
    `ways` the buttons that vary it, as markup."""
    generation, image = shown.generation, shown.image
    film = _film(cards, image) if len(cards) > 1 else ""
    side = film + _proofs(generation) + html.facts(picture_facts(generation, image))
    side += f'<div class="fx-actions">{actions(shown, compare, ways)}</div>'
    picture = frame(shown.url, generation.request.prompt, image.width, image.height)
    return board(picture, side, notice)


def picture_facts(generation: Generation, image: Image) -> list[tuple[str, str]]:
    request = generation.request
    rows = [
        ("Seed", esc(image.seed)),
        ("Size", f"{image.width} × {image.height}"),
        ("Steps", f"{request.num_inference_steps} · guidance {request.guidance_scale:g}"),
    ]
    if generation.seconds is not None:
        rows.append(("Took", html.duration(generation.seconds / len(generation.images))))
    return rows + html.shortcuts(generation)


def actions(card: Card, compare: str, ways: str = "") -> str:
    """What can be done with a picture, wherever it is shown."""
    job, index = card.generation.id, card.image.index
    many = len(card.generation.images)
    buttons = [
        button("use", "Use settings", id=job, index=index),
        ways or button("vary", "Vary", id=job, index=index),
        button("compare", compare, kind="wide", id=job, index=index) if compare else "",
        html.download_button("Download", f"api/images/{job}/{index}?download=1"),
        html.copy_button("Copy link", f"?job={job}&image={index}", "Link copied"),
        button("delete", f"Delete all {many}" if many > 1 else "Delete", kind="danger", id=job),
    ]
    return "".join(buttons)


def _film(cards: Sequence[Card], image: Image) -> str:
    shots = "".join(
        f'<button type="button" class="fx-shot" data-act="frame" data-index="{card.image.index}" '
        f'aria-label="Image {card.image.index} of {len(cards)}"'
        f"{' aria-current=true' if card.image.index == image.index else ''}>"
        f'<img src="{esc(card.thumb_url)}" alt=""></button>'
        for card in cards
    )
    return f'<div class="fx-film">{shots}</div>'


def _proofs(generation: Generation) -> str:
    pills = html.proofs(generation)
    return f'<div class="fx-row">{pills}</div>' if pills else ""


def compare(
    shown: Card, twin: Card, notice: str = "", left: str = "Without LoRA", right: str = ""
) -> str:
    """Both pictures over each other; a slider moves the edge between them. `left` says what the
    twin is, and `right` the one that is shown, by its LoRAs if not otherwise."""
    generation, image = shown.generation, shown.image
    names = right or html.weights(generation)
    picture = (
        f'<div class="fx-frame fx-compare" style="--w:{image.width};--h:{image.height}">'
        f'<img src="{esc(shown.url)}" alt="{esc(names)}">'
        f'<img class="fx-over" src="{esc(twin.url)}" alt="{esc(left)}">'
        '<span class="fx-edge" aria-hidden="true"></span>'
        '<input type="range" min="0" max="100" value="50" aria-label="Edge between the '
        'two pictures">'
        f'<span class="fx-label">{esc(left)}</span>'
        f'<span class="fx-label fx-label-end">{esc(names)}</span></div>'
    )
    rows = [("Seed", esc(image.seed)), ("Size", f"{image.width} × {image.height}")]
    side = (
        "<p><b>Same seed, same words</b></p>"
        f'<p class="fx-sub">Left: {esc(left)}. Right: {esc(names)}. Drag, or use the arrow keys.'
        f"</p>"
        f"{_proofs(generation)}{html.facts(rows)}"
        f'<div class="fx-actions">{button("back", "Back to the picture", kind="wide")}</div>'
    )
    return board(picture, side, notice)


def first_run(paints: str, examples: Sequence[Example], notice: str = "") -> str:
    """The built-in model introduces itself, with prompts to try where there are some."""
    hello = html.notice(
        "This is the small built-in model.",
        f"{paints} No GPU, no account, no network.",
        button("system", "Use a FLUX model"),
    )
    cards = "".join(
        f'<button type="button" class="fx-card" data-act="example" data-index="{index}">'
        f'<span class="fx-card-picture"><img src="{esc(one.image)}" alt=""></span>'
        f'<span class="fx-card-words">{esc(one.prompt)}'
        f"{' ' + html.tag(one.lora) if one.lora else ''}</span></button>"
        for index, one in enumerate(examples)
    )
    return f'<div class="fx-above">{notice}{hello}</div><div class="fx-examples">{cards}</div>'


def lately(cards: Sequence[Card], total: int, notice: str = "") -> str:
    """The newest pictures, and the way to all of them."""
    if not cards:
        words = "Everything you generate is kept here, with what is needed to repeat it."
        return f'<div class="fx-above">{notice}</div>{html.empty("No pictures yet.", words)}'
    everything = button("gallery", f"All {html.counted(total, 'picture')}")
    return (
        f'<div class="fx-above">{notice}</div>'
        f'<div class="fx-row fx-spread"><h2 class="fx-h">Lately</h2>{everything}</div>'
        f'<div class="fx-lately">{"".join(map(thumb, cards))}</div>'
    )


def thumb(card: Card, ticked: bool | None = None) -> str:
    """One square of a grid; a click opens it, or where it can be `ticked`, selects it."""
    prompt, job = esc(card.generation.request.prompt), esc(card.generation.id)
    act = "open" if ticked is None else "tick"
    pressed = "" if ticked is None else f' aria-pressed="{str(ticked).lower()}"'
    star = '<span class="fx-star" role="img" aria-label="Favourite">★</span>'
    return (
        f'<button type="button" class="fx-thumb" data-act="{act}" data-id="{job}"'
        f' data-index="{card.image.index}" title="{prompt}"{pressed}>'
        f'<img src="{esc(card.thumb_url)}" alt="{prompt}" loading="lazy">'
        f"{star if card.image.favourite else ''}</button>"
    )


def ended_badly(generation: Generation) -> str:
    """The notice of a generation that was cancelled or failed, with the way to try again."""
    again = button("again", "Paint it again", id=generation.id)
    if generation.status is Status.cancelled:
        if generation.stopped_at is None:
            return html.notice("Taken out of the queue.", "No picture was made.", again)
        steps = generation.request.num_inference_steps
        words = f"Stopped at step {generation.stopped_at} of {steps}."
        return html.notice(words, "No picture was made.", again)
    again = button("again", "Try again", id=generation.id)
    if generation.error is None:
        return html.notice("It did not work.", "", again, "bad")
    return html.notice(generation.error.message, generation.error.hint, again, "bad")
