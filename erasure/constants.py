"""Every constant of the code, in one place.

The idea: the numbers that EIP-4844 and EIP-7594 choose are written down once, here, under the names of
the specs; all others follow by formula, and the relations that the algorithms rely on are asserted when
the module is imported. Other packages import these names and retype none.

Invariants: pure numbers, no arrays, nothing that depends on the machine.

What it does not hold: parameters of KZG (`kzg/constants.py`) and of the network.

Source: ethereum/consensus-specs, `specs/deneb/polynomial-commitments.md` and
`specs/fulu/polynomial-commitments-sampling.md`.
"""

from __future__ import annotations

from typing import Final

# The scalar field Fr of BLS12-381 ---------------------------------------------------------------------

BLS_MODULUS: Final = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
"""Order r of the groups of BLS12-381: the scalar field is the integers modulo r."""

PRIMITIVE_ROOT_OF_UNITY: Final = 7
"""Generator of the multiplicative group of Fr, from which every root of unity is derived."""

TWO_ADICITY: Final = 32
"""2**TWO_ADICITY is the largest power of two that divides r - 1."""

BYTES_PER_FIELD_ELEMENT: Final = 32
"""An element is 32 bytes, big-endian, and canonical: smaller than r."""

# Rows: EIP-4844 blobs and their EIP-7594 extension ------------------------------------------------------

FIELD_ELEMENTS_PER_BLOB: Final = 4096
FIELD_ELEMENTS_PER_EXT_BLOB: Final = 2 * FIELD_ELEMENTS_PER_BLOB
FIELD_ELEMENTS_PER_CELL: Final = 64
CELLS_PER_BLOB: Final = FIELD_ELEMENTS_PER_BLOB // FIELD_ELEMENTS_PER_CELL
CELLS_PER_EXT_BLOB: Final = FIELD_ELEMENTS_PER_EXT_BLOB // FIELD_ELEMENTS_PER_CELL
BYTES_PER_BLOB: Final = FIELD_ELEMENTS_PER_BLOB * BYTES_PER_FIELD_ELEMENT
BYTES_PER_CELL: Final = FIELD_ELEMENTS_PER_CELL * BYTES_PER_FIELD_ELEMENT

# Batches and payloads: ours -----------------------------------------------------------------------------

MAX_ROWS: Final = 256
"""Most data rows of a batch; a batch of R data rows has R parity rows more."""

PAYLOAD_BYTES_PER_ELEMENT: Final = BYTES_PER_FIELD_ELEMENT - 1
"""31 bytes always fit into an element: 2**248 < r."""

PAYLOAD_VERSION: Final = 1
"""The version byte in the first element of a payload's first row."""

MAX_PAYLOAD_BYTES: Final = 16 * 2**20

assert BLS_MODULUS.bit_length() == 255
assert 2 ** (8 * PAYLOAD_BYTES_PER_ELEMENT) < BLS_MODULUS < 2 ** (8 * BYTES_PER_FIELD_ELEMENT)
assert (BLS_MODULUS - 1) % 2**TWO_ADICITY == 0
assert (BLS_MODULUS - 1) >> TWO_ADICITY & 1 == 1
# 7 is no square in Fr, so it has roots of unity of every power of two up to 2**TWO_ADICITY.
assert pow(PRIMITIVE_ROOT_OF_UNITY, (BLS_MODULUS - 1) // 2, BLS_MODULUS) == BLS_MODULUS - 1
assert CELLS_PER_BLOB * BYTES_PER_CELL == BYTES_PER_BLOB == 131_072
assert (CELLS_PER_BLOB, CELLS_PER_EXT_BLOB, BYTES_PER_CELL) == (64, 128, 2048)
# The largest payload, with its first element, fits into the largest batch.
assert MAX_PAYLOAD_BYTES <= (MAX_ROWS * FIELD_ELEMENTS_PER_BLOB - 1) * PAYLOAD_BYTES_PER_ELEMENT
assert 2 * MAX_ROWS <= 2**TWO_ADICITY
