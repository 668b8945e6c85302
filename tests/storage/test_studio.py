"""The whole studio over a bucket: only the painter is not real."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fluxui.errors import StorageRefused
from fluxui.generation import Generation, Status
from fluxui.opening import open_studio
from fluxui.settings import Settings
from fluxui.storage import record_key
from fluxui.studio import Studio
from tests.conftest import FakePipeline, paint
from tests.storage.servers import FaultyLine, S3Server


@pytest.fixture(params=["seaweedfs", "moto"])
def server(request: pytest.FixtureRequest) -> S3Server:
    server: S3Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def studio(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    studio = opened(server.settings(tmp_path / "fluxui", s3_prefix=tmp_path.name), monkeypatch)
    yield studio
    studio.close()


def opened(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Studio:
    monkeypatch.setattr("fluxui.opening.get_pipeline", FakePipeline)
    return open_studio(settings)


def test_a_picture_is_in_the_bucket_and_its_url_opens_without_us(
    studio: Studio, server: S3Server, tmp_path: Path
) -> None:
    done = paint(studio, num_images=2)
    assert done.status is Status.completed
    (second, first) = sorted(studio.pictures.gallery().cards, key=lambda card: -card.image.index)
    for card in (first, second):
        assert card.url.startswith(server.endpoint)
        answer = httpx.get(card.url)
        assert answer.status_code == 200 and len(answer.content) == card.image.bytes
        assert answer.headers["content-type"] == "image/png"
        assert httpx.get(card.thumb_url).headers["content-type"] == "image/webp"
    key = f"{tmp_path.name}/{record_key(done)}"
    body = server.client().get_object(Bucket=server.bucket, Key=key)["Body"].read()
    assert Generation.model_validate(json.loads(body)) == done


def test_delete_and_undo_in_the_bucket(studio: Studio, server: S3Server) -> None:
    done = paint(studio)
    url = studio.pictures.gallery().cards[0].url
    studio.delete(done.id)
    assert httpx.get(url).status_code in (403, 404)  # moto says 403
    assert studio.pictures.restore(done.id) == done
    assert httpx.get(studio.pictures.gallery().cards[0].url).status_code == 200


def test_the_links_of_the_history_hold_no_signature(studio: Studio) -> None:
    done = paint(studio)
    studio.pictures.gallery()
    assert "X-Amz" not in json.dumps(studio.get(done.id).record())


def test_a_wrong_secret_is_one_sentence_before_anything_starts(
    seaweedfs: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = seaweedfs.settings(tmp_path, aws_secret_access_key="wrong-secret-0123456789")
    with pytest.raises(StorageRefused) as caught:
        opened(settings, monkeypatch)
    assert "secret" in caught.value.message and "AWS_SECRET_ACCESS_KEY" in caught.value.hint
    assert "wrong-secret" not in str(caught.value.as_dict())


def test_a_bucket_that_is_away_at_the_start_stops_nothing(
    line: FaultyLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.mode = "reset"
    studio = opened(line.server.settings(tmp_path / "fluxui"), monkeypatch)
    assert paint(studio).status is Status.completed
    assert studio.system().storage.waiting == 3
    assert all(lora.built_in for lora in studio.collection.all())
    studio.close()


def test_a_picture_painted_while_the_bucket_is_away_is_kept_shown_and_sent(
    line: FaultyLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = line.server.settings(tmp_path / "fluxui", s3_prefix=tmp_path.name)
    studio = opened(settings, monkeypatch)
    line.mode = "503 SlowDown"
    line.cut()
    done = paint(studio)
    assert done.status is Status.completed
    assert studio.system().storage.waiting == 3
    (card,) = studio.pictures.gallery().cards
    assert card.url == f"api/images/{done.id}/1"
    with studio.pictures.open(studio.pictures.image(done.id, 1)) as stream:
        assert len(stream.read()) == done.images[0].bytes

    line.mode = "pass"
    until = time.monotonic() + 30
    while studio.system().storage.waiting:
        assert time.monotonic() < until
        time.sleep(0.05)
    (card,) = studio.pictures.gallery().cards
    assert httpx.get(card.url).status_code == 200
    studio.close()
