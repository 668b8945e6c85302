"""Small pieces of markup: every word that comes from outside goes through `esc` here.

Knows no Gradio and no Studio. Each function takes plain values and gives a string of HTML; a
parameter called `markup` (or `body`, `rows`) is HTML already, everything else is text.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable
from datetime import datetime

from fluxui.errors import FluxuiError
from fluxui.generation import Generation, LoraUse

# One listener for all clicks of a gr.HTML: the nearest [data-act] is sent to Python.
CLICKS = (
    "element.addEventListener('click', e => {"
    "const t = e.target.closest('[data-act]'); if (t) trigger('act', {...t.dataset});})"
)


def clicks(line: str) -> str:
    """The same, but for parts whose clicks must not be lost, and must come in their order: they
    wait in one line (page.js), and `events.answered` lets the next one go."""
    return (
        "element.addEventListener('click', e => {"
        "const t = e.target.closest('[data-act]'); if (!t) return;"
        f"const told = {{...t.dataset}}; fxSend('{line}', told, () => trigger('act', told));}})"
    )


UNITS = ("kB", "MB", "GB", "TB")
# What an <img> shows before there is a picture: one transparent pixel.
BLANK = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


def esc(value: object) -> str:
    """Text, safe in an element and in a quoted attribute."""
    return html.escape(str(value), quote=True)


def button(act: str, words: str, kind: str = "", **data: object) -> str:
    """A button whose click arrives in Python as `act` with `data`; `kind` is primary or danger."""
    look = f" fx-btn-{kind}" if kind else ""
    extra = "".join(f' data-{name}="{esc(value)}"' for name, value in data.items())
    return (
        f'<button type="button" class="fx-btn{look}" data-act="{esc(act)}"{extra}>'
        f"{esc(words)}</button>"
    )


def copy_button(words: str, text: str, done: str) -> str:
    """Copies `text` in the browser; one that begins with "?" is made a full link of this page."""
    return (
        f'<button type="button" class="fx-btn" data-copy="{esc(text)}" data-done="{esc(done)}">'
        f"{esc(words)}</button>"
    )


def press_button(words: str, selector: str) -> str:
    """Presses another button of the page, in the browser."""
    return (
        f'<button type="button" class="fx-btn" data-press="{esc(selector)}">{esc(words)}</button>'
    )


def download_button(words: str, url: str) -> str:
    """Saves what `url` gives, under the name that the server says."""
    return f'<a class="fx-btn" href="{esc(url)}" download>{esc(words)}</a>'


def dot(tone: str = "ok") -> str:
    return f'<i class="fx-dot fx-{tone}" aria-hidden="true"></i>'


def pill(words: str, tone: str = "", title: str = "") -> str:
    """A rounded label; a `tone` (ok, warn, bad, idle) puts a dot before its words."""
    tip = f' title="{esc(title)}"' if title else ""
    return f'<span class="fx-pill"{tip}>{dot(tone) if tone else ""}{esc(words)}</span>'


def tag(words: str) -> str:
    return f'<span class="fx-tag">{esc(words)}</span>'


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """A list of names and values; the values are markup."""
    body = "".join(f"<dt>{esc(name)}</dt><dd>{markup}</dd>" for name, markup in rows)
    return f'<dl class="fx-facts">{body}</dl>'


def notice(title: str, rest: str = "", actions: str = "", tone: str = "info") -> str:
    """One sentence, one cause, and the way out as markup of buttons."""
    role = "alert" if tone == "bad" else "status"
    return (
        f'<div class="fx-notice fx-edge-{tone}" role="{role}">'
        f"<p><b>{esc(title)}</b> {esc(rest)}</p>"
        f'<div class="fx-notice-actions">{actions}</div></div>'
    )


def error_notice(error: FluxuiError, actions: str = "") -> str:
    """What went wrong in the error's own words; ours to wait for is amber, the rest is red."""
    tone = "warn" if error.status in (409, 429, 503) else "bad"
    return notice(error.message, error.hint, actions, tone)


def empty(title: str, rest: str, actions: str = "") -> str:
    return (
        f'<div class="fx-empty"><p class="fx-empty-title">{esc(title)}</p>'
        f'<p class="fx-sub">{esc(rest)}</p><div class="fx-row">{actions}</div></div>'
    )


def data_url(content: bytes, content_type: str = "image/jpeg") -> str:
    return f"data:{content_type};base64,{base64.b64encode(content).decode('ascii')}"


def proof(use: LoraUse) -> str:
    """That a LoRA was really applied, in numbers: amber where layers of the file were left out."""
    words = f"{use.model_id} {use.weight:g} · {use.layers}/{use.layers_total} layers"
    tone = "ok" if use.layers == use.layers_total else "warn"
    return pill(words, tone, title=f"{use.name}: layers changed, of the layers in the file")


def proofs(generation: Generation) -> str:
    return "".join(map(proof, generation.loras))


def weights(generation: Generation) -> str:
    """`pixel-art 0.8, watercolour 0.5`, as it was asked for; "–" without a LoRA."""
    named = (f"{lora.model_id} {lora.weight:g}" for lora in generation.request.loras)
    return ", ".join(named) or "–"


def shortcuts(generation: Generation) -> list[tuple[str, str]]:
    """The fact that it was painted otherwise than by the weights as published, where it was."""
    named = esc(", ".join(generation.shortcuts))
    return [("Shortcuts", f"{named}; these change the picture")] if named else []


def prompt_markup(generation: Generation) -> str:
    """The prompt as typed, with the trigger words that were put in front as badges."""
    badges = "".join(tag(word) + " " for word in generation.trigger_words)
    return badges + esc(generation.request.prompt)


def meter(fraction: float) -> str:
    share = min(max(fraction, 0.0), 1.0) * 100
    return f'<span class="fx-meter" aria-hidden="true"><i style="width:{share:.0f}%"></i></span>'


def visitor(mark: str) -> str:
    """Whose it is, as the owner reads it: `hf:ada` is ada, a guest has no name but a number."""
    kind, _, name = mark.partition(":")
    return f"guest {name[:6]}" if kind == "guest" else name or kind or "you"


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def duration(seconds: float) -> str:
    """`3.4 s`, `14 s`, `2 min 5 s`, `3 h 4 min`, `2 d 4 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, size, part, part_size in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part_size} {part}"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def file_size(count: int) -> str:
    """Bytes in decimal units, as file managers show them."""
    if count < 1000:
        return f"{count} bytes"
    power = min((len(str(count)) - 1) // 3, len(UNITS))
    return f"{count / 1000**power:.1f} {UNITS[power - 1]}"


def moment(when: datetime) -> str:
    """`22 Nov 2026, 15:58` in the machine's own time zone."""
    local = when.astimezone()
    return f"{local.day} {local:%b %Y, %H:%M}"


def clock(when: datetime) -> str:
    return f"{when.astimezone():%H:%M}"
