"""`da key`: create, show, back up and restore a node's secret key.

The key lives in an EIP-2335 keystore. `backup` prints it as text that survives typing mistakes (a
Reed-Solomon code over its bytes): `restore` corrects wrong and missing characters and reports how many.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from da import bls, keystore
from da.console.output import AsJson, PasswordFile, ask_password, emit, fail, read_input, read_secret, stderr
from da.protocol.committee import member_id
from erasure import InvalidBackup, decode_backup, encode_backup

app = typer.Typer(no_args_is_help=True, help="Create, show, back up and restore a node's secret key.")

KeystoreArgument = Annotated[Path, typer.Argument(help="The keystore file.")]


@app.command("new", epilog="Example: da key new key.json --password-file password")
def new(path: KeystoreArgument, password_file: PasswordFile = None, as_json: AsJson = False) -> None:
    """Create a new key in a new keystore, and print its public key and member id."""
    _store(path, bls.generate_secret(), ask_password(password_file, confirm=True))
    show(path, password_file=None, proof=False, as_json=as_json)
    stderr.print(
        f"[bold]Back it up now:[/] da key backup {path}   (anyone who has the key can act as this node)"
    )


@app.command("show", epilog="Example: da key show key.json --proof")
def show(
    path: KeystoreArgument,
    proof: Annotated[
        bool, typer.Option("--proof", help="Also print the proof of possession (needs the password).")
    ] = False,
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """Print the public key and member id of a keystore; --proof adds what `da committee add` needs."""
    try:
        public_key = keystore.read_public_key(path)
    except keystore.KeystoreError as error:
        fail(str(error))
    values: dict[str, object] = {"public_key": public_key, "member_id": member_id(public_key)}
    if proof:
        values["proof_of_possession"] = bls.prove_possession(_load(path, password_file))
    emit(values, as_json=as_json)


@app.command("backup", epilog="Example: da key backup key.json")
def backup(path: KeystoreArgument, password_file: PasswordFile = None) -> None:
    """Print the secret key as text that can be written down. Keep it as safe as the key itself."""
    secret = _load(path, password_file)
    print(encode_backup(secret))
    stderr.print(
        "Anyone who reads this text has the key. To restore it: da key restore NEW_KEYSTORE", soft_wrap=True
    )


@app.command("restore", epilog="Example: da key restore key.json --from backup.txt")
def restore(
    path: Annotated[Path, typer.Argument(help="The keystore file to create.")],
    backup_file: Annotated[
        Path, typer.Option("--from", help='File, mode 0600, with the backup text; "-" reads standard input.')
    ] = Path("-"),
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """Create a keystore from a backup text; corrects mistyped and missing characters (written as ?)."""
    typed = str(backup_file) == "-"
    if typed and sys.stdin.isatty():
        stderr.print("Type the backup text, then Ctrl-D:")
    text = (read_input(backup_file) if typed else read_secret(backup_file, "key")).decode("utf-8", "replace")
    try:
        found = decode_backup(text)
    except InvalidBackup as error:
        fail(f"invalid backup text: {error.reason}")
    _store(path, found.secret, ask_password(password_file, confirm=True))
    public_key = bls.public_key(found.secret)
    emit(
        {
            "public_key": public_key,
            "member_id": member_id(public_key),
            "corrected": found.corrected,
            "missing": found.erased,
        },
        as_json=as_json,
    )


def _load(path: Path, password_file: Path | None) -> bytes:
    try:
        return keystore.load(path, ask_password(password_file))
    except keystore.KeystoreError as error:
        fail(str(error))


def _store(path: Path, secret: bytes, password: str) -> None:
    try:
        keystore.create(path, secret, password)
    except keystore.KeystoreError as error:
        fail(str(error))
    except bls.InvalidSecretKey as error:
        fail(f"invalid secret key: {error}")
    except OSError as error:
        fail(f"{path}: cannot be written: {error.strerror}")
