"""Points in the form of EIP-2537."""

from __future__ import annotations

import pytest
from py_arkworks_bls12381 import G1Point, G2Point

from da import bls
from da.protocol.errors import DecodeError
from da.settlement.encoding import g1_words, g2_words, signer_bits

SECRET = (9).to_bytes(32, "big")


def test_g1_words_are_padded_coordinates() -> None:
    words = g1_words(bls.public_key(SECRET))
    assert len(words) == 128
    assert words[:16] == words[64:80] == bytes(16)
    assert bytes(G1Point.from_xy_bytes_be(words[16:64] + words[80:]).to_compressed_bytes()) == bls.public_key(
        SECRET
    )


def test_g2_words_have_c0_first() -> None:
    signature = bls.sign(SECRET, b"m" * 32)
    words = g2_words(signature)
    assert len(words) == 256
    # the compressed form is x.c1 (with flags) then x.c0
    assert words[16:64] == signature[48:]
    assert words[80:128] == bytes([signature[0] & 0x1F]) + signature[1:48]
    plain = b"".join(words[i + 16 : i + 64] for i in range(0, 256, 64))
    assert bytes(G2Point.from_xy_bytes_be(plain).to_compressed_bytes()) == signature


@pytest.mark.parametrize(
    "bad", [b"", b"\0" * 48, b"\xff" * 48, b"\x80" + bytes(47), b"\x80" + bytes(46) + b"\1"]
)
def test_bad_public_key(bad: bytes) -> None:
    with pytest.raises(DecodeError):
        g1_words(bad)


@pytest.mark.parametrize("bad", [b"", b"\0" * 96, b"\xff" * 96, b"\x80" + bytes(94) + b"\1"])
def test_bad_signature(bad: bytes) -> None:
    with pytest.raises(DecodeError):
        g2_words(bad)


def test_signer_bits() -> None:
    assert signer_bits(()) == 0
    assert signer_bits((0, 2, 255)) == 1 | 4 | 1 << 255
