from __future__ import annotations

import hashlib
import io
import zipfile
from typing import BinaryIO

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from fluxui.errors import StorageUnavailable
from fluxui.storage.local import LocalStorage
from fluxui.studio import Studio
from tests.conftest import paint


def test_the_bytes_are_those_that_were_recorded(client: TestClient, studio: Studio) -> None:
    generation = paint(studio)
    answer = client.get(f"/api/images/{generation.id}/1")
    assert hashlib.sha256(answer.content).hexdigest() == generation.images[0].sha256
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "private" in answer.headers["cache-control"]


def test_a_browser_that_has_it_gets_nothing(client: TestClient, studio: Studio) -> None:
    url = f"/api/images/{paint(studio).id}/1"
    etag = client.get(url).headers["etag"]
    again = client.get(url, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(url, headers={"If-None-Match": '"other"'}).status_code == 200


def test_thumb_and_download(client: TestClient, studio: Studio) -> None:
    generation = paint(studio)
    thumb = client.get(f"/api/images/{generation.id}/1?thumb=1")
    assert thumb.headers["content-type"] == "image/webp"
    assert thumb.content[8:12] == b"WEBP"
    saved = client.get(f"/api/images/{generation.id}/1?download=1")
    assert saved.headers["content-disposition"] == f'attachment; filename="{generation.id}_1.png"'


def test_a_bucket_is_redirected_to_and_never_remembered(
    client: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = paint(studio)
    monkeypatch.setattr(
        LocalStorage, "url", lambda self, key, seconds=3600: f"https://bucket.test/{key}?signed"
    )
    url = f"/api/images/{generation.id}/1"
    answer = client.get(url, follow_redirects=False)
    assert answer.status_code == 307
    assert answer.headers["location"].startswith("https://bucket.test/generated/")
    assert answer.headers["cache-control"] == "no-store"
    assert client.get(f"{url}?download=1", follow_redirects=False).status_code == 200


@pytest.mark.parametrize("index", ["0", "2", "-1", "99999999999999999999"])
def test_an_unknown_image_is_404(client: TestClient, studio: Studio, index: str) -> None:
    answer = client.get(f"/api/images/{paint(studio).id}/{index}")
    assert (answer.status_code, answer.json()["code"]) == (404, "image_not_found")


def test_an_index_that_is_no_number_is_refused(client: TestClient, studio: Studio) -> None:
    answer = client.get(f"/api/images/{paint(studio).id}/first")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_a_picture_that_left_the_storage_is_404(client: TestClient, studio: Studio) -> None:
    generation = paint(studio)
    (studio.settings.data_dir / generation.images[0].key).unlink()
    answer = client.get(f"/api/images/{generation.id}/1")
    assert (answer.status_code, answer.json()["code"]) == (404, "object_not_found")


def names_in(answer: Response) -> list[str]:
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == 'attachment; filename="fluxui-pictures.zip"'
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    return archive.namelist()


def test_selected_and_all_as_a_zip(client: TestClient, studio: Studio) -> None:
    first, second = paint(studio, "a", num_images=2), paint(studio, "b")
    chosen = {"pictures": f"{first.id}/1 {second.id}/1"}
    assert len(names_in(client.post("/api/images.zip", data=chosen))) == 3
    assert len(names_in(client.get("/api/images.zip"))) == 4
    assert len(names_in(client.get("/api/images.zip?q=b"))) == 2
    assert names_in(client.get("/api/images.zip?q=nothing")) == ["history.jsonl"]


@pytest.mark.parametrize("pictures", ["x", "x/y", "x/1 y", "x/99999"])
def test_a_selection_that_is_none_is_refused(client: TestClient, pictures: str) -> None:
    answer = client.post("/api/images.zip", data={"pictures": pictures})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_a_zip_from_a_storage_that_is_away_is_an_answer(
    client: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(studio)

    def away(self: LocalStorage, key: str) -> BinaryIO:
        raise StorageUnavailable("The bucket's server does not answer.")

    monkeypatch.setattr(LocalStorage, "open", away)
    assert client.get("/api/images.zip").status_code == 503
