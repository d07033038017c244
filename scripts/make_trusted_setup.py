"""Writes kzg/data/trusted_setup.bin from the ceremony's text file.

The text ships inside the eth-account wheel (PyPI), which the `settlement` extra installs; any other copy can
be named instead. Nothing is trusted but its sha256.

    python scripts/make_trusted_setup.py [TEXT_FILE]
"""

from __future__ import annotations

import hashlib
import sys
from importlib import resources
from pathlib import Path

from kzg.constants import KZG_SETUP_G1_LENGTH, KZG_SETUP_G2_LENGTH
from kzg.trusted_setup import TRUSTED_SETUP_SHA256, TRUSTED_SETUP_TEXT_SHA256

_TARGET = Path(__file__).resolve().parent.parent / "kzg" / "data" / "trusted_setup.bin"


def convert(text: bytes) -> bytes:
    """The points of the text file as bytes, in the file's order.

    Raises:
        SystemExit: the text is not the ceremony's file.
    """
    digest = hashlib.sha256(text).hexdigest()
    if digest != TRUSTED_SETUP_TEXT_SHA256:
        raise SystemExit(f"sha256 of the text must be {TRUSTED_SETUP_TEXT_SHA256}; got {digest}")
    n1, n2, *points = text.decode("ascii").split()
    assert (int(n1), int(n2)) == (KZG_SETUP_G1_LENGTH, KZG_SETUP_G2_LENGTH)
    assert len(points) == 2 * KZG_SETUP_G1_LENGTH + KZG_SETUP_G2_LENGTH
    return b"".join(bytes.fromhex(point) for point in points)


def main() -> None:
    if len(sys.argv) > 1:
        text = Path(sys.argv[1]).read_bytes()
    else:
        folder = resources.files("eth_account") / "typed_transactions" / "blob_transactions"
        text = (folder / "kzg_trusted_setup.txt").read_bytes()
    data = convert(text)
    digest = hashlib.sha256(data).hexdigest()
    if digest != TRUSTED_SETUP_SHA256:
        raise SystemExit(
            f"sha256 of the result is {digest}; kzg/trusted_setup.py pins {TRUSTED_SETUP_SHA256}"
        )
    _TARGET.parent.mkdir(parents=True, exist_ok=True)
    _TARGET.write_bytes(data)
    print(f"{_TARGET}: {len(data)} bytes, sha256 {digest}")


if __name__ == "__main__":
    main()
