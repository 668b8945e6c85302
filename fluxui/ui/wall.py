"""The gallery as markup: the bar, the grid, one picture, two of them over each other.

It knows no Gradio and no Studio: plain values in, HTML out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlencode

from fluxui.gallery import PAGE_SIZE, Card, GalleryPage
from fluxui.history import Query
from fluxui.rebuild import Rebuilding
from fluxui.ui import html, stage
from fluxui.ui.desk import Desk
from fluxui.ui.html import button, esc
from fluxui.ui.system import IDLE, rebuild_progress

# Arrows in words where there is room.
PREVIOUS = '‹<span class="fx-desktop">&nbsp;Previous</span>'
NEXT = '<span class="fx-desktop">Next&nbsp;</span>›'
ZIP = "api/images.zip"

LINE = "gallery"  # in which all clicks of the tab wait for each other
# The clicks of the grid. Ticking is drawn here, and only the last of a burst is told, with all that
# is ticked: a page rendered anew for every tick would ask a bucket for all its thumbnails again.
# With Shift it is a whole row.
CLICKS = (
    "element.addEventListener('click', e => {"
    "const t = e.target.closest('[data-act]'); if (!t) return;"
    "const told = {...t.dataset}, send = () => trigger('act', told);"
    f"if (told.act !== 'tick') {{ fxSend('{LINE}', told, send); return; }}"
    "const all = [...element.querySelectorAll('[data-act=tick]')];"
    "const at = all.indexOf(t), from = e.shiftKey ? all.indexOf(element.fxLast) : at;"
    "const on = t.getAttribute('aria-pressed') !== 'true';"
    "const part = from < 0 ? [t] : all.slice(Math.min(at, from), Math.max(at, from) + 1);"
    "for (const one of part) one.setAttribute('aria-pressed', on);"
    "element.fxLast = t;"
    "const ticked = all.filter(p => p.getAttribute('aria-pressed') === 'true');"
    "told.pictures = ticked.map(p => p.dataset.id + '/' + p.dataset.index).join(' ');"
    f"fxSend('{LINE}', told, send);}})"
)


def said(words: str) -> str:
    """A sentence in the place of the count."""
    return f'<b role="status">{esc(words)}</b>'


def bar(desk: Desk, page: GalleryPage) -> str:
    """The count, or what was just done, or what is selected; and the pager."""
    left = desk.gallery.notice
    if not left and desk.gallery.selecting:
        left = _selected(desk, page)
    left = left or _counted(desk.gallery.query, page)
    left = f'<div class="fx-row fx-wrap">{left}</div>'
    number = len(desk.gallery.stack)
    pages = max(-(-page.total // PAGE_SIZE), number + bool(page.cursor))
    if pages < 2:
        return f'<div class="fx-row fx-spread fx-toolbar">{left}</div>'
    pager = (
        f'<nav class="fx-row" aria-label="Pages">{_arrow("newer", "‹", "Newer page", number > 1)}'
        f'<span class="fx-pages"><span class="fx-desktop">Page </span>{number} of {pages}</span>'
        f"{_arrow('older', '›', 'Older page', bool(page.cursor))}</nav>"
    )
    return f'<div class="fx-row fx-spread fx-toolbar">{left}{pager}</div>'


def _counted(query: Query, page: GalleryPage) -> str:
    count = f'<span class="fx-sub">{html.counted(page.total, "picture")}</span>'
    words, kind = ("★ Favourites", "accent") if query.favourite else ("☆ Favourites", "")
    star = button("favourites", words, kind=kind, on="" if query.favourite else "1")
    tag = button("untag", f"tag: {query.tag} ✕", kind="accent") if query.tag else ""
    select = button("select", "Select") if page.total else ""
    restore = html.press_button("Restore from a picture", "#restore button")
    return f"{count}{star}{tag}{select}{restore}"


def _selected(desk: Desk, page: GalleryPage) -> str:
    """What can be done with the selected ones; with none selected, with all of them."""
    chosen = desk.gallery.selected
    done = button("done", "Done")
    if not chosen:
        words = f"Download all {page.total:,}"
        all_of_them = html.download_button(words, f"{ZIP}?{address(desk.gallery.query)}")
        hint = '<span class="fx-sub fx-desktop">Click pictures; Shift takes a row of them.</span>'
        return f"<b>0 selected</b>{all_of_them}{done}{hint}"
    names = " ".join(f"{job_id}/{index}" for job_id, index in chosen)
    zipped = (
        f'<form method="post" action="{ZIP}"><input type="hidden" name="pictures"'
        f' value="{esc(names)}"><button class="fx-btn">Download zip</button></form>'
    )
    pair = button("pair", "Compare") if len(chosen) == 2 else ""
    trash = button("trash", "Move to trash", kind="danger")
    return f'<b role="status">{len(chosen):,} selected</b>{zipped}{pair}{trash}{done}'


def address(query: Query) -> str:
    """The filters as REST takes them."""
    told = {
        "q": query.words,
        "lora": query.lora,
        "model_id": query.model_id,
        "base_model": query.base_model,
        "width": query.width,
        "height": query.height,
        "seed": query.seed,
        "since": query.since.isoformat() if query.since else None,
        "favourite": "1" if query.favourite else None,
        "tag": query.tag,
        "order": "oldest" if query.oldest else None,
    }
    given = {name: value for name, value in told.items() if value not in ("", None)}
    if query.visitor is not None:
        given["visitor"] = query.visitor  # "" is the owner
    return urlencode(given)


def grid(desk: Desk, page: GalleryPage, rebuilding: Rebuilding = IDLE, owner: bool = False) -> str:
    """The pictures; above them that more of them come, while the history is rebuilt."""
    if rebuilding.running and (rebuilding.lacking or rebuilding.waits):
        words = rebuilding.waits or rebuild_progress(rebuilding)
        note = html.notice("The history is being made whole.", words)
        return f'<div class="fx-above">{note}</div>{_grid(desk, page, False)}'
    return _grid(desk, page, owner)


def _grid(desk: Desk, page: GalleryPage, owner: bool) -> str:
    here = desk.gallery
    if page.cards:
        chosen = set(here.selected) if here.selecting else None
        ticked = (None if chosen is None else name(card) in chosen for card in page.cards)
        thumbs = map(stage.thumb, page.cards, ticked)
        return f'<div class="fx-grid">{"".join(thumbs)}</div>'
    if here.query == Query():
        words = "Everything you generate is kept here, with what is needed to repeat it."
        first = button("first", "Generate the first one")
        look = button("rebuild", "Look in the storage") if owner else ""
        return html.empty("No pictures yet.", words, first + look)
    asked = f" “{here.query.words}”" if here.query.words else " this filter"
    return html.empty(f"No picture matches{asked}.", "", button("clear", "Clear search"))


def name(card: Card) -> tuple[str, int]:
    return card.generation.id, card.image.index


def detail(
    card: Card, number: int, total: int, first: bool, last: bool, compare: str, ways: str = ""
) -> str:
    """One picture, everything that is known of it, and the way to its neighbours."""
    place = f"{number:,} of {total:,}" if number else ""
    arrows = _arrow("prev", PREVIOUS, "Previous", not first)
    arrows += _arrow("next", NEXT, "Next", not last)
    zoom = '<button type="button" class="fx-btn" data-zoom aria-pressed="false">Zoom</button>'
    image = card.image
    picture = stage.frame(card.url, card.generation.request.prompt, image.width, image.height)
    words, on = ("★ Favourite", "") if image.favourite else ("☆ Favourite", "1")
    star = button("favourite", words, id=card.generation.id, index=image.index, on=on)
    panel = (
        f'<p class="fx-prompt">{html.prompt_markup(card.generation)}</p>{_tags(card)}'
        f"{html.facts(all_facts(card))}"
        f'<div class="fx-actions">{star}{stage.actions(card, compare, ways)}</div>'
    )
    return (
        f"{_nav('All pictures', place, f'{zoom}{arrows}')}"
        f'<div class="fx-detail"><div class="fx-mat">{picture}</div>'
        f'<div class="fx-panel fx-card-panel">{panel}</div></div>'
    )


def _nav(back: str, place: str, end: str) -> str:
    return (
        f'<div class="fx-row fx-spread fx-toolbar"><div class="fx-row">'
        f'{button("back", f"← {back}")}<span class="fx-sub">{place}</span></div>'
        f'<nav class="fx-row" aria-label="Pictures">{end}</nav></div>'
    )


def _tags(card: Card) -> str:
    found = "".join(
        f'<button type="button" class="fx-tag fx-tag-button" data-act="tagged"'
        f' data-tag="{esc(tag)}">{esc(tag)}</button>'
        for tag in card.generation.tags
    )
    return f'<p class="fx-row fx-wrap">{found}</p>' if found else ""


def pair(left: Card, right: Card) -> str:
    """Two pictures over each other, and what is different in their settings."""
    image = left.image
    picture = (
        f'<div class="fx-frame fx-compare" style="--w:{image.width};--h:{image.height}">'
        f'<img src="{esc(right.url)}" alt="{esc(right.generation.request.prompt)}">'
        f'<img class="fx-over" src="{esc(left.url)}" alt="{esc(left.generation.request.prompt)}">'
        '<span class="fx-edge" aria-hidden="true"></span>'
        '<input type="range" min="0" max="100" value="50" aria-label="Edge between the left and '
        'the right picture"></div>'
    )
    here, there = dict(all_facts(left)), dict(all_facts(right))
    prompts = (esc(card.generation.request.prompt) for card in (left, right))
    rows = [("Prompt", *prompts)] + [
        (fact, here.get(fact, "–"), there.get(fact, "–")) for fact in here
    ]
    differing = "".join(
        f"<tr><th>{esc(fact)}</th><td>{one}</td><td>{other}</td></tr>"
        for fact, one, other in rows
        if one != other and fact != "Job"
    )
    table = (
        '<table class="fx-table fx-pair"><thead><tr><th></th><th>Left</th><th>Right</th></tr>'
        f"</thead><tbody>{differing}</tbody></table>"
    )
    sub = '<p class="fx-sub">Drag, or use the arrow keys. What is not listed is the same.</p>'
    return (
        f'{_nav("Back to the selection", "", "")}<div class="fx-detail">'
        f'<div class="fx-mat">{picture}</div>'
        f'<div class="fx-panel fx-card-panel">{sub}{table}</div></div>'
    )


def all_facts(card: Card) -> list[tuple[str, str]]:
    generation, image = card.generation, card.image
    request = generation.request
    when: datetime = generation.completed_at or generation.created_at
    took = f", in {html.duration(generation.seconds)}" if generation.seconds is not None else ""
    rows = [
        ("LoRA", html.proofs(generation) or "none"),
        ("Base model", esc(generation.base_model)),
        ("Size", f"{image.width} × {image.height}"),
        ("Steps · guidance", f"{request.num_inference_steps} · {request.guidance_scale:g}"),
        ("Seed", esc(image.seed)),
        ("Painted", esc(html.moment(when) + took)),
        ("File", f"{esc(image.key.rpartition('/')[2])} · {html.file_size(image.bytes)}"),
        ("Job", f"<code>{esc(generation.id)}</code>"),
    ]
    if request.num_images > 1:
        rows.insert(4, ("Image", f"{image.index} of {request.num_images}"))
    return rows + html.shortcuts(generation)


def _arrow(act: str, sign: str, words: str, enabled: bool) -> str:
    off = "" if enabled else " disabled"
    return (
        f'<button type="button" class="fx-btn fx-arrow" data-act="{act}" aria-label="{words}"'
        f"{off}>{sign}</button>"
    )


def position(cards: Sequence[Card], shown: tuple[str, int] | None) -> int:
    """Where on its page a picture is; -1 if it is not there."""
    return next((at for at, card in enumerate(cards) if name(card) == shown), -1)
