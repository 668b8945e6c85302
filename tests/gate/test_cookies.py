from __future__ import annotations

import stat
from pathlib import Path

import pytest

from fluxui.gate.cookies import KEY_FILE, Signer, read_key

KEY = b"k" * 32
SIGNER = Signer(KEY, "who")


def test_what_we_signed_comes_back() -> None:
    assert SIGNER.read(f"other=1; who={SIGNER.sign('ann')}; more=2") == "ann"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "who=ann",
        "who=ann.",
        "who=.",
        f"who=bob.{SIGNER.sign('ann').partition('.')[2]}",
        f"who={SIGNER.sign('ann')[:-1]}",
        f"who={SIGNER.sign('ann')}0",
        f"who={Signer(KEY, 'other').sign('ann')}",
        f"who={Signer(KEY, 'who', 'salt').sign('ann')}",
        f"who={Signer(b'x' * 32, 'who').sign('ann')}",
        f"other={SIGNER.sign('ann')}",
        'who="ann.\\303\\274"',
        "who=\x00; =; ;;;",
    ],
)
def test_what_we_did_not_sign_is_nothing(header: str) -> None:
    assert SIGNER.read(header) is None


def test_the_attributes() -> None:
    plain = SIGNER.header("ann", secure=False)
    assert plain.startswith(f"who={SIGNER.sign('ann')}; Path=/; Max-Age=")
    assert plain.endswith("; HttpOnly; SameSite=Lax")
    assert SIGNER.header("ann", secure=True).endswith("; HttpOnly; SameSite=Lax; Secure")
    framed = SIGNER.header("ann", secure=False, framed=True)
    assert framed.endswith("; HttpOnly; SameSite=None; Secure; Partitioned")


def test_the_key_is_made_once_and_is_nobody_elses(tmp_path: Path) -> None:
    key = read_key(tmp_path)
    assert read_key(tmp_path) == key and len(key) == 32
    assert read_key_of_another(tmp_path) != key
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600


def read_key_of_another(folder: Path) -> bytes:
    (folder / "other").mkdir()
    return read_key(folder / "other")
