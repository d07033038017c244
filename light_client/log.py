"""The light client's state: headers, committees, chosen coordinates and verdicts.

The idea: one SQLite file in the state directory. A batch's coordinates are drawn once, inside the transaction
that stores them, and are durable before the first cell is requested; a later run of the same batch, after a
crash or by choice, gets the same ones, and more only for a higher confidence. Headers are stored by (chain,
disperser, height): a second header there is evidence of equivocation, stored with both signatures.

Invariants: WAL with synchronous=FULL, so results of methods survive a power cut; one writer at a time
(BEGIN IMMEDIATE), so two processes on one directory agree on the coordinates. A batch has a bounded number of
reports, however often it is sampled: the newest ones, and the last of each deciding verdict.

Does not: verify anything (batch.py does, before), or store cells.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

from da.protocol import strict_json
from da.protocol.codec import U64_MAX
from da.protocol.header import FIRST_HEIGHT, Header
from erasure.constants import CELLS_PER_EXT_BLOB
from kzg.constants import FOLD_SEED_BYTES
from light_client.batch import SignedHeader
from light_client.errors import StateError
from sampling import Coordinates
from sampling.selection import extend_cells
from sampling.soundness import total_cells

_FILE = "light-client.sqlite3"
_SCHEMA_VERSION = 1
DRAWS_MAX = 4
"""Draws that a run asks for again; more are kept, but their number must not grow with each run."""
_BUSY_TIMEOUT_S = 10.0
_INTEGER_MAX = 2**63 - 1
_DOUBLINGS_MAX = 30
_PLAN_BYTES_MAX = 2**20  # many times the size of 1,024 cells, the most that are sampled of a batch
_SCHEMA = """
CREATE TABLE IF NOT EXISTS headers (
    chain_id BLOB NOT NULL, disperser_id BLOB NOT NULL, height BLOB NOT NULL,
    header_hash BLOB NOT NULL, timestamp_ms INTEGER NOT NULL, header BLOB NOT NULL,
    disperser_signature BLOB NOT NULL, certificate BLOB NOT NULL, seen_ms INTEGER NOT NULL,
    PRIMARY KEY (chain_id, disperser_id, height)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS headers_by_hash ON headers (header_hash);
CREATE TABLE IF NOT EXISTS equivocations (
    header_hash BLOB PRIMARY KEY, chain_id BLOB NOT NULL, disperser_id BLOB NOT NULL, height BLOB NOT NULL,
    header BLOB NOT NULL, disperser_signature BLOB NOT NULL, certificate BLOB NOT NULL,
    seen_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS plans (
    header_hash BLOB PRIMARY KEY, rows INTEGER NOT NULL, cells TEXT NOT NULL, chosen_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fold_draws (
    header_hash BLOB NOT NULL, number INTEGER NOT NULL, seed BLOB NOT NULL, columns BLOB NOT NULL,
    chosen_ms INTEGER NOT NULL, PRIMARY KEY (header_hash, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS verdicts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, header_hash BLOB NOT NULL, height TEXT NOT NULL,
    verdict TEXT NOT NULL, status TEXT NOT NULL, finished_ms INTEGER NOT NULL, report TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS verdicts_by_hash ON verdicts (header_hash, id);
CREATE TABLE IF NOT EXISTS committees (
    committee_hash BLOB PRIMARY KEY, document TEXT NOT NULL, previous_hash BLOB UNIQUE, handover BLOB
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS retries (
    header_hash BLOB PRIMARY KEY, undecided_runs INTEGER NOT NULL
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class VerdictRecord:
    """One finished run; `report` is its JSON."""

    id: int
    header_hash: bytes
    height: int
    verdict: str
    status: str
    finished_ms: int
    report: str


@dataclass(frozen=True, slots=True)
class FoldDraw:
    """A drawn seed, bytes[32], and all 128 columns in a drawn order."""

    seed: bytes
    columns: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StoredCommittee:
    """A committee's JSON, and the encoded handover that led to it; None when it was the user's file."""

    document: str
    handover: bytes | None


class HeaderLog:
    """The state directory, opened. Methods are short and synchronous; one thread uses an instance.

    Raises (any method):
        StateError: the file cannot be opened, read or written, or was written by another version.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.expanduser()
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._db = sqlite3.connect(
                self.directory / _FILE, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            with self._transaction():
                self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise StateError(f"{self.directory}: {error}") from error

    # --- headers -----------------------------------------------------------------------------------

    def put_header(self, signed: SignedHeader, now_ms: int) -> None:
        """Store a verified, certified header; does nothing when its height is taken."""
        header = signed.header
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO headers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *_key(header),
                    header.hash,
                    min(header.timestamp_ms, _INTEGER_MAX),
                    header.encode(),
                    signed.disperser_signature,
                    signed.certificate or b"",
                    now_ms,
                ),
            )

    def put_equivocation(self, signed: SignedHeader, now_ms: int) -> None:
        """Store the second header of a height."""
        header = signed.header
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO equivocations VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    header.hash,
                    *_key(header),
                    header.encode(),
                    signed.disperser_signature,
                    signed.certificate or b"",
                    now_ms,
                ),
            )

    def header_at(self, chain_id: int, disperser_id: bytes, height: int) -> SignedHeader | None:
        """The stored header at a height of a log."""
        if height < FIRST_HEIGHT or height > U64_MAX:
            return None
        with self._reading():
            return self._header_at(_u64(chain_id), disperser_id, _u64(height))

    def head(self, chain_id: int, disperser_id: bytes) -> SignedHeader | None:
        """The highest stored header of a log."""
        with self._reading():
            row = self._db.execute(
                "SELECT header, disperser_signature, certificate FROM headers"
                " WHERE chain_id = ? AND disperser_id = ? ORDER BY height DESC LIMIT 1",
                (_u64(chain_id), disperser_id),
            ).fetchone()
        return _signed(row) if row else None

    def equivocations(self) -> list[tuple[SignedHeader, SignedHeader]]:
        """All evidence of equivocation, oldest first: the stored header at the height, and the other one."""
        columns = "{0}.header, {0}.disperser_signature, {0}.certificate"
        with self._reading():
            rows = self._db.execute(
                f"SELECT {columns.format('h')}, {columns.format('e')} FROM equivocations e"  # noqa: S608
                " JOIN headers h USING (chain_id, disperser_id, height) ORDER BY e.seen_ms, e.header_hash"
            ).fetchall()
        return [(_signed(row[:3]), _signed(row[3:])) for row in rows]

    def due(
        self,
        chain_id: int,
        disperser_id: bytes,
        *,
        oldest_ms: int,
        now_ms: int,
        retry_ms: int,
        retry_max_ms: int,
        limit: int,
    ) -> list[SignedHeader]:
        """Headers to sample, newest first: without a verdict, or undecided and last tried long enough ago.

        Args:
            oldest_ms: batches with an earlier timestamp are skipped.
            retry_ms: how long a batch waits after its first undecided run; twice as long after each further
                one in a row, `retry_max_ms` at most.
        """
        with self._reading():
            rows = self._db.execute(
                "SELECT header, disperser_signature, certificate FROM headers h"
                " LEFT JOIN verdicts v ON v.id = ("
                "  SELECT max(id) FROM verdicts WHERE header_hash = h.header_hash)"
                " LEFT JOIN retries r ON r.header_hash = h.header_hash"
                " WHERE h.chain_id = ? AND h.disperser_id = ? AND h.timestamp_ms >= ?"
                " AND (v.id IS NULL OR (v.verdict = 'undecided' AND v.finished_ms"
                "  + min(?, ? * (1 << min(ifnull(r.undecided_runs, 1) - 1, ?))) <= ?))"
                " ORDER BY h.height DESC LIMIT ?",
                (
                    *(_u64(chain_id), disperser_id, oldest_ms),
                    *(retry_max_ms, retry_ms, _DOUBLINGS_MAX, now_ms),
                    limit,
                ),
            ).fetchall()
        return [_signed(row) for row in rows]

    # --- committees --------------------------------------------------------------------------------

    def put_committee(
        self, committee_hash: bytes, stored: StoredCommittee, previous_hash: bytes | None
    ) -> None:
        """Store a verified committee, after the one that handed over to it; the first successor stays."""
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO committees VALUES (?, ?, NULL, NULL)",
                (committee_hash, stored.document),
            )
            if previous_hash is not None:
                self._db.execute(
                    "UPDATE OR IGNORE committees SET previous_hash = ?, handover = ?"
                    " WHERE committee_hash = ? AND previous_hash IS NULL",
                    (previous_hash, stored.handover, committee_hash),
                )

    def committee(self, committee_hash: bytes) -> StoredCommittee | None:
        """The stored committee with this hash."""
        with self._reading():
            row = self._db.execute(
                "SELECT document, handover FROM committees WHERE committee_hash = ?", (committee_hash,)
            ).fetchone()
        return StoredCommittee(*row) if row else None

    def committee_before(self, committee_hash: bytes) -> bytes | None:
        """The hash of the stored committee that handed over to this one."""
        with self._reading():
            row = self._db.execute(
                "SELECT previous_hash FROM committees WHERE committee_hash = ?", (committee_hash,)
            ).fetchone()
        return row[0] if row else None

    def committee_after(self, committee_hash: bytes) -> bytes | None:
        """The hash of the stored committee that this one handed over to."""
        with self._reading():
            row = self._db.execute(
                "SELECT committee_hash FROM committees WHERE previous_hash = ?", (committee_hash,)
            ).fetchone()
        return row[0] if row else None

    # --- coordinates -------------------------------------------------------------------------------

    def fold_draws(
        self, header_hash: bytes, rng: Random, now_ms: int, *, fresh: bool
    ) -> tuple[FoldDraw, ...]:
        """The draws of a batch, the first first; one is added when there is none, or `fresh` asks for it.

        Durable on return. Draws made before are never dropped or replaced; of more than DRAWS_MAX the first
        and the last ones are returned.
        """
        with self._transaction():
            rows = self._db.execute(
                "SELECT seed, columns FROM fold_draws WHERE header_hash = ? ORDER BY number", (header_hash,)
            ).fetchall()
            draws = [self._read_draw(*row) for row in rows]
            if not draws or fresh:
                order = list(range(CELLS_PER_EXT_BLOB))
                rng.shuffle(order)
                draw = FoldDraw(rng.randbytes(FOLD_SEED_BYTES), tuple(order))
                self._db.execute(
                    "INSERT INTO fold_draws VALUES (?, ?, ?, ?, ?)",
                    (header_hash, len(draws), draw.seed, bytes(draw.columns), now_ms),
                )
                draws.append(draw)
        return tuple(draws if len(draws) <= DRAWS_MAX else [draws[0], *draws[1 - DRAWS_MAX :]])

    def plan(
        self, header_hash: bytes, rows: int, samples: int, rng: Random, now_ms: int, *, fresh: bool = False
    ) -> tuple[Coordinates, ...]:
        """The cells to sample of a batch: those chosen before, plus new ones up to `samples`.

        Durable on return. Cells chosen before are never dropped or replaced. `fresh` adds `samples` new ones,
        as far as the batch has so many.
        """
        with self._transaction():
            row = self._db.execute("SELECT cells FROM plans WHERE header_hash = ?", (header_hash,)).fetchone()
            chosen = self._read_cells(row[0]) if row else ()
            if fresh and chosen:
                samples = min(len(chosen) + samples, total_cells(rows))
            if len(chosen) >= samples:
                return chosen
            cells = extend_cells(rows, chosen, samples, rng)
            self._db.execute(
                "INSERT INTO plans VALUES (?, ?, ?, ?)"
                " ON CONFLICT (header_hash) DO UPDATE SET cells = excluded.cells",
                (header_hash, rows, json.dumps(cells), now_ms),
            )
            return cells

    def has_plan(self, header_hash: bytes) -> bool:
        """Whether cells of the batch were chosen before."""
        query = "SELECT 1 FROM plans WHERE header_hash = ?"
        with self._reading():
            return self._db.execute(query, (header_hash,)).fetchone() is not None

    def has_draw(self, header_hash: bytes) -> bool:
        """Whether a seed and columns of the batch were drawn before."""
        query = "SELECT 1 FROM fold_draws WHERE header_hash = ?"
        with self._reading():
            return self._db.execute(query, (header_hash,)).fetchone() is not None

    # --- verdicts ----------------------------------------------------------------------------------

    def put_verdict(
        self,
        header_hash: bytes,
        height: int,
        verdict: str,
        status: str,
        now_ms: int,
        report: str,
        *,
        keep: int,
    ) -> int:
        """Append a run's outcome; returns its number.

        Keeps the newest `keep` outcomes of the batch, and also the last `available` and the last
        `unavailable` one.
        """
        with self._transaction():
            cursor = self._db.execute(
                "INSERT INTO verdicts (header_hash, height, verdict, status, finished_ms, report)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (header_hash, str(height), verdict, status, now_ms, report),
            )
            self._db.execute(
                "DELETE FROM verdicts WHERE header_hash = :batch"
                " AND id NOT IN (SELECT id FROM verdicts WHERE header_hash = :batch"
                "  ORDER BY id DESC LIMIT :keep)"
                " AND id NOT IN (SELECT max(id) FROM verdicts WHERE header_hash = :batch"
                "  AND verdict != 'undecided' GROUP BY verdict)",
                {"batch": header_hash, "keep": keep},
            )
            if verdict == "undecided":
                self._db.execute(
                    "INSERT INTO retries VALUES (?, 1)"
                    " ON CONFLICT (header_hash) DO UPDATE SET undecided_runs = undecided_runs + 1",
                    (header_hash,),
                )
            else:
                self._db.execute("DELETE FROM retries WHERE header_hash = ?", (header_hash,))
            assert cursor.lastrowid is not None
            return cursor.lastrowid

    def verdicts(self, *, header_hash: bytes | None = None, limit: int = 100) -> list[VerdictRecord]:
        """Outcomes of runs, newest first; of one batch when its hash is given."""
        where, values = ("WHERE header_hash = ?", (header_hash,)) if header_hash is not None else ("", ())
        with self._reading():
            rows = self._db.execute(
                "SELECT id, header_hash, height, verdict, status, finished_ms, report FROM verdicts"  # noqa: S608
                f" {where} ORDER BY id DESC LIMIT ?",
                (*values, limit),
            ).fetchall()
        return [_verdict(row) for row in rows]

    def verdict(self, number: int) -> VerdictRecord | None:
        """The outcome with this number."""
        with self._reading():
            row = self._db.execute(
                "SELECT id, header_hash, height, verdict, status, finished_ms, report FROM verdicts"
                " WHERE id = ?",
                (number,),
            ).fetchone()
        return _verdict(row) if row else None

    # --- internals --------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _prepare(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version not in (0, _SCHEMA_VERSION):
            raise StateError(
                f"{self.directory}: schema version {version} is not supported; use another state directory"
            )
        for statement in _SCHEMA.split(";"):
            self._db.execute(statement)
        self._db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")

    def _read_draw(self, seed: object, columns: object) -> FoldDraw:
        if (
            not isinstance(seed, bytes)
            or not isinstance(columns, bytes)
            or len(seed) != FOLD_SEED_BYTES
            or sorted(columns) != list(range(CELLS_PER_EXT_BLOB))
        ):
            raise self._damaged()
        return FoldDraw(seed, tuple(columns))

    def _damaged(self) -> StateError:
        return StateError(
            f"{self.directory}: the stored coordinates of a batch are damaged; use another state "
            "directory, or restore this one from a backup"
        )

    def _read_cells(self, text: str | bytes) -> tuple[Coordinates, ...]:
        try:
            return _coordinates(strict_json.loads(text, max_bytes=_PLAN_BYTES_MAX))
        except (ValueError, TypeError):
            raise self._damaged() from None

    def _header_at(self, chain_id: bytes, disperser_id: bytes, height: bytes) -> SignedHeader | None:
        row = self._db.execute(
            "SELECT header, disperser_signature, certificate FROM headers"
            " WHERE chain_id = ? AND disperser_id = ? AND height = ?",
            (chain_id, disperser_id, height),
        ).fetchone()
        return _signed(row) if row else None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._reading():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StateError(f"{self.directory}: {error}") from error


def _coordinates(cells: object) -> tuple[Coordinates, ...]:
    if not isinstance(cells, list) or not cells:
        raise ValueError("not a list of cells")
    for cell in cells:
        if not (isinstance(cell, list) and len(cell) == 2 and all(type(part) is int for part in cell)):
            raise ValueError("not [row, column]")
    return tuple(Coordinates(*cell) for cell in cells)


def _u64(value: int) -> bytes:
    """Big-endian, so that bytes sort like numbers; SQLite's integers end at 2^63."""
    return value.to_bytes(8, "big")


def _key(header: Header) -> tuple[bytes, bytes, bytes]:
    return _u64(header.chain_id), header.disperser_id, _u64(header.height)


def _signed(row: Sequence[bytes]) -> SignedHeader:
    header, signature, certificate = row
    return SignedHeader(Header.decode(header), signature, certificate or None)


def _verdict(row: Sequence[Any]) -> VerdictRecord:
    number, header_hash, height, *rest = row
    return VerdictRecord(number, header_hash, int(height), *rest)
