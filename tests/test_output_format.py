"""`FLUXUI_OUTPUT_FORMAT` from one end to the other: what holds for a PNG holds for each format."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from fluxui.api import build_api
from fluxui.gate import Gate
from fluxui.generation import Generation
from fluxui.history.tiny import TinyHistory
from fluxui.pictures import Difference
from fluxui.rebuild import Rebuild
from fluxui.settings import OutputFormat, Settings
from fluxui.storage import record_key, thumb_key
from fluxui.storage.local import LocalStorage
from fluxui.studio import Studio
from fluxui.ui.endpoints import Endpoints
from fluxui.verify import repair, verify
from tests.conftest import FakePipeline, make_studio, paint, wait
from tests.lora_files import fitting_lora, write
from tests.test_rebuild import content

FORMATS: dict[OutputFormat, tuple[str, str, bytes]] = {
    "png": (".png", "image/png", b"\x89PNG"),
    "webp": (".webp", "image/webp", b"RIFF"),
    "jpeg": (".jpg", "image/jpeg", b"\xff\xd8"),
}


@pytest.fixture
def made(settings: Settings, tmp_path: Path) -> dict[OutputFormat, Generation]:
    """One of each, painted by one process after the other into one history."""
    found = {}
    for name in FORMATS:
        studio = make_studio(
            settings.model_copy(update={"output_format": name}), FakePipeline(settings)
        )
        if name == "png":
            studio.collection.add(write(tmp_path, fitting_lora(settings)), "oil-paint")
        found[name] = paint(studio, f"雪 <{name}>", num_images=2, seed=7, model_id="oil-paint")
        studio.close()
    return found


@pytest.fixture
def mixed(made: dict[OutputFormat, Generation], settings: Settings) -> Iterator[Studio]:
    """A studio that paints WebP over that history."""
    settings = settings.model_copy(update={"output_format": "webp"})
    studio = make_studio(settings, FakePipeline(settings))
    yield studio
    studio.close()


Made = dict[OutputFormat, Generation]


def test_each_is_kept_handed_out_and_restored(
    mixed: Studio, made: Made, storage: LocalStorage
) -> None:
    with TestClient(Gate(build_api(mixed), None, None)) as client:
        for name, (suffix, kind, magic) in FORMATS.items():
            image = made[name].images[1]
            assert image.key.endswith(f"image_2{suffix}")
            kept = content(storage, image.key)
            assert kept.startswith(magic) and hashlib.sha256(kept).hexdigest() == image.sha256
            answer = client.get(f"/api/images/{made[name].id}/2?download=1")
            assert (answer.content, answer.headers["content-type"]) == (kept, kind)
            assert f'{made[name].id}_2{suffix}"' in answer.headers["content-disposition"]
            found = mixed.recall(kept)
            again = made[name].request.model_copy(update={"seed": 8, "num_images": 1})
            assert (found.request, found.source, found.sentences) == (again, "fluxui", ())
        zipped = zipfile.ZipFile(io.BytesIO(client.get("/api/images.zip").content))
    suffixes = [Path(name).suffix for name in zipped.namelist()]
    assert sorted(suffixes) == [".jpg", ".jpg", ".jsonl", ".png", ".png", ".webp", ".webp"]


def test_gradio_client_gets_files_of_each(
    mixed: Studio, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    for name, (suffix, _, magic) in FORMATS.items():
        first, second = map(Path, Endpoints(mixed)._files(made[name]))
        assert first.name == f"{made[name].id}_1{suffix}"
        assert first.read_bytes().startswith(magic) and second.suffix == suffix


def test_painted_again_each_says_what_can_be_said(mixed: Studio, made: Made) -> None:
    for name, one in made.items():
        again = wait(mixed, mixed.repeat(one.id, 2).id)
        assert again.images[0].key.endswith(".webp")
        differs = mixed.pictures.difference((one.id, 2), (again.id, 1))
        assert differs == Difference(0, 0, 256 * 256, lossy=name == "jpeg")


def test_each_is_deleted_brought_back_and_found_without_any_record(
    mixed: Studio, made: Made, storage: LocalStorage, fresh: TinyHistory, tmp_path: Path
) -> None:
    for one in made.values():
        before = content(storage, one.images[0].key)
        mixed.delete(one.id)
        assert mixed.pictures.page().total == len(made) - 1
        mixed.pictures.restore(one.id)
        assert content(storage, one.images[0].key) == before
    for one in made.values():
        storage.delete(record_key(one))
        storage.delete(thumb_key(one, 1))
    Rebuild(storage, fresh).run()
    for one in made.values():
        there = fresh.get(one.id)
        assert (there.request, there.images) == (one.request, one.images)
    repair(verify(storage, fresh), storage, fresh, tmp_path)
    assert verify(storage, fresh).fine
    assert json.loads(content(storage, record_key(made["webp"])))["painted"] == "雪 <webp>"
    for one in made.values():
        assert content(storage, thumb_key(one, 1)).startswith(b"RIFF")
