"""Contents: that a payload list and commitments are the ones a header binds.

The idea: whoever gets a batch's header, list and commitments from a stranger checks here, without any
cryptography but hashes, that they belong together, before believing any of them.

Does not: check signatures, nor cells against commitments.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from da.protocol.errors import InvalidContents
from da.protocol.header import Header
from da.protocol.merkle import commitments_root
from da.protocol.payload import payload_id
from da.protocol.payload_list import PayloadList
from kzg.constants import BYTES_PER_COMMITMENT


def check_contents(header: Header, payload_list: PayloadList, commitments: npt.NDArray[np.uint8]) -> None:
    """Raises InvalidContents unless rows, roots and every payload id agree.

    Args:
        commitments: u8[R,48], of the data rows.
    """
    if commitments.dtype != np.uint8 or commitments.shape != (header.row_count, BYTES_PER_COMMITMENT):
        raise InvalidContents(
            "commitments", f"{list(commitments.shape)} are not u8[{header.row_count},{BYTES_PER_COMMITMENT}]"
        )
    if payload_list.row_count != header.row_count:
        raise InvalidContents(
            "row_count", f"payloads take {payload_list.row_count} rows, the header has {header.row_count}"
        )
    if payload_list.root != header.payloads_root:
        raise InvalidContents("payloads_root", "is not that of the payload list")
    if commitments_root(commitments) != header.commitments_root:
        raise InvalidContents("commitments_root", "is not that of the commitments")
    for index, entry in enumerate(payload_list.entries):
        if payload_id(entry.length, commitments[entry.first_row : entry.end_row]) != entry.payload_id:
            raise InvalidContents(
                f"payloads[{index}]", "payload_id is not that of its length and commitments"
            )
