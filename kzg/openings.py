"""Point openings of a row: what an L1 contract checks with the point evaluation precompile at 0x0A.

A row is the polynomial p of degree < 4096 whose values at the 4096th roots of unity (bit-reversed) are the
blob's elements. The proof that p(z) = y is the commitment to (p - y) / (X - z), which is computed by values:
q_i = (p_i - y) / (w_i - z), and by l'Hopital's rule at the root that equals z, if one does. Opening the root
w_i shows element i of the blob itself.

No engine is needed: an opening is one sum of 4096 points (60 ms, the interpreter's lock released), and about
10 ms of integer arithmetic; checking one is a pairing of 2 ms.

Source: https://github.com/ethereum/consensus-specs/blob/v1.5.0/specs/deneb/polynomial-commitments.md#compute_kzg_proof_impl
and https://eips.ethereum.org/EIPS/eip-4844#point-evaluation-precompile
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import numpy as np
from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar

from erasure.constants import BLS_MODULUS, BYTES_PER_FIELD_ELEMENT, FIELD_ELEMENTS_PER_BLOB
from erasure.domain import roots_brp
from erasure.field import elements_from_array
from kzg import trusted_setup
from kzg.checks import check_blobs, check_bytes
from kzg.constants import BYTES_PER_POINT_EVALUATION, VERSIONED_HASH_VERSION_KZG
from kzg.errors import InvalidScalar
from kzg.points import decode_points, linear_combination
from kzg.types import Bytes, KZGCommitment, KZGProof, VersionedHash

_LOG2_ELEMENTS = FIELD_ELEMENTS_PER_BLOB.bit_length() - 1


@dataclass(frozen=True, slots=True)
class Opening:
    """The claim that the row behind a commitment has the value y at z, and its proof.

    Attributes:
        versioned_hash: 32 bytes, what BLOBHASH gives for the commitment.
        z, y: 32 bytes each, canonical, big-endian.
        commitment, proof: 48 bytes each.
    """

    versioned_hash: VersionedHash
    z: bytes
    y: bytes
    commitment: KZGCommitment
    proof: KZGProof

    def calldata(self) -> bytes:
        """The 192 bytes that the precompile at 0x0A takes."""
        encoded = self.versioned_hash + self.z + self.y + self.commitment + self.proof
        assert len(encoded) == BYTES_PER_POINT_EVALUATION
        return encoded


def kzg_commitment_to_versioned_hash(commitment: KZGCommitment) -> VersionedHash:
    """0x01 and the last 31 bytes of the commitment's sha256."""
    return VersionedHash(VERSIONED_HASH_VERSION_KZG + hashlib.sha256(commitment).digest()[1:])


def open_point(blob: Bytes, z: int | bytes, *, commitment: bytes | None = None) -> Opening:
    """Opens a row at any point.

    Args:
        blob: u8[131072].
        z: an element, 0..r-1, or its 32 bytes.
        commitment: the row's, if known: it saves half the time, and is taken on trust.

    Raises:
        InvalidArray, InvalidBlob, InvalidScalar, InvalidPoint.
    """
    point = _element("z", z)
    blob = check_blobs(check_bytes("blob", blob, (None,))[np.newaxis])[0]
    known = None if commitment is None else decode_points("commitment", [commitment])[0]

    values = elements_from_array(blob)
    y, quotient = _divide(values, point)
    basis = lagrange_basis()
    point_of_row = linear_combination(basis, values) if known is None else known
    encoded = KZGCommitment(point_of_row.to_compressed_bytes())
    return Opening(
        versioned_hash=kzg_commitment_to_versioned_hash(encoded),
        z=point.to_bytes(BYTES_PER_FIELD_ELEMENT, "big"),
        y=y.to_bytes(BYTES_PER_FIELD_ELEMENT, "big"),
        commitment=encoded,
        proof=KZGProof(linear_combination(basis, quotient).to_compressed_bytes()),
    )


def open_index(blob: Bytes, index: int, *, commitment: bytes | None = None) -> Opening:
    """Opens a row at the root of unity where its value is element `index` of the blob.

    Args:
        blob: u8[131072].
        index: 0..4095.
        commitment: the row's, if known.

    Raises:
        As `open_point`; InvalidScalar for an index out of range.
    """
    if not 0 <= index < FIELD_ELEMENTS_PER_BLOB:
        raise InvalidScalar("index", f"{index} is not in 0..{FIELD_ELEMENTS_PER_BLOB - 1}")
    return open_point(blob, roots_brp(_LOG2_ELEMENTS)[index], commitment=commitment)


def verify_kzg_proof(commitment_bytes: bytes, z: int | bytes, y: int | bytes, proof_bytes: bytes) -> bool:
    """Whether the row behind the commitment has the value y at z.

    Checks e(C - [y] + z proof, [1]) = e(proof, [tau]).

    Raises:
        InvalidPoint, InvalidScalar: malformed input.
    """
    point, value = _element("z", z), _element("y", y)
    [commitment] = decode_points("commitment", [commitment_bytes])
    [proof] = decode_points("proof", [proof_bytes])

    shifted = commitment - G1Point() * Scalar(value) + proof * Scalar(point)
    holds: bool = GT.pairing_check([shifted, -proof], [G2Point(), _tau_g2()])
    return holds


def verify_opening(opening: Opening) -> bool:
    """What the precompile answers: the hash belongs to the commitment, and the proof holds.

    Raises:
        InvalidPoint, InvalidScalar: malformed input.
    """
    holds = verify_kzg_proof(opening.commitment, opening.z, opening.y, opening.proof)
    return holds and opening.versioned_hash == kzg_commitment_to_versioned_hash(opening.commitment)


def _element(name: str, scalar: int | bytes) -> int:
    if isinstance(scalar, bytes):
        if len(scalar) != BYTES_PER_FIELD_ELEMENT:
            raise InvalidScalar(name, f"must have {BYTES_PER_FIELD_ELEMENT} bytes, got {len(scalar)}")
        scalar = int.from_bytes(scalar, "big")
    if not 0 <= scalar < BLS_MODULUS:
        raise InvalidScalar(name)
    return scalar


def _divide(values: list[int], z: int) -> tuple[int, list[int]]:
    """p(z), and the values of (p - p(z)) / (X - z) at the roots of unity, from the values of p."""
    roots = roots_brp(_LOG2_ELEMENTS)
    at_root = roots.index(z) if pow(z, FIELD_ELEMENTS_PER_BLOB, BLS_MODULUS) == 1 else None
    # 1 in the place of the one difference that is 0, so that all can be inverted together
    differences = [(root - z) % BLS_MODULUS or 1 for root in roots]
    inverses = _invert_all(differences)
    if at_root is None:
        # barycentric formula: p(z) = (z^n - 1) / n * sum of p_i w_i / (z - w_i)
        terms = zip(values, roots, inverses, strict=True)
        total = -sum(value * root % BLS_MODULUS * inverse for value, root, inverse in terms)
        vanishing = pow(z, FIELD_ELEMENTS_PER_BLOB, BLS_MODULUS) - 1
        y = total * vanishing * pow(FIELD_ELEMENTS_PER_BLOB, -1, BLS_MODULUS) % BLS_MODULUS
    else:
        y = values[at_root]
    quotient = [(value - y) * inverse % BLS_MODULUS for value, inverse in zip(values, inverses, strict=True)]
    if at_root is not None:
        # the quotient at z itself: sum over the other roots of (p_i - y) w_i / (z (z - w_i))
        others = -sum(q * root for q, root in zip(quotient, roots, strict=True))  # q is 0 at the root itself
        quotient[at_root] = others * pow(z, -1, BLS_MODULUS) % BLS_MODULUS
    return y, quotient


def _invert_all(elements: list[int]) -> list[int]:
    """The inverses of non-zero elements, by Montgomery's trick: one inversion for all."""
    prefixes = [1]
    for element in elements:
        prefixes.append(prefixes[-1] * element % BLS_MODULUS)
    inverse = pow(prefixes[-1], -1, BLS_MODULUS)
    inverses = [0] * len(elements)
    for i in range(len(elements) - 1, -1, -1):
        inverses[i] = inverse * prefixes[i] % BLS_MODULUS
        inverse = inverse * elements[i] % BLS_MODULUS
    return inverses


@functools.cache
def lagrange_basis() -> list[G1Point]:
    """[L_i(tau)]_1 in the order of a blob's elements; the setup's sha256 stands for the subgroup checks."""
    return [
        G1Point.from_compressed_bytes_unchecked(point.tobytes())
        for point in trusted_setup.load().g1_lagrange_brp
    ]


@functools.cache
def _tau_g2() -> G2Point:
    return G2Point.from_compressed_bytes_unchecked(trusted_setup.load().g2_monomial[1].tobytes())
