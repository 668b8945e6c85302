"""The library over a folder and over what behaves like a bucket; ids never become paths."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pytest
import torch

from fluxui.errors import Conflict, InvalidRequest, LoraMisfit, LoraNotFound, LoraUnreadable
from fluxui.loras.canonical import read
from fluxui.loras.files import Listed
from fluxui.loras.header import tensors_sha256
from fluxui.loras.library import BUILT_IN, Library
from fluxui.pipeline.base_models import CATALOGUE
from fluxui.storage.local import LocalStorage
from tests.loras.truth import kohya, lettered, pairs

Write = Callable[..., Path]


class Stream(BytesIO):
    """What a bucket gives: bytes in order, and no file behind them."""

    def seekable(self) -> bool:
        return False


class Bucket:
    """A folder that hides its files, and counts what is taken out of it."""

    def __init__(self, folder: Path) -> None:
        self._inner = LocalStorage(folder)
        self.opened: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

    def put(self, key: str, data: bytes, content_type: str) -> None:
        self._inner.put(key, data, content_type)

    def open(self, key: str) -> BinaryIO:
        self.opened.append(key)
        self.gate.wait(10)
        with self._inner.open(key) as stream:
            return Stream(stream.read())

    def list(self, prefix: str) -> Iterator[Listed]:
        return self._inner.list(prefix)

    def delete(self, key: str) -> None:
        self._inner.delete(key)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def bucket(home: Path) -> Bucket:
    return Bucket(home)


@pytest.fixture(params=["folder", "bucket"])
def library(request: pytest.FixtureRequest, home: Path, bucket: Bucket, tmp_path: Path) -> Library:
    shelf = LocalStorage(home) if request.param == "folder" else bucket
    return Library(shelf, tmp_path / "cache", CATALOGUE["tiny"], tmp_path / "built-in")


def drop(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def ids(library: Library) -> list[str]:
    return [lora.model_id for lora in library.list()]


def test_what_is_dropped_into_models_shows_up(
    library: Library, home: Path, lora_file: Write
) -> None:
    assert ids(library) == []
    source = lora_file(kohya(pairs()), trigger_words=["tok"])
    drop(source, home / "models/alone.safetensors")
    drop(source, home / "models/folder/any name.safetensors")
    drop(source, home / "models/me/mine/weights.safetensors")
    drop(source, home / "models/run/step-100.safetensors")
    drop(source, home / "models/run/step-200.safetensors")
    (home / "models/notes.txt").write_text("not one")
    assert ids(library) == ["alone", "folder", "me/mine", "run/step-100", "run/step-200"]
    lora = library.get("me/mine")
    assert lora.trigger_words == ("tok",)
    assert lora.fit.fits
    assert library.fetch("me/mine").job.result() == tensors_sha256(source)
    assert library.get("me/mine").sha256 == tensors_sha256(source)
    assert library.path("me/mine").read_bytes() == source.read_bytes()


def test_an_import_is_listed_kept_and_edited(library: Library, lora_file: Write) -> None:
    source = lora_file(kohya(pairs()), "My Løra v2.safetensors")
    lora = library.import_file(source, name="My LoRA", trigger_words=("tok",))
    assert (lora.model_id, lora.name, lora.trigger_words) == ("my-l-ra-v2", "My LoRA", ("tok",))
    again = library.import_file(source)
    assert again.model_id == "my-l-ra-v2-2"
    edited = library.update(lora.model_id, default_weight=1.2, notes="good at 1.2")
    assert (edited.name, edited.default_weight, edited.notes) == ("My LoRA", 1.2, "good at 1.2")
    assert library.get(lora.model_id) == edited
    library.delete(lora.model_id)
    assert ids(library) == ["my-l-ra-v2-2"]
    with pytest.raises(LoraNotFound):
        library.get(lora.model_id)


def test_a_hash_finds_it_under_any_name(library: Library, home: Path, lora_file: Write) -> None:
    source = lora_file(kohya(pairs()))
    sha256 = library.import_file(source, "mine").sha256
    drop(lora_file(kohya(pairs(1)), "b.safetensors"), home / "models/another.safetensors")
    (home / "models/mine/mine.safetensors").rename(home / "models/renamed.safetensors")
    (home / "models/broken.safetensors").write_bytes(b"PK")
    assert library.by_hash("0" * 64) is None
    assert library.fetch("renamed").job.result() == sha256
    found = library.by_hash(sha256)
    assert found is not None
    assert found.model_id == "renamed"


def test_deleting_can_be_undone(library: Library, home: Path, lora_file: Write) -> None:
    source = lora_file(kohya(pairs()))
    lora = library.import_file(source, "me/mine", name="mine")
    library.delete("me/mine")
    assert [path for path in home.glob("models/**/*") if path.is_file()] == []
    with pytest.raises(LoraNotFound):
        library.get("me/mine")
    assert library.path("me/mine").read_bytes() == source.read_bytes(), "what waits for it fails"
    assert library.restore("me/mine").sha256 == lora.sha256
    assert library.get("me/mine").name == "mine"
    assert [path for path in home.glob("trash/**/*") if path.is_file()] == []
    with pytest.raises(Conflict):
        library.restore("me/mine")
    with pytest.raises(LoraNotFound):
        library.restore("me")


@pytest.mark.parametrize("model_id", ["../x", "/etc", "a//b", ".hidden", "A", "a b", "a/../b", ""])
def test_ids_are_looked_up_and_never_joined(
    model_id: str, library: Library, lora_file: Write, home: Path
) -> None:
    drop(lora_file(kohya(pairs())), home / "secret.safetensors")
    for call in (library.get, library.path, library.delete, library.preview):
        with pytest.raises(LoraNotFound):
            call(model_id)
    if model_id:
        with pytest.raises(InvalidRequest):
            library.import_file(lora_file(kohya(pairs())), model_id)
    assert (home / "secret.safetensors").exists()


def test_a_taken_id_is_refused(library: Library, lora_file: Write) -> None:
    library.import_file(lora_file(kohya(pairs())), "mine")
    with pytest.raises(InvalidRequest, match="already"):
        library.import_file(lora_file(kohya(pairs())), "mine")


def test_damaged_and_foreign_files_are_not_imported(
    library: Library, lora_file: Write, tmp_path: Path
) -> None:
    (tmp_path / "page.safetensors").write_text("<html>")
    with pytest.raises(LoraUnreadable, match="web page"):
        library.import_file(tmp_path / "page.safetensors")
    sdxl = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
    foreign = {
        f"{sdxl}.lora_down.weight": torch.ones(2, 2048),
        f"{sdxl}.lora_up.weight": torch.ones(640, 2),
    }
    with pytest.raises(LoraMisfit, match="SDXL"):
        library.import_file(lora_file(foreign))
    assert ids(library) == []


def test_a_flux1_lora_is_kept_for_another_base_model(library: Library, lora_file: Write) -> None:
    name = "transformer.transformer_blocks.0.attn.to_q"
    flux1 = {
        f"{name}.lora_A.weight": torch.ones(2, 3072),
        f"{name}.lora_B.weight": torch.ones(3072, 2),
    }
    fit = library.import_file(lora_file(flux1), "big").fit
    assert not fit.fits
    assert "FLUX.1" in fit.verdict


def test_a_damaged_file_is_listed_with_its_cause(library: Library, home: Path) -> None:
    (home / "models").mkdir(parents=True)
    (home / "models/broken.safetensors").write_bytes(b"PK\x03\x04" + bytes(40))
    (lora,) = library.list()
    assert (lora.model_id, lora.fit.fits) == ("broken", False)
    assert "zip" in lora.fit.verdict
    assert library.get("broken") == lora


def test_a_card_edited_by_hand_does_no_harm(library: Library, home: Path, lora_file: Write) -> None:
    drop(lora_file(kohya(pairs())), home / "models/mine/a.safetensors")
    card = home / "models/mine/model.json"
    for text in (
        "{",
        "[]",
        '{"trigger_words": 3, "default_weight": "high"}',
        '{"default_weight": 9}',
    ):
        card.write_text(text)
        (lora,) = library.list()
        assert (lora.name, lora.default_weight, lora.trigger_words) == ("mine", 0.8, ())
    card.write_text('{"name": "Mine", "default_weight": 1, "trigger_words": ["a"], "other": 1}')
    (lora,) = library.list()
    assert (lora.name, lora.default_weight, lora.trigger_words) == ("Mine", 1.0, ("a",))


def test_what_came_with_fluxui(library: Library, lora_file: Write, tmp_path: Path) -> None:
    source = lora_file(kohya(pairs()))
    drop(source, tmp_path / "built-in/tok/tok.safetensors")
    card = {"model_id": "tok", "name": "Tok", "trigger_words": ["tok"], "default_weight": 1.0}
    (tmp_path / "built-in/tok/model.json").write_text(json.dumps(card))
    (tmp_path / "built-in/tok/preview.webp").write_bytes(b"picture")
    wide = {
        "transformer.x_embedder.lora_A.weight": torch.ones(2, 512),
        "transformer.x_embedder.lora_B.weight": torch.ones(256, 2),
    }
    drop(lora_file(wide, "w.safetensors"), tmp_path / "built-in/unfit/w.safetensors")
    (lora,) = library.list()
    assert (lora.name, lora.built_in, lora.default_weight) == ("Tok", True, 1.0)
    assert library.preview("tok") == b"picture"
    assert library.path("tok").read_bytes() == source.read_bytes()
    with pytest.raises(InvalidRequest, match="came with fluxui"):
        library.delete("tok")
    assert library.update("tok", name="Mine now").name == "Mine now"
    assert library.get("tok").trigger_words == ("tok",)


def test_an_import_into_a_bucket_is_not_fetched_back(
    bucket: Bucket, tmp_path: Path, lora_file: Write
) -> None:
    library = Library(bucket, tmp_path / "cache", CATALOGUE["tiny"], tmp_path / "none")
    source = lora_file(kohya(pairs()))
    lora = library.import_file(source, "mine")
    assert lora.sha256 == tensors_sha256(source)
    assert bucket.opened == ["models/mine/mine.safetensors"]  # its header
    assert not library.is_here("mine")


def test_a_bucket_is_asked_for_bytes_once(
    bucket: Bucket, home: Path, tmp_path: Path, lora_file: Write
) -> None:
    drop(lora_file(lettered("transformer.")(pairs())), home / "models/mine.safetensors")
    library = Library(bucket, tmp_path / "cache", CATALOGUE["tiny"], tmp_path / "none")
    for _ in range(3):
        library.list()
    assert bucket.opened == ["models/mine.safetensors"]
    for _ in range(3):
        assert library.get("mine").sha256 == ""
    assert len(bucket.opened) == 1
    for _ in range(3):
        library.fetch("mine").job.result()
    assert len(bucket.opened) == 2
    drop(lora_file(kohya(pairs(1))), home / "models/mine.safetensors")
    assert library.list()[0].fit.format == "kohya"
    assert library.update("mine", name="Mine").sha256 == ""  # no reason to fetch it
    sha256 = library.fetch("mine").job.result()
    assert sha256 == tensors_sha256(home / "models/mine.safetensors")
    assert library.get("mine").sha256 == sha256
    assert not list((tmp_path / "cache").rglob("*.part"))


def test_all_that_comes_with_fluxui_fits_the_built_in_model(tmp_path: Path) -> None:
    library = Library(LocalStorage(tmp_path), tmp_path / "cache", CATALOGUE["tiny"])
    loras = library.list()
    assert {path.parent.name for path in BUILT_IN.glob("*/model.json")} == {
        lora.model_id for lora in loras
    }
    for lora in loras:
        delta = read(library.path(lora.model_id), CATALOGUE["tiny"].targets())
        assert len(delta) == lora.fit.layers
        assert lora.trigger_words
        assert library.preview(lora.model_id)


def test_a_file_that_is_still_arriving_says_so_until_it_is_whole(
    library: Library, home: Path, lora_file: Write
) -> None:
    data = lora_file(kohya(pairs())).read_bytes()
    target = home / "models/late.safetensors"
    target.parent.mkdir(parents=True)
    for part in (0, 2000, len(data) - 10):
        target.write_bytes(data[:part])
        (lora,) = library.list()
        assert (lora.fit.fits, "arriving" in lora.fit.verdict) == (False, True), part
    os.utime(target, (0, 0))  # nobody writes it any more
    assert "cut off" in library.list()[0].fit.verdict
    target.write_bytes(data)
    assert library.list()[0].fit.fits


def test_a_restart_reads_nothing_again(
    bucket: Bucket, home: Path, tmp_path: Path, lora_file: Write
) -> None:
    for name in ("one", "two"):
        drop(lora_file(kohya(pairs()), trigger_words=["tok"]), home / f"models/{name}.safetensors")
    first = Library(bucket, tmp_path / "cache", CATALOGUE["tiny"], tmp_path / "none")
    first.update("one", name="One", favourite=True)
    for name in ("one", "two"):
        first.fetch(name).job.result()
    told = [first.get("one"), first.get("two")]
    bucket.opened.clear()
    again = Library(bucket, tmp_path / "cache", CATALOGUE["tiny"], tmp_path / "none")
    assert again.list() == told
    assert again.by_hash(told[0].sha256) == told[0]
    assert again.is_here("one")
    assert bucket.opened == []


def test_what_was_not_looked_at_yet_is_listed_and_comes_in_time(
    bucket: Bucket, home: Path, tmp_path: Path, lora_file: Write
) -> None:
    for name in ("one", "two"):
        drop(lora_file(kohya(pairs())), home / f"models/{name}.safetensors")
    library = Library(bucket, tmp_path / "cache", CATALOGUE["tiny"], tmp_path / "none")
    bucket.gate.clear()
    assert [(one.model_id, one.seen) for one in library.list(patience=0.01)] == [
        ("one", False),
        ("two", False),
    ]
    assert library.left == 2
    bucket.gate.set()
    assert all(one.seen and one.fit.fits for one in library.list(patience=None))
    assert library.left == 0
    library.close()
