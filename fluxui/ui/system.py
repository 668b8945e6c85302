"""The System tab and the pills of the head: what runs, why, and how it is doing.

It only shows `Studio.system()`, which holds no secret, so the report can be pasted anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr

from fluxui.errors import FluxuiError
from fluxui.history import Kept, Meter
from fluxui.queue import NOBODY, Hand, Progress
from fluxui.rebuild import Rebuilding
from fluxui.studio import Studio
from fluxui.system import QueueFacts, StorageFacts
from fluxui.system import System as Facts
from fluxui.ui import html
from fluxui.ui.desk import Desk
from fluxui.ui.events import QUIET, Changes
from fluxui.ui.frame import Frame
from fluxui.ui.html import button, esc
from fluxui.ui.stage import pause_button, paused_words, phase_words
from fluxui.watch import Moment

REFRESH_SECONDS = 2
# What the pipeline tells of its device, in the order and the words of the card.
DEVICE = {
    "device": "Device",
    "dtype": "Precision",
    "placement": "Placement",
    "shortcuts": "Changes pictures",
    "attention": "Attention",
    "fell": "Done without",
    "unlocks": "Could have",
    "threads": "Threads",
    "loras_in_memory": "LoRAs at hand",
}
IDLE = Rebuilding()
SHOWN = 16  # workers by name
METERED = 4  # months, LoRAs and visitors that the meter names
FIRST = "with the first picture"
HOW_TO_FLUX = "FLUXUI_BASE_MODEL=flux1-dev python app.py"


class System:
    """Cards that are read again while the tab is open. Built inside it."""

    def __init__(self, studio: Studio, frame: Frame) -> None:
        self.studio, self.frame = studio, frame
        self._remote = studio.settings.redis_url is not None
        self.timer = gr.Timer(REFRESH_SECONDS, active=False)
        with gr.Row(elem_id="system", equal_height=False):
            self.model = self._html("s-model")
            self.device = self._html("s-device")
            self.storage = self._html("s-storage")
            self.queue = self._html("s-queue")
            self.versions = self._html("s-versions")

    def _html(self, elem_id: str) -> gr.HTML:
        return gr.HTML(elem_id=elem_id, js_on_load=html.CLICKS, apply_default_css=False)

    @property
    def outputs(self) -> list[Any]:
        return [self.model, self.device, self.storage, self.queue, self.versions]

    def wire(self) -> None:
        """Connect the components. Call once, when all tabs are built."""
        self.timer.tick(self.refresh, None, self.outputs, **QUIET)
        self.storage.act(self.rebuild, self.frame.desk, [self.storage, self.frame.toast], **QUIET)
        said = [self.queue, self.frame.head, self.frame.toast]
        self.queue.act(self.act, self.frame.desk, said, **QUIET)

    def refresh(self) -> Changes:
        facts = self.studio.system()
        base = self.studio.base_model
        return {
            self.model: model_card(facts, built_in=bool(base.paints)),
            self.device: crew_card(facts.crew) if self._remote else device_card(facts),
            self.storage: self._storage(facts),
            self.queue: self._queue(),
            self.versions: versions_card(facts),
        }

    def _storage(self, facts: Facts) -> str:
        owner = self.studio.owned()
        meter = self.studio.upkeep.meter() if owner else None
        return storage_card(facts, self.studio.upkeep.rebuilding, owner, meter)

    def rebuild(self, desk: Desk) -> Changes:
        """The button of the storage card."""
        try:
            self.studio.rebuild_history()
        except FluxuiError as error:
            return self.frame.say(desk, error.message)
        said = self.frame.say(desk, "Looking in the storage")
        return {self.storage: self._storage(self.studio.system())} | said

    def wake(self, event: gr.SelectData) -> Any:
        """The timer runs only while this tab is the open one."""
        return gr.Timer(active=event.value == "System")

    def act(self, desk: Desk, event: gr.EventData) -> Changes:
        """A button in the queue's card."""
        data, studio, said = event._data, self.studio, Changes()
        acts: dict[str, Callable[[], object]] = {
            "cancel": lambda: studio.cancel(data["id"]),
            "up": lambda: studio.move_up(data["id"]),
            "pause": lambda: studio.pause(True),
            "resume": lambda: studio.pause(False),
        }
        try:
            acts[data["act"]]()
        except FluxuiError as error:
            said = self.frame.say(desk, error.message)
        return {self.queue: self._queue(), self.frame.head: head(studio)} | said

    def _queue(self) -> str:
        studio = self.studio
        return queue_card(studio.queue(), studio.waiting(), studio.paused())


def head(studio: Studio) -> str:
    """The name and the pills over the tab bar, as this visitor sees them."""
    facts = studio.system()
    device = facts.pipeline.get("device")
    if studio.settings.redis_url:
        device = html.counted(len(facts.crew), "worker")
    model = f"{facts.base_model} · {device}" if device else facts.base_model
    queue = queue_pill(facts.queue)
    if studio.paused():
        queue = html.pill(f"Paused · {paused_words(len(studio.waiting()))}", "warn")
    return (
        '<div class="fx-head"><span class="fx-brand">flux<b>ui</b></span><span class="fx-pills">'
        f'<span class="fx-desktop">{html.pill(model, title=facts.reason)}</span>'
        f"{storage_pill(facts.storage)}{rebuild_pill(studio.upkeep.rebuilding)}{queue}"
        f"{account(studio)}</span></div>"
    )


def account(studio: Studio) -> str:
    """On a Space: the way to sign in, or who has, and the way out."""
    if not studio.settings.asks_hub:
        return ""
    visitor = studio.visitor()
    kind, _, name = visitor.id.partition(":")
    if visitor.owner or kind == "hf":
        return (
            '<form class="fx-account" method="post" action="logout"><button class="fx-pill">'
            f"{esc(name or 'Owner')} · Sign out</button></form>"
        )
    return (
        '<a class="fx-pill" href="login/huggingface" target="_blank" data-own-tab>'
        'Sign in<span class="fx-desktop">with Hugging Face</span></a>'
    )


def queue_pill(queue: QueueFacts) -> str:
    """How many there are of everybody's, and how long they take together."""
    count = queue.running + queue.waiting
    if not count:
        return html.pill("Idle")
    time = f" · {html.duration(queue.seconds_left)}" if queue.seconds_left else ""
    return html.pill(f"{count} in queue{time}", title="Everybody's, and how long it takes")


def storage_pill(storage: StorageFacts) -> str:
    if storage.waiting:
        return html.pill(f"Bucket away: {storage.waiting} waiting", "warn")
    words = "Saved to bucket" if storage.kind == "bucket" else "Saved on this machine"
    return html.pill(words, "ok")


def rebuild_pill(rebuilding: Rebuilding) -> str:
    if not rebuilding.running or not (rebuilding.lacking or rebuilding.waits):
        return ""
    title = rebuilding.waits or rebuild_progress(rebuilding)
    return html.pill(f"Rebuilding history: {_share(rebuilding):.0%}", "warn", title=title)


def model_card(facts: Facts, built_in: bool) -> str:
    pipeline = facts.pipeline
    seconds = pipeline.get("seconds_to_load")
    loaded = f"in {html.duration(seconds)}" if seconds else "yes"
    rows = [
        ("Runs", f"<b>{esc(facts.base_model)}</b>"),
        ("Why", esc(facts.reason)),
        ("Licence", esc(facts.licence)),
        ("Loaded", esc(loaded) if pipeline else "by the workers" if facts.crew else FIRST),
    ]
    more = ""
    if built_in:
        more = (
            '<p class="fx-sub">To run FLUX.1-dev, start fluxui on a machine with a GPU:</p>'
            f"<p><code>{HOW_TO_FLUX}</code></p>"
            '<p class="fx-sub"><code>python -m fluxui doctor</code> says what is missing.</p>'
        )
    return _card("Base model", html.facts(rows) + more, "ok" if pipeline or facts.crew else "idle")


def device_card(facts: Facts) -> str:
    told = facts.pipeline
    if not told:
        return _card("Device", '<p class="fx-sub">Known when the base model is loaded.</p>', "idle")
    rows = [(words, esc(told[name])) for name, words in DEVICE.items() if told.get(name)]
    if "memory_used" in told:
        rows.insert(1, ("Memory", _memory(told["memory_used"], told.get("memory_total"))))
    return _card("Device", html.facts(rows), "ok")


def crew_card(crew: Sequence[Hand]) -> str:
    """In place of the device, where others paint."""
    if not crew:
        return _card("Workers", f'<p class="fx-sub">{esc(NOBODY)}</p>', "warn")
    rows = [
        (one.name, esc(f"{one.device}, {'paints' if one.jobs else 'free'}")) for one in crew[:SHOWN]
    ]
    more = html.facts([("and", f"{len(crew) - SHOWN} more")]) if crew[SHOWN:] else ""
    return _card("Workers", html.facts(rows) + more, "ok", extra=html.tag(str(len(crew))))


def _memory(used: int, total: int | None) -> str:
    if total is None:
        return f"{html.file_size(used)} used"
    words = f"{html.file_size(used)} of {html.file_size(total)}"
    return esc(words) + html.meter(used / total)


def storage_card(
    facts: Facts,
    rebuilding: Rebuilding = IDLE,
    owner: bool = False,
    meter: Meter | None = None,
) -> str:
    storage = facts.storage
    used = storage.disk_total - storage.disk_free
    where = "bucket" if storage.kind == "bucket" else "folder"
    state = "Everything is saved."
    if storage.waiting:
        size = html.file_size(storage.waiting_bytes)
        state = f"Away. {html.counted(storage.waiting, 'file')} ({size}) wait on this machine."
    disk = f"{html.file_size(storage.disk_free)} free of {html.file_size(storage.disk_total)}"
    rows = [
        ("Kept in", f"{where} <b>{esc(_short(storage.name))}</b>"),
        ("State", esc(state)),
        ("Pictures", f"{facts.pictures:,}"),
        ("LoRAs", f"{facts.loras:,}"),
        ("Disk", esc(disk) + html.meter(used / storage.disk_total)),
    ]
    if meter:
        rows += meter_rows(meter)
    if words := rebuilding_words(rebuilding):
        rows.append(("History", words))
    again = button("rebuild", f"Rebuild history from {where}") if owner else ""
    body = html.facts(rows) + (f'<div class="fx-row">{again}</div>' if again else "")
    return _card("Storage", body, "warn" if storage.waiting else "ok")


def meter_rows(meter: Meter) -> list[tuple[str, str]]:
    """The bytes of the pictures: of all, then of the newest months, and of whom most is kept."""
    rows = [("Bytes", html.file_size(meter.total.bytes))]
    months = sorted(meter.months.items(), reverse=True)[:METERED]
    by = (
        ("By month", months),
        ("By LoRA", _most(meter.loras)),
        ("By visitor", _most(_named(meter))),
    )
    return rows + [(name, _kept(found)) for name, found in by if found]


def _named(meter: Meter) -> dict[str, Kept]:
    """The visitors, where there are others than the owner."""
    others = [name for name in meter.visitors if name]
    return {html.visitor(name): kept for name, kept in meter.visitors.items()} if others else {}


def _most(found: Mapping[str, Kept]) -> list[tuple[str, Kept]]:
    return sorted(found.items(), key=lambda item: -item[1].bytes)[:METERED]


def _kept(found: Sequence[tuple[str, Kept]]) -> str:
    """A line each, with a bar against the largest."""
    most = max(kept.bytes for _, kept in found) or 1
    return "".join(
        f'<span class="fx-metered"><span class="fx-row fx-spread"><span>{esc(name)}</span>'
        f'<span class="fx-sub">{html.counted(kept.images, "picture")} · '
        f"{html.file_size(kept.bytes)}</span></span>{html.meter(kept.bytes / most)}</span>"
        for name, kept in found
    )


def rebuilding_words(rebuilding: Rebuilding) -> str:
    """How far the rebuild is or how it ended, as markup; "" where there was none."""
    if rebuilding.waits:
        return esc(f"Not rebuilt yet, it is tried again. {rebuilding.waits}")
    if rebuilding.running:
        return esc(rebuild_progress(rebuilding)) + html.meter(_share(rebuilding))
    if not rebuilding.lacking:
        return "Nothing is lacking." if rebuilding.ended else ""
    sentences = [f"Rebuilt: {html.counted(rebuilding.added, 'record')} came back."]
    return "<br>".join(map(esc, [*sentences, *rebuilding.sentences()]))


def rebuild_progress(rebuilding: Rebuilding) -> str:
    if not rebuilding.lacking:
        return "Looking for records."
    return f"Rebuilding: {rebuilding.read:,} of {rebuilding.lacking:,} records read."


def _share(rebuilding: Rebuilding) -> float:
    return rebuilding.read / rebuilding.lacking if rebuilding.lacking else 0.0


def _short(folder: str) -> str:
    """With ~ for the home folder: visitors need not know whose it is."""
    home = f"{Path.home()}/"
    return f"~/{folder.removeprefix(home)}" if folder.startswith(home) else folder


def queue_card(jobs: Sequence[Moment], waiting: Sequence[str], paused: bool) -> str:
    """All that this visitor sees; `waiting` are the ids of what they wait for themselves."""
    extra = html.tag(str(len(jobs))) if jobs else ""
    if paused:
        extra += html.pill(f"Paused · {paused_words(len(waiting))}", "warn")
    extra += f'<span class="fx-end">{pause_button(paused)}</span>'
    if not jobs:
        return _card("Queue", '<p class="fx-sub">Nothing is being painted.</p>', extra=extra)
    firsts = _firsts(jobs)
    rows = "".join(_row(number, job, firsts) for number, job in enumerate(jobs, start=1))
    table = (
        '<table class="fx-table"><thead><tr><th>#</th><th>Prompt</th><th class="fx-wide">LoRA</th>'
        f'<th>State</th><th><span class="fx-spoken">Actions</span></th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )
    return _card("Queue", table, extra=extra)


def _firsts(jobs: Sequence[Moment]) -> set[str]:
    """What is the next of its visitor already."""
    found: dict[str, str] = {}
    for job in jobs:
        if job.waits:
            found.setdefault(job.generation.visitor, job.generation.id)
    return set(found.values())


def _row(number: int, job: Moment, firsts: set[str]) -> str:
    generation = job.generation
    up = ""
    if job.waits and generation.id not in firsts:
        up = button("up", "Up", id=generation.id)
    return (
        f'<tr><td>{number}</td><td class="fx-clip">{esc(generation.request.prompt)}</td>'
        f'<td class="fx-wide">{esc(html.weights(generation))}</td>'
        f'<td class="fx-line">{_state(job)}</td>'
        f'<td><span class="fx-row fx-tight">{up}'
        f"{button('cancel', 'Cancel', id=generation.id)}</span></td></tr>"
    )


def _state(job: Moment) -> str:
    """`step 3 of 12, 4.1 s left`; `queued, done in 21 s`; on a phone without the time."""
    name, title, rest = phase_words(job.progress or Progress())
    words = esc(rest if name == "running" else title.lower())
    if not job.seconds_left:
        return words
    time = html.duration(job.seconds_left)
    time = f"done in {time}" if job.waits else f"{time} left"
    return f'{words}<span class="fx-wide">, {time}</span>'


def versions_card(facts: Facts) -> str:
    rows = [(name, esc(version)) for name, version in facts.versions.items()]
    rows.append(("Up", html.duration(facts.uptime)))
    copy = html.copy_button("Copy report", report(facts), "Report copied")
    return _card("Versions", html.facts(rows) + f'<div class="fx-row">{copy}</div>')


def report(facts: Facts) -> str:
    """Everything on this tab as lines of text."""
    lines: list[str] = []
    for name, value in asdict(facts).items():
        if isinstance(value, dict):
            lines += [f"{name}.{key}: {one}" for key, one in value.items()]
        else:
            lines.append(f"{name}: {value}")
    return "\n".join(lines).replace(f"{Path.home()}/", "~/")


def _card(title: str, body: str, tone: str = "", extra: str = "") -> str:
    mark = html.dot(tone) if tone else ""
    title_row = f'<h3 class="fx-h fx-row">{mark}{esc(title)} {extra}</h3>'
    return f'<div class="fx-card-panel">{title_row}{body}</div>'
