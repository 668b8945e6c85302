"""Every stage takes a step on the smallest of everything, and its loss is a finite number."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from tinyflux import album, autoencoder, flow, painting, words
from tinyflux.guidance import ANEW, Guiding
from tinyflux.judge import ANSWERS, Judging
from tinyflux.reading import TOLD, Reading


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    words.save_tokenizers(path)
    Reading(path, batch=2).save(path)
    return path


class Classroom:
    """Two latents of 64×64 pictures and their words, for every step."""

    steps = 10

    def lesson(self, step: int) -> painting.Lesson:
        latents = torch.randn(2, 16, 8, 8)
        return painting.Lesson(latents, ["a red house at night", ""], torch.ones(2, 16))


def test_the_tokenizers_come_back_from_disk_as_they_were(folder: Path) -> None:
    t5 = words.PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer_2")
    clip = words.CLIPTokenizer.from_pretrained(folder / "tokenizer")
    for tokenizer, length in ((t5, words.WORDS), (clip, words.POOLED_WORDS)):
        plain = words.ids(tokenizer, ["a red house on the left"], length)
        assert torch.equal(plain, words.ids(tokenizer, ["A Red HOUSE on the LEFT"], length))
        assert plain.shape == (1, length)
        strange = words.ids(tokenizer, ["zorka 火 schloß"], length)
        assert not torch.equal(strange, words.ids(tokenizer, [""], length))
    assert t5.tokenize("two lighthouses, TOK") == ["▁two", "▁lighthouses", "▁,", "▁tok"]
    assert clip.unk_token_id not in clip("火 ß").input_ids[1:-1]


def test_a_step_of_the_encoders_and_what_they_tell(folder: Path) -> None:
    stage = Reading(folder, batch=4)
    assert torch.isfinite(stage.loss(0))
    for said in stage.reader(["a red house on the left, pixel art"]):
        assert {name: scores.shape[1] for name, scores in said.items()} == {
            name: len(answers) + 1 for name, answers in TOLD.items()
        }


def test_a_step_of_the_transformer_and_of_its_guidance(folder: Path) -> None:
    stage = painting.Painting(folder, Classroom())
    loss = stage.loss(0)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(part.grad is not None for part in stage.module.parameters())
    assert not any(part.requires_grad for part in stage.painter.t5.parameters())
    stage.painter.zero_grad()
    pupil = Guiding(stage.painter, Classroom())
    loss = pupil.loss(0)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(part.grad is None for part in pupil.teacher.parameters())


def test_guidance_goes_on_from_a_checkpoint_as_if_it_had_not_been_stopped(folder: Path) -> None:
    torch.manual_seed(0)
    painter = painting.Painter(folder)

    def loss(stage: Guiding, step: int) -> float:
        torch.manual_seed(step)
        return stage.loss(step).item()

    whole = Guiding(painter, Classroom())
    alone = [loss(whole, step) for step in (0, 1)]
    resumed = Guiding(painter, Classroom())
    assert loss(resumed, 1) != alone[1]  # the crowd of step 0 is not there
    assert loss(whole, ANEW) == loss(resumed, ANEW)


def test_what_is_assembled_is_half_precision_and_names_no_folder_of_this_machine(
    folder: Path,
) -> None:
    transformer = painting.Painter(folder).transformer.to(torch.bfloat16)
    transformer.save_pretrained(folder / "transformer")
    autoencoder.save(
        autoencoder.Autoencoding(1, np.zeros((1, 64, 64, 3), np.uint8)).module, folder / "vae"
    )
    painting.assemble(folder)
    texts = [path.read_text() for path in folder.rglob("*.json")]
    assert not any(str(folder.parent) in text or "TokenizersBackend" in text for text in texts)
    for path in folder.rglob("*.safetensors"):
        with safe_open(path, "pt") as file:
            dtypes = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
        assert dtypes == {"BF16"}, path


def test_a_step_of_the_autoencoder() -> None:
    pictures = np.stack([np.zeros((64, 64, 3), np.uint8)] * 2)
    stage = autoencoder.Autoencoding(10, pictures, crop=32, batch=2)
    assert torch.isfinite(stage.loss(0)) and torch.isfinite(stage.loss(9))


def test_a_step_of_the_judge_and_its_answers() -> None:
    stage = Judging(batch=4)
    assert torch.isfinite(stage.loss(0))
    stage.judge.eval()
    [answer] = stage.judge.answers(torch.zeros(1, 3, 256, 256))
    assert all(answer[name] in ANSWERS[name] for name in ANSWERS)


def test_packing_is_that_of_the_pipeline() -> None:
    from diffusers import FluxPipeline

    latents = torch.randn(2, 16, 8, 12)
    assert torch.equal(flow.pack(latents), FluxPipeline._pack_latents(latents, 2, 16, 8, 12))
    ids = FluxPipeline._prepare_latent_image_ids(1, 4, 6, torch.device("cpu"), torch.float32)
    assert torch.equal(flow.places(8, 12, torch.device("cpu")), ids)


def test_pictures_survive_the_way_to_tensors_and_back() -> None:
    pixels = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    assert np.array_equal(np.asarray(album.image(album.tensor(pixels))), pixels)
