"""Batches made by hand, as a disperser of a simulated committee would make them, or nearly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da.protocol.attestation import Attestation
from da.protocol.certificate import Certificate
from da.protocol.custody import columns_of
from da.protocol.header import ZERO_HASH, Header
from da.protocol.merkle import commitments_root
from da.protocol.payload import payload_id
from da.protocol.payload_list import PayloadEntry, PayloadList
from da.protocol.proposal import Proposal, sign_header
from da.protocol.push import RECORD_BYTES, ColumnPush
from da.protocol.push_signature import sign_push
from erasure.constants import BYTES_PER_CELL
from erasure.packing import pack
from tests.simulation.world import NAMESPACE, START_MS, World


@dataclass
class Made:
    """A batch: everything of it."""

    header: Header
    signature: bytes
    payload_list: PayloadList
    commitments: NDArray[np.uint8]
    records: NDArray[np.uint8]  # u8[128,R,2096]
    payload: bytes

    def push_to(self, world: World, index: int) -> ColumnPush:
        """What the member at seat `index` should get."""
        member = world.committee.member_index(world.seats[index].id)
        assert member is not None
        columns = columns_of(world.committee, member)
        return ColumnPush(
            Proposal(self.header, self.signature, self.payload_list, self.commitments),
            sign_push(world.disperser.secret, self.header, world.seats[index].id),
            columns,
            self.records[list(columns)],
        )

    def certificate(self, world: World) -> bytes:
        """A certificate signed by everybody."""
        signatures = {}
        for seat in world.seats:
            index = world.committee.member_index(seat.id)
            assert index is not None
            signatures[index] = Attestation.sign(seat.secret, self.header).signature
        return Certificate.gather(self.header, world.committee, signatures).encode()


def make_batch(
    world: World,
    payload: bytes = b"some bytes",
    parent: Made | None = None,
    secret: bytes | None = None,
    fields: dict[str, Any] | None = None,
    blobs: NDArray[np.uint8] | None = None,
) -> Made:
    """A good batch of one payload on top of `parent`; `fields` replace the header's before it is signed.

    `blobs` replace the payload's packing.
    """
    blobs = pack(payload) if blobs is None else blobs
    commitments = world.engine.commit(blobs)
    cells, proofs = world.engine.prove(blobs)
    records = np.empty((128, len(blobs), RECORD_BYTES), dtype=np.uint8)
    records[:, :, :BYTES_PER_CELL] = cells.transpose(1, 0, 2)
    records[:, :, BYTES_PER_CELL:] = proofs.transpose(1, 0, 2)
    entry = PayloadEntry(NAMESPACE, payload_id(len(payload), commitments), 0, len(blobs), len(payload))
    payload_list = PayloadList((entry,))
    header = Header(
        chain_id=world.committee.chain_id,
        disperser_id=world.disperser.id,
        height=parent.header.height + 1 if parent else 1,
        timestamp_ms=START_MS,
        parent=parent.header.hash if parent else ZERO_HASH,
        committee_hash=world.committee.hash,
        row_count=len(blobs),
        payloads_root=payload_list.root,
        commitments_root=commitments_root(commitments),
    )
    header = replace(header, **(fields or {}))
    signature = sign_header(secret or world.disperser.secret, header)
    return Made(header, signature, payload_list, commitments, records, payload)
