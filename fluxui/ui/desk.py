"""What one open page shows: which generation is on the stage, which LoRAs lie on the form.

It lives on the server, one for each load of the page (gr.State), and is changed in place by that
page's handlers. A new load starts with an empty one: what lasts is in the history.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fluxui.collection import Sort
from fluxui.history import Query
from fluxui.loras.copies import Source
from fluxui.request import MAX_LORAS
from fluxui.ui.as_code import DEFAULT_ADDRESS


@dataclass
class GalleryDesk:
    """Where in the gallery: the filter, the way back as (cursor, pictures before), the detail.

    `selected` are pictures, in the order of the clicks, while `selecting`; `pair` says that two
    of them are compared. `deleted` are the generations that Undo brings back.
    """

    query: Query = field(default_factory=Query)
    stack: list[tuple[str, int]] = field(default_factory=lambda: [("", 0)])
    shown: tuple[str, int] | None = None
    notice: str = ""
    selecting: bool = False
    selected: list[tuple[str, int]] = field(default_factory=list)
    pair: bool = False
    deleted: list[str] = field(default_factory=list)


@dataclass
class GridDesk:
    """Which strip or grid is shown, and who follows it: as `Desk.watcher`."""

    id: str = ""
    watcher: int = 0


@dataclass
class Desk:
    """`shown` is the generation on the stage, `index` the picture of it in the frame.

    `twin` is the generation that `shown` is compared with, or "", and `verifying` says that it is
    the same picture painted again. `watcher` counts up with each
    watcher that starts, so that an older one stops. `address` is where the browser sees us, and
    `ready` says that the page has booted. `source` is the LoRA whose fit was checked.
    """

    ready: bool = False
    shown: str = ""
    index: int = 1
    twin: str = ""
    verifying: bool = False
    notice: str = ""
    watcher: int = 0
    toasts: int = 0
    address: str = DEFAULT_ADDRESS
    language: str = "curl"
    loras: list[str] = field(default_factory=lambda: [""] * MAX_LORAS)
    gallery: GalleryDesk = field(default_factory=GalleryDesk)
    lora: str = ""
    lora_words: str = ""
    lora_sort: Sort = "used"
    lora_favourites: bool = False
    lora_start: int = 0
    strip: GridDesk = field(default_factory=GridDesk)
    grid: GridDesk = field(default_factory=GridDesk)
    importing: bool = False
    comparing: bool = False
    source: Source | None = None

    @property
    def active(self) -> str:
        """The generation whose progress the stage follows."""
        return self.twin or self.shown

    def show(self, job_id: str, index: int = 1) -> None:
        """Put a generation on the stage, one of its pictures in the frame."""
        self.shown, self.index = job_id, index
        self.twin = self.notice = ""
        self.verifying = False

    def place(self, model_id: str) -> bool:
        """Lay a LoRA on the first free place. False if it lies there, or none is free."""
        if model_id in self.loras or "" not in self.loras:
            return False
        self.loras[self.loras.index("")] = model_id
        return True
