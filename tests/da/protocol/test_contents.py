from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from da.protocol import InvalidContents, PayloadList, check_contents, commitments_root


def refused(header: Any, payload_list: Any, commitments: Any) -> str:
    with pytest.raises(InvalidContents) as caught:
        check_contents(header, payload_list, commitments)
    return caught.value.field


def test_what_belongs_together_passes(batch: Any):
    check_contents(batch.header, batch.payload_list, batch.commitments)


def test_other_commitments_are_refused(batch: Any):
    changed = batch.commitments.copy()
    changed[1, 0] ^= 1
    assert refused(batch.header, batch.payload_list, changed) == "commitments_root"
    assert refused(batch.header, batch.payload_list, batch.commitments[:-1]) == "commitments"
    assert refused(batch.header, batch.payload_list, batch.commitments[:, :47]) == "commitments"
    assert refused(batch.header, batch.payload_list, batch.commitments.astype(np.int64)) == "commitments"


def test_another_list_is_refused(batch: Any):
    changed = dataclasses.replace(batch.payload_list.entries[0], payload_id=bytes(32))
    other = PayloadList((changed, *batch.payload_list.entries[1:]))
    assert refused(batch.header, other, batch.commitments) == "payloads_root"
    shorter = PayloadList(batch.payload_list.entries[:1])
    assert refused(batch.header, shorter, batch.commitments) == "row_count"


def test_a_disperser_cannot_bind_a_payload_id_to_other_rows(batch: Any):
    """All roots agree, but an id is not that of its rows: nobody could trust ids if this passed."""
    commitments = batch.commitments.copy()
    commitments[-1, 0] ^= 1
    header = dataclasses.replace(batch.header, commitments_root=commitments_root(commitments))
    assert refused(header, batch.payload_list, commitments).startswith("payloads[")


def test_a_disperser_cannot_state_another_length(batch: Any):
    longer = dataclasses.replace(
        batch.payload_list.entries[0], length=batch.payload_list.entries[0].length + 1
    )
    payload_list = PayloadList((longer, *batch.payload_list.entries[1:]))
    header = dataclasses.replace(batch.header, payloads_root=payload_list.root)
    assert refused(header, payload_list, batch.commitments) == "payloads[0]"
