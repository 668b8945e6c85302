"""LoRAs from a Hub over real HTTP: looked at by a few bytes, fetched once, resumed, verified."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fluxui.errors import (
    FluxuiError,
    HubNotFound,
    HubRefused,
    HubUnavailable,
    InvalidRequest,
    LoraMisfit,
    LoraUnreadable,
)
from fluxui.loras.copies import unheard
from fluxui.loras.hub import Address, Hub
from fluxui.loras.library import Library
from fluxui.pipeline.base_models import CATALOGUE
from fluxui.storage.local import LocalStorage
from tests.lora_files import stranger_lora
from tests.loras.fake_hub import COMMIT, TOKEN, FakeHub, serving_hub
from tests.loras.truth import kohya, pairs

Write = Callable[..., Path]
OWN = Address("owner/name")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, lora_file: Write) -> Iterator[FakeHub]:
    with serving_hub(monkeypatch) as hub:
        # As large as one that is used, so that it counts what of it is read.
        source = lora_file(kohya(pairs()), trigger_words=["tok"], padding="x" * 200_000)
        hub.files["name.safetensors"] = source.read_bytes()
        yield hub


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    shelf = LocalStorage(tmp_path / "home")
    library = Library(shelf, tmp_path / "cache", CATALOGUE["tiny"], tmp_path / "none")
    yield library
    library.close()


def nothing_came(library: Library, tmp_path: Path) -> bool:
    home = tmp_path / "home"
    return library.list() == [] and not [path for path in home.rglob("*") if path.is_file()]


def test_checked_from_its_head_then_fetched(hub: FakeHub, library: Library, tmp_path: Path) -> None:
    source = Hub().find(OWN)
    report = library.reader.check(source)
    assert report.fit.fits
    assert report.trigger_words == ("tok",)
    assert hub.sent <= report.read_bytes + 2 * 128 * 1024
    seen: list[tuple[int, int]] = []
    lora = library.import_from(source, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (source.size, source.size) == (lora.size, lora.size)
    assert lora.origin == {
        "repo_id": "owner/name",
        "filename": "name.safetensors",
        "revision": COMMIT,
    }
    assert (lora.model_id, lora.trigger_words) == ("name", ("tok",))
    assert library.path("name").read_bytes() == hub.files["name.safetensors"]


def test_what_broke_off_goes_on_and_a_copy_is_not_fetched_again(
    hub: FakeHub, library: Library, tmp_path: Path
) -> None:
    size = len(hub.files["name.safetensors"])
    source = Hub().find(OWN)
    library.reader.check(source)
    hub.broken_after = size // 2
    with pytest.raises(HubUnavailable):
        library.reader.fetch(source, unheard)
    assert nothing_came(library, tmp_path)
    hub.broken_after = None
    library.import_from(source, unheard)
    assert hub.asked[-1] == f"bytes={size // 2 // 65536 * 65536}-"
    hub.asked.clear()
    library.reader.fetch(Hub().find(OWN), unheard)
    assert hub.asked == []


@pytest.mark.parametrize(
    ("told", "address"),
    [
        ("owner/name", OWN),
        (" https://huggingface.co/owner/name ", OWN),
        ("https://huggingface.co/owner/name/tree/main", OWN),
        (
            "https://huggingface.co/owner/name/blob/main/a/b.safetensors",
            Address("owner/name", "a/b.safetensors", "main"),
        ),
        *((wrong, None) for wrong in ("", "name", "../x", "a/..", "http://10.0.0.1/x", "a/b c")),
    ],
)
def test_an_address_is_a_name_and_never_a_url(told: str, address: Address | None) -> None:
    if address:
        assert Address.parse(told) == address
    else:
        with pytest.raises(InvalidRequest, match="not the name"):
            Address.parse(told)


def test_which_file_is_asked_for_where_it_is_not_clear(hub: FakeHub) -> None:
    data = hub.files["name.safetensors"]
    hub.files |= {"name-000100.safetensors": data, "notes.txt": b""}
    assert Hub().find(OWN).origin["filename"] == "name.safetensors"
    del hub.files["name.safetensors"]
    hub.files["name-000200.safetensors"] = data
    with pytest.raises(InvalidRequest, match="name-000100.safetensors, name-000200.safetensors"):
        Hub().find(OWN)
    chosen = Hub().find(Address("owner/name", "name-000200.safetensors", "main"))
    assert chosen.origin["filename"] == "name-000200.safetensors"


def find(address: Address = OWN, token: str | None = None) -> Callable[[Library], object]:
    return lambda library: library.reader.check(Hub(token).find(address))


@pytest.mark.parametrize(
    ("state", "call", "kind", "words"),
    [
        ({}, find(Address("owner/other")), HubNotFound, "no model 'owner/other'"),
        ({}, find(Address("owner/name", revision="nope")), HubNotFound, "no revision 'nope'"),
        ({}, find(Address("owner/name", "../../etc")), HubNotFound, "no file '../../etc'"),
        ({"files": {"a.bin": b""}}, find(), HubNotFound, "no .safetensors"),
        ({"gated": True}, find(), HubRefused, "licence"),
        ({}, find(token="hf_wrong"), HubRefused, "does not accept this HF_TOKEN"),
        ({"gone": True}, find(), HubNotFound, "has gone"),
        ({"endpoint": "http://127.0.0.1:9"}, find(), HubUnavailable, "does not answer"),
        ({"files": {"a.safetensors": b"\x80\x04pickle"}}, find(), LoraUnreadable, "pickle"),
        ({"files": {"a.safetensors": b"PK\x03\x04zip"}}, find(), LoraUnreadable, "zip"),
    ],
)
def test_each_refusal_is_one_sentence(
    hub: FakeHub,
    library: Library,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    state: dict[str, object],
    call: Callable[[Library], object],
    kind: type[FluxuiError],
    words: str,
) -> None:
    vars(hub).update(state)
    if "endpoint" in state:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", state["endpoint"])
    with pytest.raises(kind, match=words):
        call(library)
    assert nothing_came(library, tmp_path)


def test_a_header_of_a_million_tensors_is_refused_by_its_length(
    hub: FakeHub, library: Library, tmp_path: Path
) -> None:
    entry = '"t%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    header = ("{" + ",".join(entry % count for count in range(1_000_000)) + "}").encode()
    hub.files = {"wide.safetensors": struct.pack("<Q", len(header)) + header}
    hub.sent = 0
    with pytest.raises(LoraUnreadable, match="header"):
        library.import_from(Hub().find(OWN), unheard)
    assert hub.sent <= 256 * 1024 < len(header)
    assert nothing_came(library, tmp_path)


def test_a_licence_that_was_accepted_opens_it(hub: FakeHub, library: Library) -> None:
    hub.gated = True
    with pytest.raises(HubRefused) as refused:
        library.reader.check(Hub().find(OWN))
    assert "https://huggingface.co/owner/name" in refused.value.hint
    assert library.reader.check(Hub(TOKEN).find(OWN)).fit.fits


def test_what_is_not_as_announced_or_fits_nothing_leaves_nothing(
    hub: FakeHub, library: Library, tmp_path: Path
) -> None:
    hub.lies = True
    with pytest.raises(LoraUnreadable, match="announced"):
        library.import_from(Hub().find(OWN), unheard)
    assert nothing_came(library, tmp_path)
    assert library.copies.used_bytes() == 0
    hub.files, hub.sent = {"sdxl.safetensors": stranger_lora()}, 0
    with pytest.raises(LoraMisfit, match="Stable Diffusion"):
        library.import_from(Hub().find(OWN), unheard)
    assert nothing_came(library, tmp_path)
