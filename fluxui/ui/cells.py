"""The cells of a grid as markup: one box each, whatever became of it. Plain values in, HTML out."""

from __future__ import annotations

from collections.abc import Callable

from fluxui.gallery import Card
from fluxui.generation import Generation, Status
from fluxui.grid import Grid
from fluxui.grids import GridMoment, column_words, row_words
from fluxui.queue import Phase, Progress
from fluxui.ui import html
from fluxui.ui.html import button, esc

# More in one row are too small to be judged.
IN_ROW = 4

CardOf = Callable[[Generation], Card]


def strip(moment: GridMoment, card: CardOf, default: float, may_choose: bool) -> str:
    """One LoRA at several weights; the default one is outlined, the others can take its place."""
    grid, figures = moment.grid, ""
    for column, cell in zip(grid.columns, grid.cells[0], strict=True):
        weight = float(column)
        caption = f"<b>{esc(column)}</b>"
        if weight == default:
            caption += '<span class="fx-sub">default</span>'
        elif not weight:
            caption += '<span class="fx-sub">without</span>'
        elif may_choose:
            caption += button("weight", "Use this weight", kind="small", weight=column)
        marked = " fx-default" if weight == default else ""
        figures += figure(box(cell, moment, card), caption, marked)
    count = len(grid.columns)
    in_row = count if count <= IN_ROW else -(-count // 2)
    return f'<div class="fx-strip" style="--n:{in_row}">{figures}</div>{foot(grid)}'


def table(moment: GridMoment, card: CardOf) -> str:
    """A row for each LoRA, below its name."""
    grid, body = moment.grid, ""
    for number, cells in enumerate(grid.cells):
        body += f'<h4 class="fx-h fx-strip-row">{esc(row_words(grid, number))}</h4>'
        for column, cell in zip(grid.columns, cells, strict=True):
            caption = f'<span class="fx-sub">{esc(column_words(grid, column))}</span>'
            body += figure(box(cell, moment, card), caption)
    sheet = f'<div class="fx-strip fx-strip-wide" style="--n:{len(grid.columns)}">{body}</div>'
    return f'<div class="fx-sideways" tabindex="0" role="group">{sheet}</div>{foot(grid)}'


def figure(markup: str, caption: str, marked: str = "") -> str:
    """A box, and below it what its row or column is, as markup."""
    return (
        f'<figure class="fx-cell{marked}">{markup}'
        f'<figcaption class="fx-row fx-spread">{caption}</figcaption></figure>'
    )


def box(cell: Generation | None, moment: GridMoment, card: CardOf) -> str:
    """The picture, or in words why there is none yet."""
    if cell is None:
        return _empty(moment.grid, "deleted")
    if cell.status is Status.completed:
        return _picture(card(cell))
    if cell.status.ended:
        words = cell.error.message if cell.error else "stopped"
        return _empty(moment.grid, words, button("again", "Paint it", kind="small", id=cell.id))
    now = moment.cell
    mine = now is not None and now.generation.id == cell.id
    progress = now.progress if now and mine else None
    if progress and progress.phase is Phase.fetching:
        return _empty(moment.grid, f"fetching {progress.obstacle}")
    if cell.status is Status.running or (progress and progress.step):
        return _painting(moment.grid, progress or Progress())
    return _empty(moment.grid, "held up" if progress and progress.obstacle else "waiting")


def _picture(card: Card) -> str:
    words, image = esc(card.generation.painted), card.image
    return (
        f'<button type="button" class="fx-thumb" style="aspect-ratio:{image.width}/{image.height}"'
        f' data-act="open" data-id="{esc(card.generation.id)}" data-index="{image.index}"'
        f' title="{words}"><img src="{esc(card.thumb_url)}" alt="{words}"></button>'
    )


def _painting(grid: Grid, progress: Progress) -> str:
    words = f"painting… {progress.fraction:.0%}" if progress.step else "painting…"
    preview = ""
    if progress.preview:
        preview = f'<img src="{html.data_url(progress.preview)}" alt="">'
    return _empty(grid, words, preview)


def _empty(grid: Grid, words: str, markup: str = "") -> str:
    size = f"aspect-ratio:{grid.request.width}/{grid.request.height}"
    return f'<div class="fx-wait" style="{size}">{markup}<span>{esc(words)}</span></div>'


def foot(grid: Grid) -> str:
    """What all cells share, how many are there, and what can be done with all of them."""
    request, left = grid.request, grid.unfinished
    painted = sum(bool(cell.images) for cell in grid.generations)
    said = [
        "" if grid.across == "seeds" else f"seed {request.seed}",
        f"{request.num_inference_steps} steps",
        f"guidance {request.guidance_scale:g}",
        f"{request.width} × {request.height}",
    ]
    act = ""
    if left:
        said.insert(0, f"{painted} of {len(grid.generations)} painted")
        act = button("stop", "Cancel")
    elif painted:
        act = html.download_button("Contact sheet", f"api/grids/{grid.id}/sheet")
    facts = esc(" · ".join(filter(None, said)))
    return (
        f'<div class="fx-row fx-spread fx-wrap fx-strip-foot"'
        f' data-grid="{"painting" if left else "done"}">'
        f'<span class="fx-sub" role="status">{facts}</span>{act}</div>'
    )
