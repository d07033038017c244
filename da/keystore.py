"""Keystores: a node's secret key in an EIP-2335 file that only its owner can read.

The idea: eth-keyfile encrypts (scrypt, AES-128-CTR, a checksum that detects a wrong password); this module
adds what a file of secrets needs: it creates files with mode 0600 and refuses others, writes a new file
completely before giving it its name, never overwrites a file, bounds every number in a file before it costs
memory or time, and checks the secret against the file's public key.

Invariants: no message, repr or exception holds a secret or a password. Passwords are prepared as EIP-2335
says (NFKD, without control characters), so any client of the standard reads these files.

Does not: choose passwords, or keep secrets in memory longer than the caller does.

Source: https://eips.ethereum.org/EIPS/eip-2335
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import stat
import tempfile
import unicodedata
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

from da import bls
from da.interpreter import recursion_limit_kept
from da.protocol import strict_json
from da.protocol.errors import InvalidJson

KEYSTORE_MODE = 0o600
MAX_KEYSTORE_BYTES = 64 * 2**10

# Limits on a file's parameters: scrypt takes 128 * n * r bytes, PBKDF2 c rounds. Default: n = 2^18, r = 8.
MAX_SCRYPT_BYTES = 2**30
MAX_SCRYPT_PARALLELISM = 16
MAX_PBKDF2_ROUNDS = 2**24
MAX_SALT_BYTES = 128

_HEX = re.compile(r"(?:[0-9a-f]{2})*", re.ASCII)


class KeystoreError(Exception):
    """Base of this module's errors.

    KeystoreExists, KeystoreNotFound, KeystorePermissions, InvalidKeystore, WrongPassword, InvalidPassword,
    KeystoreLocked.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class KeystoreExists(KeystoreError):
    """The file exists; keystores are never overwritten."""


class KeystoreNotFound(KeystoreError):
    """The file does not exist."""


class KeystorePermissions(KeystoreError):
    """Users other than the owner can read or write the file."""


class InvalidKeystore(KeystoreError):
    """The file is not an EIP-2335 keystore, is damaged, or its parameters exceed the limits."""


class WrongPassword(KeystoreError):
    """The checksum does not match: the password is wrong, or the encrypted key is damaged."""


class InvalidPassword(KeystoreError):
    """The password is not valid text, or is empty after control characters are removed."""


class KeystoreLocked(KeystoreError):
    """Another process is using the key."""


def create(path: str | PathLike[str], secret: bytes, password: str, *, iterations: int | None = None) -> None:
    """Write `secret` to a new keystore, durable when this returns.

    Args:
        path: where; its directory exists.
        secret: bytes[32], a BLS secret key.
        password: text that is not empty after control characters are removed.
        iterations: scrypt's n, a power of two; None for the library's 2^18 (256 MiB, about a second).
    Raises: KeystoreExists, InvalidPassword, bls.InvalidSecretKey, ValueError (iterations), OSError.
    """
    target = Path(path)
    public_key = bls.public_key(secret)
    prepared = _prepared(target, password)
    if iterations is not None and (iterations < 2 or iterations & (iterations - 1)):
        raise ValueError(f"iterations must be a power of two above 1; got {iterations}")
    if target.exists():
        raise KeystoreExists(target, "file exists; keystores are never overwritten")
    # Imported here because it takes half a second, which other commands should not pay.
    with recursion_limit_kept():
        from eth_keyfile.keyfile import create_keyfile_json

    document = create_keyfile_json(
        secret, prepared, version=4, kdf="scrypt", iterations=iterations, description="Cellar node key"
    )
    assert document["pubkey"] == public_key.hex()
    _write_new(target, json.dumps(document, indent=2).encode() + b"\n")


def load(path: str | PathLike[str], password: str) -> bytes:
    """The secret in a keystore: bytes[32].

    Raises: KeystoreNotFound, KeystorePermissions, InvalidKeystore, InvalidPassword, WrongPassword, OSError.
    """
    source = Path(path)
    prepared = _prepared(source, password)
    document = _checked_document(source, _read_private(source))
    with recursion_limit_kept():
        from eth_keyfile.keyfile import decode_keyfile_json

    try:
        secret = bytes(decode_keyfile_json(document, prepared))
    except ValueError:
        # The cause is dropped: it would carry the frames that hold the derived key.
        raise WrongPassword(source, "wrong password, or the encrypted key is damaged") from None
    try:
        public_key = bls.public_key(secret)
    except bls.InvalidSecretKey:
        raise InvalidKeystore(source, "decrypted value is not a BLS secret key") from None
    if public_key.hex() != document["pubkey"]:
        raise InvalidKeystore(source, "pubkey does not belong to the encrypted secret key")
    return secret


def read_public_key(path: str | PathLike[str]) -> bytes:
    """The public key in a keystore: bytes[48]; needs no password, and is not checked against the secret.

    Raises: KeystoreNotFound, KeystorePermissions, InvalidKeystore, OSError.
    """
    source = Path(path)
    return bytes.fromhex(_checked_document(source, _read_private(source))["pubkey"])


@contextlib.contextmanager
def lock(path: str | PathLike[str]) -> Iterator[None]:
    """Lock a keystore for this process, so that no second node on this machine signs with its key.

    Raises: KeystoreNotFound, KeystoreLocked, OSError.
    """
    source = Path(path)
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise KeystoreNotFound(source, "no such file") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise KeystoreLocked(source, "another process is using this key; stop it first") from None
        yield
    finally:
        os.close(descriptor)


def _prepared(path: Path, password: str) -> bytes:
    """EIP-2335's preparation: NFKD, then C0, Delete and C1 control characters removed, then UTF-8."""
    normal = unicodedata.normalize("NFKD", password)
    kept = "".join(c for c in normal if not (ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0))
    try:
        prepared = kept.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidPassword(path, "password is not valid Unicode text") from None
    if not prepared:
        raise InvalidPassword(path, "password is empty")
    return prepared


def _write_new(target: Path, content: bytes) -> None:
    # mkstemp makes the file 0600 whatever the umask; link fails if the target has appeared meanwhile.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), KEYSTORE_MODE)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, target)
        except FileExistsError:
            raise KeystoreExists(target, "file exists; keystores are never overwritten") from None
    finally:
        os.unlink(temporary)
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _read_private(source: Path) -> bytes:
    try:
        # O_NONBLOCK: opening a pipe by mistake must not wait for a writer.
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise KeystoreNotFound(source, "no such file") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise InvalidKeystore(source, "not a regular file")
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077:
            raise KeystorePermissions(
                source, f"mode {mode:04o} lets other users access the key; run: chmod 600 {source}"
            )
        content = file.read(MAX_KEYSTORE_BYTES + 1)
    if len(content) > MAX_KEYSTORE_BYTES:
        raise InvalidKeystore(source, f"file is larger than {MAX_KEYSTORE_BYTES} bytes")
    return content


def _checked_document(source: Path, content: bytes) -> dict[str, Any]:
    """The parsed file; every value that the library will use has been checked."""
    try:
        document = _lowered(strict_json.loads(content, max_bytes=MAX_KEYSTORE_BYTES))
        _check_document(document)
    except (ValueError, TypeError, KeyError) as error:
        # Only messages written here are shown; a KeyError's message may quote the file.
        reason = str(error) if isinstance(error, _DocumentError | InvalidJson) else type(error).__name__
        raise InvalidKeystore(source, f"not an EIP-2335 keystore: {reason}") from None
    assert isinstance(document, dict)
    return document


class _DocumentError(ValueError):
    pass


def _lowered(value: Any) -> Any:
    # The library lowers keys. Doing it here first prevents an "N" from replacing an "n" that was checked.
    if isinstance(value, list):
        return [_lowered(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    values = {name.lower(): _lowered(inner) for name, inner in value.items()}
    _require(len(values) == len(value), "an object has a duplicate key")
    return values


def _check_document(document: Any) -> None:
    _require(isinstance(document, dict), "not an object")
    _require(type(document["version"]) is int and document["version"] == 4, "version is not 4")
    _require(_is_hex(document["pubkey"], bls.PUBLIC_KEY_BYTES), "pubkey is not 48 bytes of hex")
    crypto = document["crypto"]
    kdf, cipher, checksum = crypto["kdf"], crypto["cipher"], crypto["checksum"]
    _require(checksum["function"] == "sha256", "checksum is not sha256")
    _require(_is_hex(checksum["message"], 32), "checksum is not 32 bytes of hex")
    _require(cipher["function"] == "aes-128-ctr", "cipher is not aes-128-ctr")
    _require(_is_hex(cipher["params"]["iv"], 16), "iv is not 16 bytes of hex")
    _require(_is_hex(cipher["message"], bls.SECRET_KEY_BYTES), "encrypted key is not 32 bytes of hex")
    _check_kdf(kdf["function"], kdf["params"])


def _check_kdf(function: Any, params: Any) -> None:
    _require(_is_int(params["dklen"], 32, 32), "dklen is not 32")
    salt = params["salt"]
    _require(
        isinstance(salt, str) and len(salt) <= 2 * MAX_SALT_BYTES and _is_hex(salt, len(salt) // 2),
        f"salt is not hex of at most {MAX_SALT_BYTES} bytes",
    )
    if function == "scrypt":
        n, r, p = params["n"], params["r"], params["p"]
        _require(_is_int(n, 2, MAX_SCRYPT_BYTES) and n & (n - 1) == 0, "scrypt n is not a power of two")
        _require(
            _is_int(r, 1, MAX_SCRYPT_BYTES) and 128 * n * r <= MAX_SCRYPT_BYTES,
            "scrypt would use more than 1 GiB",
        )
        _require(_is_int(p, 1, MAX_SCRYPT_PARALLELISM), f"scrypt p is not 1..{MAX_SCRYPT_PARALLELISM}")
    elif function == "pbkdf2":
        _require(_is_int(params["c"], 1, MAX_PBKDF2_ROUNDS), f"PBKDF2 c is not 1..{MAX_PBKDF2_ROUNDS}")
        _require(params["prf"] == "hmac-sha256", "PBKDF2 prf is not hmac-sha256")
    else:
        _require(False, "kdf is neither scrypt nor pbkdf2")


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise _DocumentError(reason)


def _is_int(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _is_hex(value: Any, size: int) -> bool:
    return isinstance(value, str) and len(value) == 2 * size and _HEX.fullmatch(value) is not None
