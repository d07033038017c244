"""Who signed: the bitmap and the aggregate signature that certificates and handovers share.

Invariants: the bitmap has one bit for each member and no others, so each set of signers has one encoding.

Does not: know what was signed, or verify it.
"""

from __future__ import annotations

from collections.abc import Sequence

from da import bls
from da.protocol.codec import Reader, u16
from da.protocol.committee import MAX_MEMBERS
from da.protocol.errors import DecodeError

MAX_SIGNERS_BYTES = 2 + MAX_MEMBERS // 8 + bls.SIGNATURE_BYTES


def check_signers(committee_size: int, signers: Sequence[int], signature: bytes) -> None:
    """That the values can be encoded. Raises DecodeError."""
    if not 1 <= committee_size <= MAX_MEMBERS:
        raise DecodeError("committee_size", f"must be in 1..{MAX_MEMBERS}; got {committee_size}")
    if list(signers) != sorted(set(signers)):
        raise DecodeError("signers", "must be ascending")
    if signers and not 0 <= signers[0] <= signers[-1] < committee_size:
        raise DecodeError("signers", f"must be in 0..{committee_size - 1}")
    if len(signature) != bls.SIGNATURE_BYTES:
        raise DecodeError("signature", f"must be {bls.SIGNATURE_BYTES} bytes; got {len(signature)}")


def bitmap_of(committee_size: int, signers: Sequence[int]) -> bytes:
    """A bit for each member: member i is bit i mod 8, least significant first, of byte i div 8."""
    bits = bytearray((committee_size + 7) // 8)
    for index in signers:
        bits[index // 8] |= 1 << (index % 8)
    return bytes(bits)


def encode_signers(committee_size: int, signers: Sequence[int], signature: bytes) -> bytes:
    """committee_size u16 | bitmap | signature 96."""
    return u16(committee_size) + bitmap_of(committee_size, signers) + signature


def read_signers(reader: Reader) -> tuple[int, tuple[int, ...], bytes]:
    """The committee's size, the indices and the signature at the front of `reader`. Raises DecodeError."""
    size = reader.u16("committee_size")
    if not 1 <= size <= MAX_MEMBERS:
        raise DecodeError("committee_size", f"must be in 1..{MAX_MEMBERS}; got {size}")
    bits = int.from_bytes(reader.take((size + 7) // 8, "bitmap"), "little")
    if bits >> size:
        raise DecodeError("bitmap", "has bits beyond the committee's members")
    signers = tuple(index for index in range(size) if bits >> index & 1)
    return size, signers, reader.fixed(bls.SIGNATURE_BYTES, "signature")
