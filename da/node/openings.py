"""Point openings of payloads, queued apart from other work.

Anyone may ask for an opening, and each new one costs a tenth of a second of a core; so openings take turns
apart from all other work. `concurrent_openings_max` are made at once, from the first row read to the proof,
`openings_waiting_max` wait for their turn, more get QueueFull. A flood of them slows down nothing but other
openings.

Invariants: an opening made lately is answered from memory; the same one asked for by many is made once.
"""

from __future__ import annotations

from collections import OrderedDict

from da.errors import InvalidRequest, QueueFull
from da.member.fetch import RowRange
from da.node.lookup import PayloadLookup
from da.node.payloads import PayloadReader
from da.node.types import PayloadOpening
from da.runtime.admission import Budget
from da.runtime.context import NodeContext
from da.store.base import BatchRecord
from erasure.constants import FIELD_ELEMENTS_PER_BLOB
from kzg.openings import Opening, open_index, open_point

CACHED_MAX = 4096  # openings kept: about 4 MB
RETRY_AFTER_S = 2

Point = bytes | int  # z, or the index of an element of its row
_Key = tuple[bytes, Point]  # the row's commitment, and where it is opened


class Openings:
    """Makes openings."""

    def __init__(self, context: NodeContext, lookup: PayloadLookup, payloads: PayloadReader) -> None:
        self._context = context
        self._lookup = lookup
        self._payloads = payloads
        self._made: OrderedDict[_Key, Opening] = OrderedDict()
        self._lane = Budget(
            context.config.reading.concurrent_openings_max,
            wait_s=context.config.reading.opening_wait_s,
            queue_max=context.config.reading.openings_waiting_max,
            refuse=lambda reason: QueueFull(RETRY_AFTER_S, f"openings take turns, {reason}"),
        )

    async def opening(
        self, payload_id: bytes, z: bytes | None, index: int | None, row: int
    ) -> PayloadOpening:
        """See Node.opening."""
        if (z is None) == (index is None):
            raise InvalidRequest("give either z or index, and not both")
        if index is not None:
            row, index = divmod(index, FIELD_ELEMENTS_PER_BLOB)
        point = z if index is None else index
        assert point is not None, "one of the two is given"
        record, entry = await self._lookup.place(payload_id, None)
        if not 0 <= row < entry.row_count:
            raise InvalidRequest(f"row must be in 0..{entry.row_count - 1}; got {row}")
        batch_row = entry.first_row + row
        key = (record.commitments[batch_row].tobytes(), point)
        opening = self._known(key)
        if opening is None:
            async with self._lane.hold():
                opening = self._known(key) or await self._make(record, batch_row, key)
        return PayloadOpening(payload_id, row, batch_row, record.header.hash, opening)

    def _known(self, key: _Key) -> Opening | None:
        opening = self._made.get(key)
        if opening is not None:
            self._made.move_to_end(key)
        return opening

    async def _make(self, record: BatchRecord, batch_row: int, key: _Key) -> Opening:
        commitment, point = key
        blobs = await self._payloads.rows(record, RowRange(batch_row, 1))
        compute = self._context.workers.compute
        if isinstance(point, int):
            opening = await compute(open_index, blobs[0], point, commitment=commitment)
        else:
            opening = await compute(open_point, blobs[0], point, commitment=commitment)
        self._made[key] = opening
        if len(self._made) > CACHED_MAX:
            self._made.popitem(last=False)
        return opening
