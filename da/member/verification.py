"""Checks of columns, headers and certificates that members make, whoever they came from.

Columns are checked in one engine call; only when that fails are the bad cells looked for, so that honest
traffic pays for one batch verification and a liar pays with its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from da.errors import InvalidDisperserSignature, RejectedCertificate, UnknownDisperser
from da.protocol.attestation import verify_proposal
from da.protocol.certificate import Certificate
from da.protocol.errors import InvalidSignature, ProtocolError
from erasure.constants import BYTES_PER_CELL
from kzg.errors import InvalidCell, InvalidPoint
from kzg.verification import find_invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from da.protocol.committee import Committee
    from da.protocol.header import Header
    from kzg.engine import Engine

BadColumns = dict[int, tuple[int, str]]


def check_signature(committee: Committee, header: Header, disperser_signature: bytes) -> None:
    """That a disperser of the committee proposed this header.

    Raises UnknownDisperser, InvalidDisperserSignature.
    """
    disperser = committee.member(header.disperser_id)
    if disperser is None or not disperser.disperser:
        raise UnknownDisperser(header.disperser_id)
    try:
        verify_proposal(committee, header, disperser_signature)
    except InvalidSignature as error:
        raise InvalidDisperserSignature from error


def check_certificate(committee: Committee, header_hash: bytes, certificate_bytes: bytes) -> Certificate:
    """The certificate, decoded, if it convinces and is for that header. Raises RejectedCertificate."""
    try:
        certificate = Certificate.decode(certificate_bytes)
        certificate.verify(committee)
    except ProtocolError as error:
        raise RejectedCertificate(str(error)) from error
    if certificate.header.hash != header_hash:
        raise RejectedCertificate("the certificate is for another header")
    return certificate


def bad_columns(
    engine: Engine, commitments: NDArray[np.uint8], columns: Sequence[int], records: NDArray[np.uint8]
) -> BadColumns:
    """Columns with a cell that is not the commitments', each with the first such row and the reason.

    Args: commitments u8[n,48], of the rows in `records`; records u8[len(columns),n,2096], cell || proof.
    Raises EngineError when the engine breaks down.
    """
    found: BadColumns = {}
    left = list(range(len(columns)))
    while left:
        bad = _find_bad(engine, commitments, [columns[i] for i in left], records[left] if found else records)
        if not bad:
            break
        found.update(bad)
        left = [i for i in left if columns[i] not in found]
    return found


def _find_bad(
    engine: Engine, commitments: NDArray[np.uint8], columns: list[int], records: NDArray[np.uint8]
) -> BadColumns:
    count, rows = records.shape[:2]
    flat = records.reshape(count * rows, -1)
    cells = np.ascontiguousarray(flat[:, :BYTES_PER_CELL])
    proofs = np.ascontiguousarray(flat[:, BYTES_PER_CELL:])
    row_indices = np.tile(np.arange(rows), count)
    cell_indices = np.repeat(np.asarray(columns, dtype=np.int64), rows)
    try:
        if engine.verify_cells(commitments[row_indices], cell_indices, cells, proofs):
            return {}
        invalid = find_invalid(engine, commitments, row_indices, cell_indices, cells, proofs)
        reason = "the cell's proof does not verify against the row's commitment"
    except InvalidCell as error:
        invalid, reason = [error.position], "the cell holds a number that is no field element"
    except InvalidPoint as error:
        if error.name.startswith("commitment"):
            # Commitments are the batch's, not the column's: then no cell of that row can be right.
            invalid, reason = (
                list(range(error.position, count * rows, rows)),
                "the row's commitment is no curve point",
            )
        else:
            invalid, reason = [error.position], "the proof is no curve point"
    found: BadColumns = {}
    for position in sorted(invalid):
        found.setdefault(columns[position // rows], (position % rows, reason))
    return found
