"""How LoRAs look on their tab: cards, the line above them, one fit report. Markup only."""

from __future__ import annotations

from urllib.parse import quote

from fluxui.collection import PAGE, LoraPage, Shelved
from fluxui.loras.copies import Source
from fluxui.loras.library import Lora
from fluxui.loras.reading import Report
from fluxui.ui import html
from fluxui.ui.html import button, esc


def cards(page: LoraPage, words: str, favourites: bool) -> str:
    """One page of cards, or why there are none."""
    if page.shown:
        return f'<div class="fx-loras">{"".join(map(card, page.shown))}</div>'
    if words:
        return html.empty(f"No LoRA matches “{words}”.", "")
    if favourites:
        return html.empty("No favourites yet.", "Open a LoRA and press ☆ Favourite.")
    return html.empty("No LoRAs yet.", "Import one, or drop a .safetensors file into models/.")


def card(shelved: Shelved) -> str:
    """One LoRA; the whole card is one button."""
    lora, uses = shelved.lora, shelved.uses
    words = ", ".join(lora.trigger_words) or "no trigger words"
    rank = f"rank {lora.fit.rank}" if lora.fit.rank else ""
    tags = [lora.fit.base_family, rank, f"weight {lora.default_weight:g}"]
    if not lora.seen or lora.fit.format == "unreadable":
        tags = []
    used = f"used {uses:,}×" if uses else html.file_size(lora.size)
    star = "★ " if lora.favourite else ""
    return (
        f'<button type="button" class="fx-card" data-act="lora" data-id="{esc(lora.model_id)}">'
        f'<span class="fx-card-picture">{picture(lora)}{state(shelved)}</span>'
        f'<span class="fx-card-words"><span class="fx-row fx-spread"><b>{star}{esc(lora.name)}</b>'
        f'<span class="fx-sub fx-end">{used}</span></span>'
        f'<span class="fx-sub">{esc(words)}</span>'
        f'<span class="fx-row fx-wrap">{"".join(map(html.tag, filter(None, tags)))}</span></span>'
        "</button>"
    )


def picture(lora: Lora) -> str:
    """Its preview, or the first letter of its name on a mat."""
    if lora.preview:
        url = f"api/models/{quote(lora.model_id)}/preview?v={quote(lora.preview)}"
        return f'<img class="fx-lora-picture" src="{esc(url)}" alt="" loading="lazy">'
    letter = esc(lora.name[:1].upper())
    return f'<span class="fx-lora-picture fx-letter" aria-hidden="true">{letter}</span>'


def state(shelved: Shelved) -> str:
    """Whether it can be used, and what its first use costs."""
    lora = shelved.lora
    if not lora.seen:
        return html.pill("not looked at yet", "idle")
    if lora.fit.format == "unreadable":
        return html.pill("can’t be read", "bad", lora.fit.verdict)
    if not lora.fit.fits:
        return html.pill("does not fit", "bad", lora.fit.verdict)
    if not shelved.here:
        title = "It is fetched when it is used for the first time"
        return html.pill("new · in the bucket" if shelved.new else "in the bucket", "idle", title)
    return html.pill("new" if shelved.new else "ready", "ok")


def toolbar(page: LoraPage, favourites: bool) -> str:
    """How many there are, and the way to the other pages."""
    star = button("favourites", "★ Favourites" if favourites else "☆ Favourites")
    count = html.counted(page.total, "LoRA")
    return (
        f'<div class="fx-row fx-spread fx-toolbar"><div class="fx-row fx-wrap">'
        f"<span>{count}</span>{star}</div>{_pager(page)}</div>"
    )


def _pager(page: LoraPage) -> str:
    pages = -(-page.total // PAGE)
    if pages < 2:
        return ""
    number = page.start // PAGE + 1
    back = _arrow("earlier", "‹", "Previous page", number > 1)
    on = _arrow("later", "›", "Next page", number < pages)
    return f'<div class="fx-row fx-pages">{back} Page {number} of {pages} {on}</div>'


def _arrow(act: str, sign: str, words: str, on: bool) -> str:
    off = "" if on else " disabled"
    return (
        f'<button type="button" class="fx-btn fx-arrow" data-act="{act}" '
        f'aria-label="{words}"{off}>{sign}</button>'
    )


def watching(page: LoraPage, place: str, watched: bool) -> str:
    """When the storage was looked through last, and why it may lack something."""
    if page.problem:
        return html.notice("The LoRAs could not be listed.", page.problem, tone="warn")
    if page.left:
        done, total = page.total - page.left, page.total
        return f'<p class="fx-sub" role="status">Looked at {done:,} of {total:,} files.</p>'
    ago = ""
    if page.looked is not None:
        ago = f", looked {html.duration(page.looked) if page.looked >= 1 else 'a moment'} ago"
    if watched:
        words = f"Watching {place}{ago}. A file dropped there shows up here by itself."
    else:
        words = f"A .safetensors file dropped into {place} shows up here."
    return f'<p class="fx-sub fx-row">{html.dot("ok")}{esc(words)}</p>'


def checked(source: Source, report: Report, base_name: str) -> str:
    """What the first bytes of a file say, and the button that fetches the rest."""
    fit = report.fit
    words = ", ".join(report.trigger_words)
    said = [
        source.origin.get("filename") or source.name,
        f"rank {fit.rank}" if fit.rank else "",
        f"trigger words “{words}”" if words else "",
        html.file_size(source.size),
        f"{html.file_size(report.read_bytes)} read so far",
    ]
    facts = esc(" · ".join(filter(None, said)))
    tone = "ok" if fit.fits else "bad"
    more = button("bring", "Import", kind="accent")
    return (
        f'<div class="fx-row fx-spread fx-wrap"><div><p class="fx-row">{html.dot(tone)}'
        f'<b>{esc(fit.verdict)}</b></p><p class="fx-sub">{facts}</p></div>{more}</div>'
    )


def fetching(name: str, done: int, total: int) -> str:
    """How far a download is."""
    share = done / total if total else 0.0
    words = f"Fetching {name}: {html.file_size(done)} of {html.file_size(total)}"
    return f'<p class="fx-sub" role="status">{esc(words)}</p>{html.meter(share)}'


def nav(lora: Lora, uses: int = 0) -> str:
    """The row above the detail."""
    back = button("back", "← All LoRAs")
    used = f'<span class="fx-sub">used {uses:,}×</span>' if uses else ""
    return (
        f'<div class="fx-row fx-spread fx-toolbar"><div class="fx-row">{back}'
        f'<h2 class="fx-h">{esc(lora.name)}</h2>{used}</div>'
        f'<div class="fx-row fx-wrap">{_choices(lora)}</div></div>'
    )


def _choices(lora: Lora) -> str:
    use = button("with", "Generate with this", kind="accent", id=lora.model_id)
    star = button("star", "★ Favourite" if lora.favourite else "☆ Favourite", id=lora.model_id)
    remove = "" if lora.built_in else button("remove", "Delete", kind="danger", id=lora.model_id)
    return (use if lora.fit.fits else "") + star + remove


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
        *_origin(lora),
        ("Added", "comes with fluxui" if lora.built_in else esc(html.moment(lora.added))),
    ]
    if lora.sha256:
        rows.append(
            ("SHA-256", f'<code title="{esc(lora.sha256)}">{esc(lora.sha256[:16])}…</code>')
        )
    rows += [(name.capitalize(), esc(value)) for name, value in lora.training.items()]
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


def _origin(lora: Lora) -> list[tuple[str, str]]:
    """Where it was imported from: the Hub's file at its commit, or a key of the bucket."""
    origin = lora.origin
    if repo := origin.get("repo_id"):
        at = origin.get("revision", "")
        told = f"{esc(repo)} · {esc(origin.get('filename', ''))}"
        return [("From the Hub", f'<span title="{esc(at)}">{told} @ {esc(at[:7])}</span>')]
    return [("From the bucket", f"<code>{esc(origin['key'])}</code>")] if "key" in origin else []
