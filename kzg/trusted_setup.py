"""The trusted setup of Ethereum's KZG ceremony, as package data.

`data/trusted_setup.bin` holds compressed points, one after the other, in the order of the ceremony's text
file: 4096 G1 points of the Lagrange basis (natural order of the domain, NOT bit-reversed), 65 G2 powers of
tau, 4096 G1 powers of tau: 399,456 bytes. It is made by `scripts/make_trusted_setup.py`.

Its sha256 is pinned here and checked whenever it is loaded, which is why no point is checked again: the file
either is the ceremony's, byte for byte, or is refused. Loading takes a millisecond; decompressing points is
left to whoever needs them.

Source: https://github.com/ethereum/c-kzg-4844/blob/b7e40988/src/trusted_setup.txt
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Final

import numpy as np

from kzg.constants import BYTES_PER_G1, BYTES_PER_G2, KZG_SETUP_G1_LENGTH, KZG_SETUP_G2_LENGTH
from kzg.errors import TrustedSetupError
from kzg.types import Bytes

TRUSTED_SETUP_TEXT_SHA256: Final = "d39b9f2d047cc9dca2de58f264b6a09448ccd34db967881a6713eacacf0f26b7"
TRUSTED_SETUP_SHA256: Final = "608ac720ba55fc77f65d155391020fc5b0501db266a3e360e734d6c0db0dfae3"
TRUSTED_SETUP_BYTES: Final = 2 * KZG_SETUP_G1_LENGTH * BYTES_PER_G1 + KZG_SETUP_G2_LENGTH * BYTES_PER_G2


@dataclass(frozen=True, slots=True)
class TrustedSetup:
    """The ceremony's points, compressed (ZCash format); the arrays are read-only.

    Attributes:
        g1_lagrange: u8[4096, 48], [L_i(tau)]_1 in the natural order of the 4096th roots of unity.
        g2_monomial: u8[65, 96], [tau^i]_2.
        g1_monomial: u8[4096, 48], [tau^i]_1.
    """

    g1_lagrange: Bytes
    g2_monomial: Bytes
    g1_monomial: Bytes

    @property
    def g1_lagrange_brp(self) -> Bytes:
        """u8[4096, 48]: the Lagrange points in the order of a blob's elements (bit-reversed)."""
        log2_n = KZG_SETUP_G1_LENGTH.bit_length() - 1
        order = [int(f"{i:0{log2_n}b}"[::-1], 2) for i in range(KZG_SETUP_G1_LENGTH)]
        return self.g1_lagrange[order]

    def to_text(self) -> bytes:
        """The ceremony's text file: two counts, then one hexadecimal point to a line.

        c-kzg reads nothing else; the result is byte-equal to the file with TRUSTED_SETUP_TEXT_SHA256.
        """
        lines = [str(KZG_SETUP_G1_LENGTH), str(KZG_SETUP_G2_LENGTH)]
        for points in (self.g1_lagrange, self.g2_monomial, self.g1_monomial):
            lines.extend(point.tobytes().hex() for point in points)
        return ("\n".join(lines) + "\n").encode("ascii")


def from_bytes(data: bytes) -> TrustedSetup:
    """Splits the binary file into its three arrays.

    Raises:
        TrustedSetupError: the length or the sha256 is not that of the ceremony's setup.
    """
    if len(data) != TRUSTED_SETUP_BYTES:
        raise TrustedSetupError(f"the trusted setup is {len(data)} bytes long, not {TRUSTED_SETUP_BYTES}")
    digest = hashlib.sha256(data).hexdigest()
    if digest != TRUSTED_SETUP_SHA256:
        raise TrustedSetupError(f"the trusted setup has sha256 {digest}, not {TRUSTED_SETUP_SHA256}")

    g1_bytes = KZG_SETUP_G1_LENGTH * BYTES_PER_G1
    g2_bytes = KZG_SETUP_G2_LENGTH * BYTES_PER_G2
    flat = np.frombuffer(data, dtype=np.uint8)
    return TrustedSetup(
        g1_lagrange=flat[:g1_bytes].reshape(-1, BYTES_PER_G1),
        g2_monomial=flat[g1_bytes : g1_bytes + g2_bytes].reshape(-1, BYTES_PER_G2),
        g1_monomial=flat[g1_bytes + g2_bytes :].reshape(-1, BYTES_PER_G1),
    )


@functools.cache
def load() -> TrustedSetup:
    """The packaged setup, checked against the pinned sha256; read once a process.

    Raises:
        TrustedSetupError: the file is missing or damaged.
    """
    try:
        data = resources.files("kzg").joinpath("data", "trusted_setup.bin").read_bytes()
    except OSError as error:
        raise TrustedSetupError(f"the trusted setup cannot be read: {error}") from error
    return from_bytes(data)
