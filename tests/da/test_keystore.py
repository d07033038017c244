from __future__ import annotations

import copy
import json
import os
import stat
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from da import bls, keystore

SECRET = (123456789).to_bytes(32, "big")
PASSWORD = "correct horse"
FAST = 16


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "key.json"
    keystore.create(target, SECRET, PASSWORD, iterations=FAST)
    return target


def rewrite(path: Path, document: object) -> None:
    path.write_text(json.dumps(document))


def test_round_trip(path: Path):
    assert keystore.load(path, PASSWORD) == SECRET
    assert keystore.read_public_key(path) == bls.public_key(SECRET)


def test_wrong_password(path: Path):
    with pytest.raises(keystore.WrongPassword):
        keystore.load(path, PASSWORD + "!")


def test_file_is_private_whatever_the_umask(tmp_path: Path):
    before = os.umask(0)
    try:
        keystore.create(tmp_path / "key.json", SECRET, PASSWORD, iterations=FAST)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666, 0o777])
def test_file_that_others_can_touch_is_refused_with_the_remedy(path: Path, mode: int):
    path.chmod(mode)
    with pytest.raises(keystore.KeystorePermissions, match=f"chmod 600 {path}"):
        keystore.load(path, PASSWORD)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_private_modes_are_taken(path: Path, mode: int):
    path.chmod(mode)
    assert keystore.load(path, PASSWORD) == SECRET


def test_never_overwrites(path: Path):
    before = path.read_bytes()
    with pytest.raises(keystore.KeystoreExists):
        keystore.create(path, (5).to_bytes(32, "big"), PASSWORD, iterations=FAST)
    assert path.read_bytes() == before


def test_never_overwrites_a_file_that_appears_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target = tmp_path / "key.json"
    real_link = os.link

    def link_after_another(source: str, destination: Path) -> None:
        Path(destination).write_text("somebody else's")
        real_link(source, destination)

    monkeypatch.setattr(os, "link", link_after_another)
    with pytest.raises(keystore.KeystoreExists):
        keystore.create(target, SECRET, PASSWORD, iterations=FAST)
    assert target.read_text() == "somebody else's"
    assert os.listdir(tmp_path) == ["key.json"]


def test_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        keystore.create(tmp_path / "key.json", SECRET, PASSWORD, iterations=FAST)
    assert os.listdir(tmp_path) == []


def test_nothing_but_the_keystore_is_left(path: Path):
    assert os.listdir(path.parent) == [path.name]


def test_missing_file(tmp_path: Path):
    with pytest.raises(keystore.KeystoreNotFound):
        keystore.load(tmp_path / "none.json", PASSWORD)


def test_a_pipe_or_directory_is_no_keystore(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(keystore.InvalidKeystore, match="regular file"):
        keystore.load(tmp_path / "pipe", PASSWORD)
    with pytest.raises((keystore.InvalidKeystore, IsADirectoryError)):
        keystore.load(tmp_path, PASSWORD)


@pytest.mark.parametrize("password", ["", "\x00\x1f\x7f\x9f"])
def test_empty_password_is_refused(tmp_path: Path, password: str):
    with pytest.raises(keystore.InvalidPassword, match="empty"):
        keystore.create(tmp_path / "key.json", SECRET, password, iterations=FAST)


def test_password_that_is_no_text_is_refused(tmp_path: Path):
    with pytest.raises(keystore.InvalidPassword):
        keystore.create(tmp_path / "key.json", SECRET, "\ud800", iterations=FAST)


def test_passwords_are_normalised_as_the_standard_says(tmp_path: Path):
    keystore.create(tmp_path / "key.json", SECRET, "pa\u0308ss\n", iterations=FAST)
    assert keystore.load(tmp_path / "key.json", "p\u00e4ss") == SECRET


@pytest.mark.parametrize("iterations", [-2, 0, 1, 3, 1000])
def test_iterations_are_a_power_of_two(tmp_path: Path, iterations: int):
    with pytest.raises(ValueError, match="power of two"):
        keystore.create(tmp_path / "key.json", SECRET, PASSWORD, iterations=iterations)


def test_secret_out_of_range_is_refused(tmp_path: Path):
    with pytest.raises(bls.InvalidSecretKey):
        keystore.create(tmp_path / "key.json", bytes(32), PASSWORD, iterations=FAST)


# The vectors of EIP-2335: one password, one secret, both functions.
EIP_2335_PASSWORD = "𝔱𝔢𝔰𝔱𝔭𝔞𝔰𝔰𝔴𝔬𝔯𝔡🔑"
EIP_2335_SECRET = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
EIP_2335_PUBKEY = (
    "9612d7a727c9d0a22e185a1c768478dfe919cada9266988cb32359c11f2b7b27f4ae4040902382ae2910c15e2b420d07"
)
EIP_2335_SALT = "d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3"
EIP_2335_IV = "264daa3f303d7259501c93d997d84fe6"
EIP_2335_CASES = {
    "scrypt": (
        {"dklen": 32, "n": 262144, "p": 1, "r": 8, "salt": EIP_2335_SALT},
        "d2217fe5f3e9a1e34581ef8a78f7c9928e436d36dacc5e846690a5581e8ea484",
        "06ae90d55fe0a6e9c5c3bc5b170827b2e5cce3929ed3f116c2811e6366dfe20f",
    ),
    "pbkdf2": (
        {"dklen": 32, "c": 262144, "prf": "hmac-sha256", "salt": EIP_2335_SALT},
        "8a9f5d9912ed7e75ea794bc5a89bca5f193721d30868ade6f73043c6ea6febf1",
        "cee03fde2af33149775b7223e7845e4fb2c8ae1792e5f99fe9ecf474cc8c16ad",
    ),
}


@pytest.mark.parametrize("function", sorted(EIP_2335_CASES))
def test_vectors_of_the_standard(tmp_path: Path, function: str):
    params, checksum, ciphertext = EIP_2335_CASES[function]
    document = {
        "crypto": {
            "kdf": {"function": function, "params": params, "message": ""},
            "checksum": {"function": "sha256", "params": {}, "message": checksum},
            "cipher": {"function": "aes-128-ctr", "params": {"iv": EIP_2335_IV}, "message": ciphertext},
        },
        "pubkey": EIP_2335_PUBKEY,
        "path": "",
        "uuid": "1d85ae20-35c5-4611-98e8-aa14a633906f",
        "version": 4,
    }
    target = tmp_path / "key.json"
    rewrite(target, document)
    target.chmod(0o600)
    assert keystore.load(target, EIP_2335_PASSWORD).hex() == EIP_2335_SECRET


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("version",), 3),
        (("version",), True),
        (("pubkey",), "00"),
        (("pubkey",), None),
        (("crypto",), []),
        (("crypto", "kdf"), "scrypt"),
        (("crypto", "kdf", "function"), "argon2"),
        (("crypto", "kdf", "function"), "pbkdf2"),
        (("crypto", "kdf", "params", "n"), 3),
        (("crypto", "kdf", "params", "n"), 2**40),
        (("crypto", "kdf", "params", "n"), 16.0),
        (("crypto", "kdf", "params", "n"), "16"),
        (("crypto", "kdf", "params", "r"), 2**30),
        (("crypto", "kdf", "params", "r"), 0),
        (("crypto", "kdf", "params", "p"), 2**20),
        (("crypto", "kdf", "params", "dklen"), 31),
        (("crypto", "kdf", "params", "salt"), "zz"),
        (("crypto", "kdf", "params", "salt"), "abc"),
        (("crypto", "kdf", "params", "salt"), "00" * 4096),
        (("crypto", "cipher", "function"), "aes-256-gcm"),
        (("crypto", "cipher", "params", "iv"), "00"),
        (("crypto", "cipher", "message"), "00" * 31),
        (("crypto", "checksum", "function"), "md5"),
        (("crypto", "checksum", "message"), 5),
    ],
)
def test_damaged_or_absurd_files_are_refused(path: Path, where: tuple[str, ...], value: object):
    document = json.loads(path.read_text())
    inner = document
    for name in where[:-1]:
        inner = inner[name]
    inner[where[-1]] = value
    rewrite(path, document)
    with pytest.raises(keystore.InvalidKeystore):
        keystore.load(path, PASSWORD)


def test_every_missing_field_is_refused(path: Path):
    document = json.loads(path.read_text())
    unused = {
        ("uuid",),
        ("path",),
        ("description",),
        ("crypto", "kdf", "message"),
        ("crypto", "checksum", "params"),
    }

    def paths(value: object, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
        if not isinstance(value, dict):
            return [prefix]
        return ([prefix] if prefix else []) + [p for k, v in value.items() for p in paths(v, (*prefix, k))]

    for where in paths(document):
        if where in unused:
            continue
        broken = copy.deepcopy(document)
        inner = broken
        for name in where[:-1]:
            inner = inner[name]
        del inner[where[-1]]
        rewrite(path, broken)
        with pytest.raises(keystore.InvalidKeystore):
            keystore.load(path, PASSWORD)


def test_repeated_keys_are_refused_whatever_their_case(path: Path):
    text = path.read_text()
    for again in ('"n": 16, "n"', '"N": 1099511627776, "n"', '"n": 16, "N"'):
        path.write_text(text.replace('"n"', again))
        with pytest.raises(keystore.InvalidKeystore, match="repeated"):
            keystore.load(path, PASSWORD)


def test_damaged_cipher_text_is_told_as_such(path: Path):
    document = json.loads(path.read_text())
    document["crypto"]["cipher"]["message"] = "00" * 32
    rewrite(path, document)
    with pytest.raises(keystore.WrongPassword, match="damaged"):
        keystore.load(path, PASSWORD)


def test_another_public_key_is_refused(path: Path):
    document = json.loads(path.read_text())
    document["pubkey"] = bls.public_key((7).to_bytes(32, "big")).hex()
    rewrite(path, document)
    with pytest.raises(keystore.InvalidKeystore, match="pubkey does not belong"):
        keystore.load(path, PASSWORD)


@given(st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_refused(path: Path, content: bytes):
    path.write_bytes(content)
    with pytest.raises(keystore.InvalidKeystore):
        keystore.load(path, PASSWORD)


def test_oversized_and_deep_files_are_refused(path: Path):
    path.write_bytes(b" " * (keystore.MAX_KEYSTORE_BYTES + 1))
    with pytest.raises(keystore.InvalidKeystore, match="over"):
        keystore.load(path, PASSWORD)
    path.write_bytes(b"[" * 60_000)
    with pytest.raises(keystore.InvalidKeystore):
        keystore.load(path, PASSWORD)


def test_the_reason_names_what_is_wrong_with_the_json(path: Path):
    content = path.read_bytes()
    for broken, reason in (
        (b"\xef\xbb\xbf" + content, "byte order mark"),
        (content.replace(b"{", b'{"x": ' + b"[" * 20 + b"]" * 20 + b",", 1), "deeper than 16 levels"),
        (content[:-5], "brackets do not match"),
    ):
        path.write_bytes(broken)
        with pytest.raises(keystore.InvalidKeystore, match=reason):
            keystore.load(path, PASSWORD)


def test_no_error_holds_the_secret_or_the_password(path: Path):
    document = json.loads(path.read_text())
    document["pubkey"] = bls.public_key((7).to_bytes(32, "big")).hex()
    faults = [
        (path.read_text(), "hunter2-wrong"),
        (json.dumps(document), PASSWORD),
        ("{}", PASSWORD),
    ]
    for text, password in faults:
        path.write_text(text)
        with pytest.raises(keystore.KeystoreError) as caught:
            keystore.load(path, password)
        printed = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
        for hidden in (SECRET.hex(), str(int.from_bytes(SECRET, "big")), repr(SECRET), password):
            assert hidden not in printed


def test_secret_is_not_in_the_file(path: Path):
    assert SECRET.hex() not in path.read_text()


def test_lock_is_exclusive_between_processes(path: Path):
    script = (
        "import sys; from da import keystore\n"
        "try:\n"
        "    with keystore.lock(sys.argv[1]): print('taken')\n"
        "except keystore.KeystoreLocked: print('refused')\n"
    )

    def other() -> str:
        return subprocess.run(
            [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
        ).stdout.strip()

    with keystore.lock(path):
        assert other() == "refused"
        with pytest.raises(keystore.KeystoreLocked), keystore.lock(path):
            pass
    assert other() == "taken"


def test_lock_needs_a_file(tmp_path: Path):
    with pytest.raises(keystore.KeystoreNotFound), keystore.lock(tmp_path / "none.json"):
        pass
