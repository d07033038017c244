"""Rescue: a batch that its holders withhold, rebuilt from what light clients sampled.

Flow of a contribution:
- anyone brings folds or cells of a certified batch; what this node holds, has already, or has enough of for
  its column is left out, and the rest verified against the certified commitments in one call;
- the equations are stored durably, within the room for all, for one address, and of one batch against others;
- when the solved and the held columns are 64, the columns are solved, verified like columns of a push, and
  stored; then repair has what it needs for the others;
- the solved columns are handed over, as contributions, to members that lack them.

Invariants: nothing unverified is stored; a batch takes at most R equations a column, and none once 64 columns
can be had here; a full room favours the batch that has the least in it, so that a flood of contributions to
some batches does not keep others out.

Does not: find out whether a batch is withheld: equations are taken beforehand, since later may be too late.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import numpy as np

from da.errors import (
    Expired,
    InvalidContribution,
    InvalidRequest,
    NotCertified,
    NotFound,
    PeerError,
    QueueFull,
    ReadOnly,
)
from da.member.equations import Equation, EquationTable, cell_tag, fold_tag
from da.member.repair import Repair
from da.protocol.columns import Records, VerifiedRecords
from da.protocol.committee import Member
from da.protocol.push import RECORD_BYTES
from da.runtime.admission import Budget
from da.runtime.context import NodeContext
from da.runtime.verification import bad_columns
from da.store.base import BatchRecord
from da.store.errors import CorruptBatch, CorruptRecord
from da.wire import contributions
from da.wire.contributions import Cells, Contribution, ContributionAnswer, Folds
from erasure.columns import parity_weight_row
from erasure.constants import BYTES_PER_CELL, CELLS_PER_BLOB, CELLS_PER_EXT_BLOB
from erasure.equations import solve
from kzg.engine import Verifier
from kzg.errors import EngineFailed, InvalidCell, InvalidPoint
from kzg.folds import fold_scalars
from kzg.points import combine_points

log = logging.getLogger("cellar.member.rescue")

RETRY_AFTER_S = 60
CHECK_WAIT_S = 10.0
CHECKS_WAITING_MAX = 64


class Rescue:
    """Takes contributions, and solves batches."""

    def __init__(self, context: NodeContext, table: EquationTable, repair: Repair) -> None:
        self._context = context
        self._table = table
        self._repair = repair
        self._solvable: dict[bytes, None] = {}  # in the order in which they became so
        self._wake = asyncio.Event()
        self._lane = Budget(
            1,
            wait_s=CHECK_WAIT_S,
            queue_max=CHECKS_WAITING_MAX,
            refuse=lambda reason: QueueFull(2, f"contributions are checked in turn: {reason}"),
        )

    # --- contributions ----------------------------------------------------------------------

    async def take(self, header_hash: bytes, contribution: Contribution, owner: str) -> ContributionAnswer:
        """See Node.contribute."""
        record = await self._context.store.batch(header_hash)
        if record.certificate is None:
            raise NotCertified("0x" + header_hash.hex(), "dispersing")
        rows = record.header.row_count
        equations = _equations(contribution)
        if any(equation.seed is None and equation.row >= 2 * rows for equation in equations):
            raise InvalidRequest(f"the batch has rows 0..{2 * rows - 1}")
        async with self._lane.hold():
            tags = await self._context.workers.io(self._table.tags, header_hash)
            new = _new(equations, tags, record)
            if new:
                await self._check(record, contribution, new)
                stored = [equations[position] for position in new]
                await self._store(record, stored, owner)
                for equation in stored:
                    tags.setdefault(equation.column, set()).add(equation.tag)
        wanted = _wanted(record, tags)
        if new and not wanted:
            self._solvable[header_hash] = None
            self._wake.set()
        return ContributionAnswer(len(new), wanted)

    async def _check(self, record: BatchRecord, contribution: Contribution, new: Sequence[int]) -> None:
        context = self._context
        valid = await context.workers.compute(
            _is_valid, context.verifier, record.header.hash, record.commitments, contribution, new
        )
        if not valid:
            raise InvalidContribution("an equation does not verify against the certified commitments")

    async def _store(self, record: BatchRecord, equations: Sequence[Equation], owner: str) -> None:
        config, io = self._context.config.rescue, self._context.workers.io
        size, header_hash = len(equations) * RECORD_BYTES, record.header.hash
        if await io(self._table.bytes_of, owner) + size > config.bytes_per_address_max:
            raise QueueFull(RETRY_AFTER_S, "your address has contributed all that one address may")
        counts = await io(self._table.counts)
        while sum(counts.values()) * RECORD_BYTES + size > config.bytes_max:
            largest = max(counts, key=lambda each: counts[each], default=header_hash)
            if largest == header_hash or counts[largest] <= counts.get(header_hash, 0) + len(equations):
                raise QueueFull(RETRY_AFTER_S, "the room for contributions is full")
            log.warning("contributions to batch %s dropped: others have less room", largest.hex())
            await io(self._table.drop, largest)
            del counts[largest]
        try:
            await io(self._table.add, header_hash, owner, equations)
        except OSError as error:
            raise ReadOnly(f"contributions: {error.strerror}") from error
        self._context.metrics.contributions.inc(len(equations))

    # --- solving ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Solve what can be solved; forget what has expired."""
        self._solvable.update(dict.fromkeys(await self._context.workers.io(self._table.counts)))
        while True:
            while self._solvable:
                header_hash = next(iter(self._solvable))
                await self._solve(header_hash)
                self._solvable.pop(header_hash, None)
            self._wake.clear()
            try:
                async with asyncio.timeout(self._context.config.member.retention_interval_s):
                    await self._wake.wait()
            except TimeoutError:
                await self._forget()

    async def _solve(self, header_hash: bytes) -> None:
        context = self._context
        try:
            record = await context.store.batch(header_hash)
            tags = await context.workers.io(self._table.tags, header_hash)
            if _wanted(record, tags):
                return
            complete = [column for column in _complete(record, tags) if column not in record.columns]
            for column in complete[: max(0, CELLS_PER_BLOB - len(record.columns))]:
                await self._solve_column(record, column)
            record = await context.store.batch(header_hash)
            if len(record.columns) >= CELLS_PER_BLOB:
                log.info("batch %s: %d columns are here again", header_hash.hex(), len(record.columns))
                await context.workers.io(self._table.drop, header_hash)
                self._repair.request(header_hash)
                await self._hand_over(record)
        except (NotFound, Expired):
            await context.workers.io(self._table.drop, header_hash)
        except (ReadOnly, CorruptBatch) as error:
            log.warning("batch %s not solved, retrying: %s", header_hash.hex(), error)

    async def _solve_column(self, record: BatchRecord, column: int) -> None:
        context = self._context
        header = record.header
        equations = await context.workers.io(self._table.column, header.hash, column)
        records = await context.workers.compute(_solved, header.hash, header.row_count, equations)
        if records is None:
            log.warning("batch %s: the equations of column %d are dependent", header.hash.hex(), column)
            return
        bad = await context.workers.compute(
            bad_columns, context.verifier, record.commitments, [column], records[np.newaxis]
        )
        if bad:  # each equation was verified, and they determine the column
            raise EngineFailed(f"column {column}, solved from verified equations, does not verify")
        await context.store.add_columns(header.hash, [(column, VerifiedRecords(records))])
        context.metrics.rescued_columns.inc()
        context.changed.announce()

    async def _forget(self) -> None:
        """Drop the equations of batches that have expired or that are whole."""
        for header_hash in await self._context.workers.io(self._table.counts):
            try:
                record = await self._context.store.batch(header_hash)
            except (NotFound, Expired):
                await self._context.workers.io(self._table.drop, header_hash)
            except (ReadOnly, CorruptBatch):
                continue
            else:
                if len(record.columns) >= CELLS_PER_BLOB:
                    await self._context.workers.io(self._table.drop, header_hash)

    # --- handing over -----------------------------------------------------------------------

    async def _hand_over(self, record: BatchRecord) -> None:
        """Contribute the columns that are here to each member that wants them."""
        results = await asyncio.gather(
            *(self._hand_to(member, record) for member in self._context.peers), return_exceptions=True
        )
        for member, result in zip(self._context.peers, results, strict=True):
            if isinstance(result, PeerError):
                log.info("batch %s not handed over: %s", record.header.hash.hex(), result)
            elif isinstance(result, BaseException) and not isinstance(result, CorruptRecord):
                raise result
            elif isinstance(result, int) and result:
                log.info("batch %s: %s took %d cells", record.header.hash.hex(), member.name, result)

    async def _hand_to(self, member: Member, record: BatchRecord) -> int:
        """Cells that the member took."""
        wanted: Sequence[int] | None = None
        taken = 0
        for column in record.columns:
            if wanted is not None and column not in wanted:
                continue
            records = await self._context.store.read_column(record.header.hash, column)
            if records is None:
                continue
            for start in range(0, len(records), contributions.EQUATIONS_MAX):
                part = records[start : start + contributions.EQUATIONS_MAX]
                cells = Cells(tuple((start + row, column) for row in range(len(part))), part)
                answer = await self._context.transport.contribute(
                    member, record.header.hash, cells, self._context.config.reading.peer_timeout_s
                )
                taken += answer.taken
                wanted = answer.wanted
            if not wanted:
                break
        return taken


def _equations(contribution: Contribution) -> list[Equation]:
    if isinstance(contribution, Folds):
        tag = fold_tag(contribution.seed)
        places = [(column, tag) for column in contribution.columns]
    else:
        places = [(column, cell_tag(row)) for row, column in contribution.pairs]
    return [
        Equation(column, tag, record.tobytes())
        for (column, tag), record in zip(places, contribution.records, strict=True)
    ]


def _complete(record: BatchRecord, tags: dict[int, set[bytes]]) -> list[int]:
    """Columns that are held, or have as many equations as rows."""
    held, rows = set(record.columns), record.header.row_count
    return [c for c in range(CELLS_PER_EXT_BLOB) if c in held or len(tags.get(c, ())) >= rows]


def _wanted(record: BatchRecord, tags: dict[int, set[bytes]]) -> tuple[int, ...]:
    """Columns that this node would still take equations of; none once 64 are to be had here."""
    complete = _complete(record, tags)
    if len(complete) >= CELLS_PER_BLOB:
        return ()
    return tuple(sorted(set(range(CELLS_PER_EXT_BLOB)) - set(complete)))


def _new(equations: Sequence[Equation], tags: dict[int, set[bytes]], record: BatchRecord) -> list[int]:
    """Positions of the equations that help: of a wanted column, at a free place, at most R a column."""
    wanted, rows = set(_wanted(record, tags)), record.header.row_count
    counts = {column: len(found) for column, found in tags.items()}
    new = []
    for position, equation in enumerate(equations):
        column = equation.column
        if column in wanted and equation.tag not in tags.get(column, ()) and counts.get(column, 0) < rows:
            counts[column] = counts.get(column, 0) + 1
            new.append(position)
    return new


def _is_valid(
    verifier: Verifier,
    header_hash: bytes,
    commitments: Records,
    contribution: Contribution,
    positions: Sequence[int],
) -> bool:
    """Whether the equations at these positions hold, as one batch."""
    chosen = list(positions)
    records = contribution.records[chosen]
    cells = np.ascontiguousarray(records[:, :BYTES_PER_CELL])
    proofs = np.ascontiguousarray(records[:, BYTES_PER_CELL:])
    try:
        if isinstance(contribution, Folds):
            scalars = fold_scalars(contribution.seed, header_hash, len(commitments))
            (folded,) = verifier.fold_commitments(commitments, scalars[np.newaxis])
            columns = np.array([contribution.columns[position] for position in chosen])
            return verifier.verify_cells(np.tile(folded, (len(chosen), 1)), columns, cells, proofs)
        pairs = [contribution.pairs[position] for position in chosen]
        return verifier.verify_matrix_cells(
            commitments, np.array([row for row, _ in pairs]), np.array([c for _, c in pairs]), cells, proofs
        )
    except (InvalidCell, InvalidPoint):
        return False


def _solved(header_hash: bytes, rows: int, equations: Sequence[Equation]) -> Records | None:
    """The column u8[R,2096] that verified equations determine; None when they depend on each other."""
    solution = solve(rows, (_weights(header_hash, rows, equation) for equation in equations))
    if solution is None:
        return None
    sides = np.frombuffer(b"".join(equations[k].record for k in solution.chosen), dtype=np.uint8)
    sides = sides.reshape(rows, RECORD_BYTES)
    cells = solution.apply(np.ascontiguousarray(sides[:, :BYTES_PER_CELL]))
    proofs = combine_points("proof", np.ascontiguousarray(sides[:, BYTES_PER_CELL:]), solution.weights)
    return np.concatenate([cells, proofs], axis=1)


def _weights(header_hash: bytes, rows: int, equation: Equation) -> Sequence[int]:
    """The weights of the column's cells in an equation."""
    if equation.seed is not None:
        scalars = fold_scalars(equation.seed, header_hash, rows)
        return [int.from_bytes(scalar.tobytes(), "big") for scalar in scalars]
    if equation.row >= rows:
        return parity_weight_row(rows, equation.row - rows)
    return [int(row == equation.row) for row in range(rows)]
