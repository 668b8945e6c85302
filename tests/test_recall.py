from __future__ import annotations

import io
import json
import struct
import zlib
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from fluxui.errors import InvalidRequest, LoraNotFound
from fluxui.settings import Settings
from fluxui.storage.local import LocalStorage
from fluxui.studio import Studio
from tests.conftest import paint
from tests.lora_files import fitting_lora, write
from tests.test_rebuild import content


def png(**texts: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        info.add_itxt(name, text)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def told(**changes: Any) -> bytes:
    return png(parameters=json.dumps({"prompt": "a boat", **changes}))


def header(width: int, height: int) -> bytes:
    """A PNG that says it is this large, and has no pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + b"\0\0\0\0"


@pytest.fixture
def lora(studio: Studio, settings: Settings, tmp_path: Any) -> str:
    file = write(tmp_path, fitting_lora(settings))
    return studio.collection.add(file, "oil-paint", "Oil paint").model_id


def test_our_own_picture_gives_its_request_back(
    studio: Studio, storage: LocalStorage, lora: str
) -> None:
    made = paint(studio, "a <b>, 雪", num_images=2, seed=7, width=128, loras=[{"model_id": lora}])
    found = studio.recall(content(storage, made.images[1].key))
    assert found.request == made.request.model_copy(update={"seed": 8, "num_images": 1})
    assert (found.source, found.sentences) == ("fluxui", ())


def test_a_lora_is_found_under_another_name_and_never_another_for_it(
    studio: Studio, storage: LocalStorage, lora: str
) -> None:
    made = paint(studio, loras=[{"model_id": lora, "weight": 0.5}])
    picture = content(storage, made.images[0].key)
    file = next(studio.settings.data_dir.glob("models/oil-paint/*.safetensors"))
    studio.collection.add(file, "dots")
    studio.collection.delete(lora)
    found = studio.recall(picture)
    assert [(one.model_id, one.weight) for one in found.request.loras] == [("dots", 0.5)]
    assert found.sentences == ("LoRA found under another name: dots.",)
    studio.collection.delete("dots")
    gone = studio.recall(picture)
    assert gone.request.loras == () and gone.sentences == ("LoRA not found: oil-paint.",)


def test_what_is_kept_is_recalled_by_what_its_loras_are(
    studio: Studio, storage: LocalStorage, lora: str
) -> None:
    made = paint(studio, "a boat", num_images=2, seed=7, loras=[{"model_id": lora, "weight": 0.5}])
    from_file = studio.recall(content(storage, made.images[1].key))
    assert studio.recall_kept(made.id, 2) == from_file
    assert studio.request_of(made.id, 2) == from_file.request
    file = next(studio.settings.data_dir.glob("models/oil-paint/*.safetensors"))
    studio.collection.add(file, "dots")
    other = fitting_lora(studio.settings)[:-2] + b"\x01\x3c"
    studio.collection.delete(lora)
    studio.collection.add(write(file.parent.parent.parent, other), lora)
    assert studio.collection.get(lora).sha256 != made.loras[0].sha256
    assert [one.model_id for one in studio.request_of(made.id, 1).loras] == ["dots"]
    assert [one.model_id for one in studio.recall_kept(made.id, 1).request.loras] == ["dots"]
    studio.collection.delete("dots")
    with pytest.raises(LoraNotFound):
        studio.request_of(made.id, 1)
    told = "LoRA not found: oil-paint. The one of that name here is another file."
    assert studio.recall_kept(made.id, 1).sentences == (told,)


def test_the_nearest_name_is_offered(studio: Studio, lora: str) -> None:
    text = "a boat <lora:oil-paint-v2:0.7> <lora:Oil_Paint:3>\nSteps: 4, Seed: 1"
    found = studio.recall(png(parameters=text))
    assert found.nearest == (lora,)
    assert [(one.model_id, one.weight) for one in found.request.loras] == [(lora, 2.0)]
    assert "LoRA not found: oil-paint-v2." in found.sentences


def test_a_file_that_was_never_used_here_is_found_by_what_it_is(
    studio: Studio, storage: LocalStorage, lora: str, settings: Settings
) -> None:
    """Dropped into the folder under another name, and not looked into before."""
    made = paint(studio, loras=[{"model_id": lora}])
    picture = content(storage, made.images[0].key)
    models = settings.data_dir / "models"
    (models / lora / f"{lora}.safetensors").rename(models / "dropped.safetensors")
    found = studio.recall(picture)
    assert [ref.model_id for ref in found.request.loras] == ["dropped"]
    assert found.sentences == ("LoRA found under another name: dropped.",)


def test_one_far_away_that_was_never_used_is_taken_by_its_name_and_that_is_said(
    studio: Studio, storage: LocalStorage, lora: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = content(storage, paint(studio, loras=[{"model_id": lora}]).images[0].key)
    library = studio._library
    monkeypatch.setattr(library.reader, "known_sha256", lambda file: "")
    monkeypatch.setattr(library.reader, "here", lambda file: None)
    library._made.clear()
    found = studio.recall(picture)
    assert [ref.model_id for ref in found.request.loras] == [lora]
    assert found.sentences == (f"{lora} is taken by its name: it was never used here.",)


def test_what_this_base_model_can_not_do_is_named_and_the_rest_restored(studio: Studio) -> None:
    found = studio.recall(told(width=4096, height=64, steps=4, seed=3, guidance=99))
    limits = studio.base_model.limits
    assert (found.request.width, found.request.height) == (limits.width, limits.height)
    assert (found.request.num_inference_steps, found.request.seed) == (4, 3)
    assert found.sentences[0].startswith("Not restored: size 4096 x 64. width should be")
    assert found.sentences[1].startswith("Not restored: guidance scale 99")


BROKEN = png(parameters="a\nSteps: 2").replace(
    b"parameters\0\0\0\0\0a", b"parameters\0\0\0\0\0\xff"
)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"GIF89a",
        png(),
        png(parameters="x" * 10_000_000),
        told()[:40],
        header(60_000, 60_000),
        header(9000, 9000),
        BROKEN,
    ],
    ids=["empty", "svg", "gif", "silent", "10 MB", "cut", "bomb", "large", "broken UTF-8"],
)
def test_what_is_no_picture_of_ours_is_one_sentence(studio: Studio, content: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        studio.recall(content)
    assert refused.value.message.endswith(".")
