"""What only a strict server can tell (signatures, digests, expiry), and errors in a sentence."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fluxui.errors import (
    ConfigurationError,
    ObjectNotFound,
    StorageError,
    StorageFull,
    StorageRefused,
    StorageUnavailable,
)
from fluxui.loras.library import Library
from fluxui.pipeline.base_models import CATALOGUE
from fluxui.settings import Settings
from fluxui.storage.s3 import S3Storage
from tests.storage.servers import FaultyLine, S3Server


@pytest.fixture
def storage(seaweedfs: S3Server, tmp_path: Path) -> S3Storage:
    return S3Storage(seaweedfs.settings(tmp_path, s3_prefix="/strict/"))


def fetch(url: str) -> tuple[int, bytes, Any]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


def test_objects_lie_under_the_prefix(storage: S3Storage, seaweedfs: S3Server) -> None:
    storage.put("a/b.png", b"x", "image/png")
    head = seaweedfs.client().head_object(Bucket=seaweedfs.bucket, Key="strict/a/b.png")
    assert (head["ContentType"], head["ContentDisposition"]) == ("image/png", "inline")


def test_a_browser_opens_the_url_and_nobody_else_does(storage: S3Storage) -> None:
    storage.put("é 雪/picture.png", b"pixels", "image/png")
    url = storage.url("é 雪/picture.png")
    assert url is not None
    status, body, headers = fetch(url)
    assert (status, body, headers["Content-Type"]) == (200, b"pixels", "image/png")
    assert headers["Content-Disposition"] == "inline"
    assert fetch(url.partition("?")[0])[0] == 403
    assert fetch(url.replace("picture", "another"))[0] == 403
    assert "AWS4-HMAC-SHA256" in url and "fluxui-test-secret" not in url


def test_a_url_lives_an_hour_at_most_and_then_dies(storage: S3Storage) -> None:
    storage.put("a", b"x", "text/plain")
    assert "X-Amz-Expires=3600" in (storage.url("a", 999_999) or "")
    url = storage.url("a", 1) or ""
    assert fetch(url)[0] == 200
    time.sleep(2.1)
    assert fetch(url)[0] == 403


def test_the_server_checks_what_we_send(storage: S3Storage, seaweedfs: S3Server) -> None:
    with pytest.raises(ClientError, match="BadDigest"):
        seaweedfs.client().put_object(
            Bucket=seaweedfs.bucket,
            Key="strict/broken",
            Body=b"sent",
            ChecksumSHA256=b64encode(hashlib.sha256(b"meant").digest()).decode(),
        )
    with pytest.raises(ObjectNotFound):
        storage.open("broken")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"s3_bucket_name": "no-such-bucket"}, "There is no bucket with this name."),
        ({"aws_access_key_id": "somebody-else"}, "does not know this access key"),
        ({"aws_secret_access_key": "wrong"}, "The secret key does not belong to this access key."),
    ],
)
def test_wrong_settings_are_told_apart(
    seaweedfs: S3Server, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    storage = S3Storage(seaweedfs.settings(tmp_path, **changes))
    for call in (storage.check, lambda: storage.put("a", b"x", "text/plain")):
        with pytest.raises(StorageRefused, match=sentence) as caught:
            call()
        assert caught.value.hint


def test_a_missing_bucket_is_never_made(seaweedfs: S3Server, tmp_path: Path) -> None:
    storage = S3Storage(seaweedfs.settings(tmp_path, s3_bucket_name="misspelt"))
    with pytest.raises(StorageRefused):
        storage.put("a", b"x", "text/plain")
    buckets = seaweedfs.client().list_buckets()["Buckets"]
    assert [bucket["Name"] for bucket in buckets] == [seaweedfs.bucket]


@pytest.mark.parametrize(
    ("mode", "error", "sentence"),
    [
        ("hang", StorageUnavailable, "does not answer"),
        ("reset", StorageUnavailable, "does not answer"),
        ("503 SlowDown", StorageUnavailable, "answers with an error .SlowDown."),
        ("500 InternalError", StorageUnavailable, "answers with an error .InternalError."),
        ("400 ExpiredToken", StorageRefused, "have expired"),
        ("403 RequestTimeTooSkewed", StorageRefused, "clock"),
        ("403 AccessDenied", StorageRefused, "refuses these keys"),
        ("403", StorageRefused, "refuses these keys"),
        ("400 AuthorizationHeaderMalformed", StorageRefused, "another region"),
    ],
)
def test_a_broken_line_is_one_sentence(
    line: FaultyLine, tmp_path: Path, mode: str, error: type[StorageError], sentence: str
) -> None:
    storage = S3Storage(line.server.settings(tmp_path))
    line.mode = mode
    with pytest.raises(error, match=sentence) as caught:
        storage.put("a", b"x", "text/plain")
    assert caught.value.hint and line.server.secret not in str(caught.value.__cause__)


@pytest.mark.parametrize("mode", ["403 AccessDenied", "403"])
def test_keys_that_may_not_list_are_told_so_and_loras_too(
    line: FaultyLine, tmp_path: Path, mode: str
) -> None:
    storage = S3Storage(line.server.settings(tmp_path))
    line.mode = mode
    library = Library(storage, tmp_path / "cache", CATALOGUE["tiny"], tmp_path / "none")
    assert library.list() == []
    problem = library.listing.problem
    assert problem
    assert problem.message == "The bucket refuses these keys a list of what is in it."
    assert "list, read, write and delete" in problem.hint
    library.close()


def test_refused_is_one_sentence(line: FaultyLine, tmp_path: Path) -> None:
    storage = S3Storage(line.server.settings(tmp_path))
    line.close()
    with pytest.raises(StorageUnavailable, match="does not answer"):
        storage.check()


def test_a_full_bucket_is_full(line: FaultyLine, tmp_path: Path) -> None:
    line.mode = "507 XMinioStorageFull"
    with pytest.raises(StorageFull):
        S3Storage(line.server.settings(tmp_path)).put("a", b"x", "text/plain")


def test_a_line_that_breaks_while_reading(line: FaultyLine, tmp_path: Path) -> None:
    storage = S3Storage(line.server.settings(tmp_path, s3_prefix="cut"))
    storage.put("large", b"x" * 3_000_000, "image/png")
    with storage.open("large") as stream:
        stream.read(1000)
        line.mode = "reset"
        line.cut()
        with pytest.raises(StorageUnavailable, match="does not answer"):
            stream.read()


def test_what_is_not_read_does_not_travel(
    seaweedfs: S3Server, line: FaultyLine, tmp_path: Path
) -> None:
    S3Storage(seaweedfs.settings(tmp_path)).put("large", bytes(8_000_000), "image/png")
    storage = S3Storage(line.server.settings(tmp_path))
    with storage.open("large") as stream:
        stream.read(8)
        stream.read(150_000)
    assert line.passed < 200_000


def test_what_is_replaced_while_it_is_read_is_no_mixture(
    storage: S3Storage,
) -> None:
    storage.put("large", bytes(3_000_000), "image/png")
    with storage.open("large") as stream:
        stream.read(1000)
        storage.put("large", b"x" * 3_000_000, "image/png")
        with pytest.raises(StorageUnavailable, match="replaced"):
            stream.read()
    with storage.open("large") as stream:
        stream.read(1000)
        storage.delete("large")
        with pytest.raises(ObjectNotFound):
            stream.read()


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"s3_endpoint_url": "localhost:1"}, "URL"), ({"s3_bucket_name": "Not A Bucket!"}, "BUCKET")],
)
def test_settings_that_no_server_can_have(
    seaweedfs: S3Server, tmp_path: Path, changes: dict[str, str], word: str
) -> None:
    with pytest.raises(ConfigurationError, match=word):
        S3Storage(seaweedfs.settings(tmp_path, **changes)).check()


def test_without_keys_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    settings = Settings(
        _env_file=None, data_dir=tmp_path, s3_bucket_name="b-b-b", s3_endpoint_url="http://[::1]:9"
    )
    with pytest.raises(StorageRefused, match="no keys"):
        S3Storage(settings).url("a")


@pytest.mark.parametrize(
    ("changes", "start", "region"),
    [
        ({"s3_region": "eu-west-1"}, "https://pics.s3.eu-west-1.amazonaws.com/a", "eu-west-1"),
        ({"s3_endpoint_url": "https://x.r2.cloudflarestorage.com"}, "https://x.r2.", "auto"),
        ({"s3_endpoint_url": "https://minio:9000"}, "https://minio:9000/pics/a", "us-east-1"),
    ],
)
def test_each_kind_of_server_gets_its_own_urls(
    tmp_path: Path, changes: dict[str, str], start: str, region: str
) -> None:
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    values = {"data_dir": tmp_path, "s3_bucket_name": "pics", **keys, **changes}
    url = S3Storage(Settings(_env_file=None, **values)).url("a.png") or ""
    assert url.startswith(start) and f"%2F{region}%2Fs3%2Faws4_request" in url


def test_boto3_waits_for_the_first_call() -> None:
    code = "import sys, fluxui.storage.s3, fluxui.storage.spool; print('boto3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
