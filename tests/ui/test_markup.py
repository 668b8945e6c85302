"""The cards of the LoRAs, the gallery and the System tab."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from fluxui.collection import LoraPage, Shelved
from fluxui.gallery import GalleryPage
from fluxui.history import Kept, Meter, Query
from fluxui.outputs import Flaw
from fluxui.pictures import Difference
from fluxui.queue import Phase, Progress
from fluxui.rebuild import Rebuilding
from fluxui.studio import Studio
from fluxui.system import QueueFacts
from fluxui.ui import lora_cards as loras
from fluxui.ui import system, wall
from fluxui.ui.acts import reason, verdict
from fluxui.ui.desk import Desk
from fluxui.watch import Moment
from tests.ui.conftest import NASTY, make_card, make_generation, make_lora


def shelved(**values: Any) -> Shelved:
    return Shelved(**{"lora": make_lora(), "uses": 0, "here": True, "new": False, **values})


def test_a_lora_card_shows_what_it_is_and_whether_it_fits() -> None:
    markup = loras.card(shelved())
    for words in ("Dot art", "flux1", "rank 16", "weight 0.8", "38.6 MB", "ready"):
        assert words in markup
    assert "used 1,037×" in loras.card(shelved(uses=1037))
    misfit = make_lora(fit=replace(make_lora().fit, fits=False, verdict="Trained for SDXL."))
    assert "does not fit" in loras.card(shelved(lora=misfit))
    assert "</i>new</span>" in loras.card(shelved(new=True))
    assert "in the bucket" in loras.card(shelved(here=False))
    assert "not looked at yet" in loras.card(shelved(lora=make_lora(seen=False)))
    assert "Generate with this" not in loras.nav(misfit)
    assert "Trained for SDXL." in loras.fit_report(misfit, "tiny")


def test_what_came_with_fluxui_can_not_be_deleted() -> None:
    assert "Delete" in loras.nav(make_lora())
    assert "Delete" not in loras.nav(make_lora(built_in=True))


def test_a_preview_is_shown_and_else_the_first_letter() -> None:
    markup = loras.card(shelved(lora=make_lora(model_id="me/my dots", preview="17")))
    assert 'src="api/models/me/my%20dots/preview?v=17"' in markup
    assert "fx-letter" in loras.card(shelved())


def test_the_loras_are_paged_and_say_when_they_were_looked_at() -> None:
    page = LoraPage((shelved(),), 2000, 24, 0, 12.0, "")
    assert "2,000 LoRAs" in loras.toolbar(page, favourites=False)
    assert "Page 2 of 84" in loras.toolbar(page, favourites=False)
    assert "Page" not in loras.toolbar(replace(page, total=24, start=0), favourites=True)
    assert "looked 12 s ago" in loras.watching(page, "b/models/", watched=True)
    assert "340 of 2,000" in loras.watching(replace(page, left=1660), "b/models/", watched=True)
    refused = replace(page, problem="The bucket refuses these keys.")
    assert "refuses these keys" in loras.watching(refused, "b/models/", watched=True)


def test_the_gallery_counts_and_turns_pages() -> None:
    desk, card = Desk(), make_card(make_generation())
    assert "Page " not in wall.bar(desk, GalleryPage([card], "", 1))
    many = wall.bar(desk, GalleryPage([card] * 48, "next", 1284))
    assert "1,284 pictures" in many
    assert "1 of 27" in many
    assert 'data-act="newer" aria-label="Newer page" disabled' in many
    desk.gallery.stack = [("", 0), ("next", 48)]
    assert "2 of 2" in wall.bar(desk, GalleryPage([card], "", 49))


def test_an_empty_page_says_why() -> None:
    desk = Desk()
    assert "No pictures yet." in wall.grid(desk, GalleryPage([], "", 0))
    desk.gallery.query = Query(words="<castel>")
    assert "No picture matches “&lt;castel&gt;”." in wall.grid(desk, GalleryPage([], "", 0))


def test_a_detail_has_every_setting() -> None:
    markup = wall.detail(make_card(make_generation(images=4), 2), 10, 1284, False, False, "")
    for words in ("10 of 1,284", "dot-art 0.6 · 5/5 layers", "128 × 96", "12 · 3.5", "2 of 4"):
        assert words in markup
    for words in (">8<", "in 8.0 s", "image_2.png · 1.4 MB", "job-1", "tiny"):
        assert words in markup


def test_the_queue_shows_who_runs_and_who_waits(studio: Studio) -> None:
    assert "Nothing is being painted." in system.queue_card([], [], paused=False)
    job = make_generation(NASTY, images=0)
    runs = Moment(job, Progress(Phase.painting, image=1, images=1, step=7, steps=20), 4.1)
    jobs = [runs, *(waiting(name, "ann", left=21.0) for name in ("a", "b"))]
    markup = system.queue_card([*jobs, waiting("c", "bob")], ["a", "b"], paused=False)
    text = re.sub("<[^>]+>", "|", markup)
    assert "step 7 of 20|, 4.1 s left" in text
    assert "queued|, done in 21 s" in text and "|queued||" in text
    assert markup.count('data-act="cancel"') == 4
    assert re.findall(r'data-act="up" data-id="(\w)"', markup) == ["b"], "the others are first"
    assert 'data-act="pause"' in markup and 'data-act="resume"' not in markup
    assert "<img src=x" not in markup


def waiting(job_id: str, visitor: str, **values: Any) -> Moment:
    job = make_generation(id=job_id, visitor=visitor, images=0)
    return Moment(job, Progress(ahead=1, paused=values.pop("paused", False)), values.get("left"))


def test_a_paused_queue_says_so_also_when_it_is_empty(studio: Studio) -> None:
    held = waiting("a", "", paused=True)
    markup = system.queue_card([held], ["a"], paused=True)
    assert "Paused · 1 waits" in markup and 'data-act="resume"' in markup
    assert "Paused · 0 wait" in system.queue_card([], [], paused=True)
    studio.pause(True)
    assert "Paused · 0 wait" in system.head(studio)
    studio.pause(False)
    assert "Idle" in system.head(studio)


def test_the_pill_counts_all_and_tells_the_time() -> None:
    assert "Idle" in system.queue_pill(QueueFacts(0, 0, 64, 0.0))
    assert "3 in queue · 42 s<" in system.queue_pill(QueueFacts(1, 2, 64, 42.0))
    assert "3 in queue<" in system.queue_pill(QueueFacts(1, 2, 64, None))


def test_the_cards_say_why_this_base_model(studio: Studio) -> None:
    facts = studio.system()
    assert "FLUXUI_BASE_MODEL is tiny." in system.model_card(facts, built_in=True)
    assert "Known when the base model is loaded." in system.device_card(facts)
    loaded = replace(
        facts, pipeline={"device": "H200", "memory_used": 36 * 10**9, "memory_total": 141 * 10**9}
    )
    assert "36.0 GB of 141.0 GB" in system.device_card(loaded)
    told = {"device": "4090", "fell": "The rung fp8 failed here.", "shortcuts": "NF4 weights"}
    card = system.device_card(
        replace(facts, pipeline=told | {"unlocks": "", "attention": "native"})
    )
    assert "The rung fp8 failed here." in card and "NF4 weights" in card
    assert "Could have" not in card
    away = replace(facts.storage, kind="bucket", waiting=3, waiting_bytes=4_200_000)
    assert "Bucket away: 3 waiting" in system.storage_pill(away)
    assert "4.2 MB" in system.storage_card(replace(facts, storage=away))


def test_the_report_is_lines_without_markup(studio: Studio) -> None:
    report = system.report(studio.system())
    assert "base_model: tiny" in report
    assert "versions.gradio: " in report
    assert "<" not in report


def test_the_home_folder_is_nobodys_business(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(studio.settings.data_dir.parent))
    facts = studio.system()
    assert "<b>~/fluxui</b>" in system.storage_card(facts)
    assert str(studio.settings.data_dir.parent) not in system.report(facts)


def test_a_rebuild_is_told_wherever_one_looks() -> None:
    rebuilding = Rebuilding(running=True, lacking=10_000, read=3120)
    assert "3,120 of 10,000" in wall.grid(Desk(), GalleryPage([], "", 0), rebuilding)
    assert "Rebuilding history: 31%" in system.rebuild_pill(rebuilding)
    assert "3,120 of 10,000" in system.rebuilding_words(rebuilding)
    waits = replace(rebuilding, waits="The bucket's server does not answer.")
    assert "The bucket&#x27;s server does not answer." in system.rebuilding_words(waits)
    ended = replace(rebuilding, running=False, added=2, flaws={Flaw.gone: ["<a>"]})
    assert "2 records came back." in system.rebuilding_words(ended)
    assert "(first &lt;a&gt;)" in system.rebuilding_words(ended)
    nothing = Rebuilding(ended=True)
    assert system.rebuilding_words(nothing) == "Nothing is lacking."
    assert system.rebuild_pill(ended) == system.rebuilding_words(Rebuilding()) == ""


def test_the_meter_names_what_takes_the_most() -> None:
    loras = {f"<lora {number}>": Kept(number, number * 1_000_000) for number in range(1, 8)}
    months = {f"2026-{month:02}": Kept(1, 500_000) for month in range(1, 12)}
    meter = Meter(Kept(1284, 2_500_000_000), months, loras, {"": Kept(1, 1), "guest": Kept(2, 2)})
    rows = dict(system.meter_rows(meter))
    assert rows["Bytes"] == "2.5 GB"
    assert "2026-11" in rows["By month"] and "2026-07" not in rows["By month"]
    assert "&lt;lora 7&gt;" in rows["By LoRA"] and "lora 3" not in rows["By LoRA"]
    assert "7 pictures · 7.0 MB" in rows["By LoRA"] and "guest" in rows["By visitor"]
    alone = Meter(Kept(1, 1), {}, {}, {"": Kept(1, 1)})
    assert set(dict(system.meter_rows(alone))) == {"Bytes"}


@pytest.mark.parametrize(
    ("differs", "title", "rest"),
    [
        (Difference(0, 0, 64), "Bit-identical.", "every pixel is the same"),
        (Difference(3, 1, 64), "Not bit-identical.", "3 of 64 pixels differ"),
        (Difference(0, 0, 64, lossy=True), "The same as far as a JPEG shows.", "not lossless"),
        (Difference(3, 9, 64, lossy=True), "Not the same.", "as JPEG, which is not lossless, 3 of"),
    ],
)
def test_what_painting_again_says(differs: Difference, title: str, rest: str) -> None:
    words = verdict(differs, "")
    assert f"<b>{title}</b>" in words and rest in words


def test_why_it_differs_as_far_as_that_is_known() -> None:
    then = make_generation(machine={"device": "CPU", "torch": "2.12"}, shortcuts=("fp8",))
    now = make_generation(machine={"device": "H200", "torch": "2.12", "threads": "2"})
    told = "device: CPU, now H200; shortcuts: fp8, now none; threads: none, now 2."
    assert reason(then, now) == f"What is different: {told}"
    assert reason(now, now).startswith("Device, precision and versions are the same")
    assert reason(make_generation(), now).startswith("Another device")
    assert "by 1 of 255 at most. Because." in verdict(Difference(3, 1, 64), "", "Because.")
