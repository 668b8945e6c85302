"""The header of a file: what it tells of a LoRA, and what is said of a file that is none."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
import torch

from fluxui.errors import LoraUnreadable
from fluxui.loras.header import (
    MAX_HEADER,
    MAX_TENSORS,
    Fit,
    inspect,
    opened,
    plan_file,
    read_header,
    tensors_sha256,
)
from tests.loras.truth import LAYOUTS, RANK, kohya, lettered, pairs, targets
from tests.loras.wild import ROWS

Write = Callable[..., Path]


def report(path: Path) -> Fit:
    with opened(path) as (stream, size):
        return inspect(stream, size, targets(), "tiny")[0]


def packed(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def refused(content: bytes) -> str:
    with pytest.raises(LoraUnreadable) as caught:
        read_header(BytesIO(content), len(content))
    return caught.value.message


def test_the_report_of_a_kohya_file(lora_file: Write) -> None:
    fit = report(lora_file(kohya(pairs())))
    assert fit == Fit("kohya", RANK, 2.0, "tiny", 20, 20, True, fit.verdict)
    assert fit.verdict == "Fits tiny: 20 of 62 layers."


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_fits(layout: str, lora_file: Write) -> None:
    fit = report(lora_file(LAYOUTS[layout](pairs())))
    assert fit.fits
    assert fit.layers == fit.layers_total == (8 if layout.startswith("xlabs") else 20)
    assert fit.format != "LoRA" or "no-prefix" in layout


def test_what_is_left_out_is_named(lora_file: Write) -> None:
    words = {"bundle_emb.tok.clip_l": torch.ones(1, 128), "bundle_emb.tok.t5": torch.ones(1, 192)}
    fit = report(lora_file(kohya(pairs()) | words))
    assert fit.left_out == tuple(words)
    assert fit.verdict.endswith("Left out: bundle_emb.tok.clip_l and 1 more.")


def test_text_encoders_are_counted(lora_file: Write) -> None:
    layer = "lora_te1_text_model_encoder_layers_0_mlp_fc1"
    text = {
        f"{layer}.lora_down.weight": torch.ones(2, 128),
        f"{layer}.lora_up.weight": torch.ones(256, 2),
    }
    fit = report(lora_file(kohya(pairs()) | text))
    assert (fit.layers, fit.layers_total) == (21, 21)
    assert fit.verdict == "Fits tiny: 20 of 62 layers, and 1 of its text encoders."


def test_differences_of_zero_are_no_layers(lora_file: Write) -> None:
    zero = {
        "diffusion_model.double_blocks.0.img_attn.proj.diff": torch.zeros(256, 256),
        "diffusion_model.double_blocks.0.img_attn.proj.diff_b": torch.zeros(256),
    }
    path = lora_file(kohya(pairs()) | zero)
    assert report(path).layers == 20
    with opened(path) as (stream, size):
        found = plan_file(read_header(stream, size), targets(), stream)
    assert found.empty == tuple(zero)


@pytest.mark.parametrize("name", ROWS)
def test_every_tensor_is_accounted_for(name: str, lora_file: Write) -> None:
    row = ROWS[name]()
    with opened(lora_file(row.tensors, **row.metadata)) as (stream, size):
        found = plan_file(read_header(stream, size), targets(), stream)
    used = [key for piece in found.pieces for key in piece.method.tensors.values()]
    alphas = {key for key in row.tensors if key.endswith(".alpha")}
    assert len(set(used)) == len(used)
    assert {*used, *found.empty, *found.left_out} | alphas == row.tensors.keys()


def test_a_misfit_gets_a_report_and_no_error(lora_file: Write) -> None:
    flux1 = {
        "transformer.transformer_blocks.0.attn.to_q.lora_A.weight": torch.ones(2, 3072),
        "transformer.transformer_blocks.0.attn.to_q.lora_B.weight": torch.ones(3072, 2),
    }
    fit = report(lora_file(flux1))
    assert (fit.fits, fit.base_family, fit.layers) == (False, "FLUX.1", 0)
    assert "256x256" in fit.verdict


def test_every_way_of_cutting_a_file_off(lora_file: Write) -> None:
    whole = lora_file(kohya(pairs())).read_bytes()
    for length in (0, 5, 8, 100, 2000, len(whole) // 2, len(whole) - 1):
        message = refused(whole[:length])
        assert "cut off" in message or "empty" in message or "not a safetensors" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>Log in</body></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (b"\x80\x02}q\x00(X\x05\x00\x00\x00", "pickle"),
        (b"\x1f\x8b\x08\x00" + bytes(20), "gzip"),
        (b"hello, I am a LoRA", "not a safetensors"),
        (packed({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}), "cut off"),
        (
            packed({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(8)),
            "damaged",
        ),
        (packed({"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}, bytes(8)), "type"),
        (
            packed({"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}, bytes(8)),
            "damaged",
        ),
        (packed({"a": {"dtype": "OBJ", "shape": [1], "data_offsets": [0, 4]}}, bytes(8)), "OBJ"),
        (
            packed({"a\n": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(8)),
            "damaged",
        ),
        (packed({"a": []}), "damaged"),
        (packed([1, 2]), "not one of safetensors"),
        (struct.pack("<Q", 3_000_000) + b"[" * 3_000_000, "not a safetensors"),
        (struct.pack("<Q", MAX_HEADER + 1) + b"{" + bytes(MAX_HEADER), "too large"),
        (struct.pack("<Q", 2**63) + b"{", "cut off"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_lora_is_named(content: bytes, words: str) -> None:
    assert words in refused(content)


def test_a_zip_under_our_suffix(tmp_path: Path) -> None:
    path = tmp_path / "renamed.safetensors"
    torch.save({"a": torch.ones(2)}, path)
    assert zipfile.is_zipfile(path)
    assert "pickle" in refused(path.read_bytes())


def test_too_many_tensors() -> None:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    names = {f"t{count}": entry for count in range(MAX_TENSORS + 1)}
    assert "20,000" in refused(packed(names))


@pytest.mark.parametrize("name", ["lora.SAFETENSORS", "lora.pt", "lora.safetensors.bin", "lora"])
def test_only_the_exact_suffix_is_opened(name: str, lora_file: Write) -> None:
    path = lora_file(kohya(pairs()), name)
    with pytest.raises(LoraUnreadable, match="not named"), opened(path):
        pass


def test_a_folder_or_a_pipe_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(LoraUnreadable, match="not a file"), opened(tmp_path / "folder.safetensors"):
        pass


def test_the_hash_is_of_the_tensors_not_of_the_words(lora_file: Write) -> None:
    tensors = lettered("transformer.")(pairs())
    one = tensors_sha256(lora_file(tensors, "one.safetensors", title="one"))
    two = tensors_sha256(lora_file(tensors, "two.safetensors", title="two", author="me"))
    scaled = tensors_sha256(
        lora_file(tensors, "three.safetensors", lora_adapter_metadata={"transformer.lora_alpha": 9})
    )
    other = tensors_sha256(lora_file(lettered("transformer.")(pairs(1)), "four.safetensors"))
    assert one == two
    assert len({one, scaled, other}) == 3
