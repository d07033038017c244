"""A committee of fake members over real data: real rows, cells, proofs, keys and certificates.

Each member is a Starlette application that speaks the batch routes and can be told to misbehave. Tests reach
them in process (`World.transport`) or over a loopback server (`serve`).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from da import bls
from da.protocol.attestation import Attestation
from da.protocol.certificate import Certificate
from da.protocol.committee import Committee, Member
from da.protocol.committee_chain import Link
from da.protocol.custody import COLUMNS, columns_of
from da.protocol.header import ZERO_HASH, Header
from da.protocol.merkle import commitments_root
from da.protocol.payload import payload_id
from da.protocol.payload_list import PayloadEntry, PayloadList
from da.protocol.proposal import sign_header
from da.wire import batch_bytes, batches, cells, contributions, errors, folds, payloads
from da.wire import committees as wire_committees
from da.wire.payloads import PayloadInfo
from erasure.columns import parity_cells
from erasure.constants import BYTES_PER_CELL, MAX_ROWS
from erasure.packing import capacity, pack, rows_for
from kzg import CkzgEngine
from kzg.engine import Engine
from kzg.folds import fold_columns, fold_scalars
from kzg.parity import parity_proofs
from light_client import HeaderLog, LightClient, LightClientSettings, Members

T = TypeVar("T")
Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Cell = tuple[int, int]

MEMBERS = 6
CHAIN_ID = 77
NOW_MS = 1_900_000_000_000
NAMESPACE = b"rollup-a".ljust(32, b"\0")


def run(work: Awaitable[T]) -> T:
    """Run a coroutine to its end."""

    async def awaited() -> T:
        return await work

    return asyncio.run(awaited())


@dataclass(frozen=True, eq=False)
class Matrix:
    """R proven data rows of one payload; parity rows on demand."""

    payload: bytes
    commitments: Bytes
    cells: Bytes
    proofs: Bytes
    _parity: dict[int, tuple[Bytes, Bytes]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return len(self.commitments)

    def record(self, row: int, column: int) -> bytes:
        """cell || proof of any cell of the 2R x 128 matrix."""
        if row < self.rows:
            return self.cells[row, column].tobytes() + self.proofs[row, column].tobytes()
        if column not in self._parity:
            cells = parity_cells(np.ascontiguousarray(self.cells[:, column]))
            self._parity[column] = cells, parity_proofs(np.ascontiguousarray(self.proofs[:, column]))
        cells, proofs = self._parity[column]
        return cells[row - self.rows].tobytes() + proofs[row - self.rows].tobytes()


@dataclass(frozen=True, eq=False)
class Batch:
    """A certified batch as members hold it."""

    header: Header
    disperser_signature: bytes
    certificate: bytes | None
    payload_list: PayloadList
    matrix: Matrix
    state: batches.State = "live"

    def document(self) -> dict[str, Any]:
        """The JSON of /v1/batches/{b}."""
        live: dict[str, Any] = {
            "disperser_signature": self.disperser_signature,
            "commitments": self.matrix.commitments,
        }
        return batches.encode(
            self.state,
            self.header,
            self.payload_list,
            certificate=self.certificate,
            **live if self.state == "live" else {},
        )

    def document_bytes(self) -> bytes:
        """The binary form of /v1/batches/{b}."""
        return batch_bytes.encode(
            self.header, self.disperser_signature, self.payload_list, self.matrix.commitments,
            self.certificate, (),
        )  # fmt: skip


class FakeMember:
    """One member: serves the batches it has, unless told otherwise.

    Attributes (set by tests):
        batches: what it has, ascending by height.
        withheld: says whether it pretends not to hold a cell.
        record: what it sends for a cell; the true record unless replaced.
        intercept: may answer any request in its stead.
        asked: every cell it was asked for, in order.
        folded: every (seed, column) whose fold it was asked for, in order.
        contributed: what it was offered.
        paths: every path it was asked for.
        links: of the chain of committees, that it knows.
    """

    def __init__(self, index: int, columns: Sequence[int]) -> None:
        self.index = index
        self.columns = frozenset(columns)
        self.batches: list[Batch] = []
        self.withheld: Callable[[Cell], bool] = lambda cell: False
        self.record: Callable[[Batch, Cell], bytes] = lambda batch, cell: batch.matrix.record(*cell)
        self.intercept: Callable[[Request], Awaitable[Response | None]] | None = None
        self.asked: list[Cell] = []
        self.folded: list[tuple[bytes, int]] = []
        self.contributed: list[contributions.Contribution] = []
        self.paths: list[str] = []
        self.links: tuple[Link, ...] = ()
        self.app = Starlette(
            routes=[
                Route("/v1/batches", self._page),
                Route("/v1/committees", self._committees),
                Route("/v1/batches/{b}", self._batch),
                Route("/v1/batches/{b}/cells", self._cells, methods=["POST"]),
                Route("/v1/batches/{b}/folds", self._folds, methods=["POST"]),
                Route("/v1/batches/{b}/contributions", self._contributions, methods=["POST"]),
                Route("/v1/payloads/{id}/status", self._status),
            ]
        )

    async def _intercepted(self, request: Request) -> Response | None:
        self.paths.append(request.url.path)
        return await self.intercept(request) if self.intercept else None

    async def _page(self, request: Request) -> Response:
        answer = await self._intercepted(request)
        if answer:
            return answer
        start, limit = int(request.query_params["from"]), int(request.query_params["limit"])
        shown = [each for each in self.batches if each.header.height >= start and each.certificate][:limit]
        return JSONResponse(page_document(shown))

    async def _committees(self, request: Request) -> Response:
        answer = await self._intercepted(request)
        if answer:
            return answer
        start = int(request.query_params["from"])
        shown = [link for link in self.links if link.handover.terms.epoch >= start]
        return JSONResponse(wire_committees.encode_page(shown, None))

    async def _batch(self, request: Request) -> Response:
        answer = await self._intercepted(request)
        if answer:
            return answer
        batch = self._find(request.path_params["b"])
        if batch is None:
            return not_found()
        if batch.state == "live" and request.headers["accept"] == "application/octet-stream":
            return Response(batch.document_bytes(), media_type="application/octet-stream")
        return JSONResponse(batch.document())

    async def _status(self, request: Request) -> Response:
        answer = await self._intercepted(request)
        if answer:
            return answer
        wanted = bytes.fromhex(request.path_params["id"][2:])
        for batch in self.batches:
            if batch.payload_list.index_of(wanted) is not None:
                return JSONResponse(status_document(wanted, batch.header.hash))
        return not_found()

    async def _cells(self, request: Request) -> Response:
        pairs = cells.decode_query(await request.body(), 2 * MAX_ROWS * COLUMNS)
        self.asked += pairs
        answer = await self._intercepted(request)
        if answer:
            return answer
        batch = self._find(request.path_params["b"])
        if batch is None:
            return not_found()
        held = (pair[1] in self.columns and not self.withheld(pair) for pair in pairs)
        served = [
            cells.Record(self.record(batch, pair)) if each else cells.NOT_HELD
            for pair, each in zip(pairs, held, strict=True)
        ]
        return Response(cells.encode_answer(served), media_type="application/octet-stream")

    async def _folds(self, request: Request) -> Response:
        query = folds.decode_query(await request.body())
        self.folded += [(query.seed, column) for column in query.columns]
        answer = await self._intercepted(request)
        if answer:
            return answer
        batch = self._find(request.path_params["b"])
        if batch is None:
            return not_found()
        served: list[cells.CellAnswer] = []
        for column in query.columns:
            rows = range(batch.matrix.rows)
            if column not in self.columns or any(self.withheld((row, column)) for row in rows):
                served.append(cells.NOT_HELD)
                continue
            records = [self.record(batch, (row, column)) for row in rows]
            served.append(cells.Record(fold_of(records, query.seed, batch.header.hash)))
        return Response(cells.encode_answer(served), media_type="application/octet-stream")

    async def _contributions(self, request: Request) -> Response:
        answer = await self._intercepted(request)
        if answer:
            return answer
        contribution = contributions.decode(await request.body())
        self.contributed.append(contribution)
        answered = contributions.ContributionAnswer(len(contribution.records), (1, 2))
        return JSONResponse(contributions.answer_document(answered))

    def _find(self, reference: str) -> Batch | None:
        for batch in self.batches:
            if reference in (str(batch.header.height), "0x" + batch.header.hash.hex()):
                return batch
        return None


def fold_of(records: Sequence[bytes], seed: bytes, header_hash: bytes) -> bytes:
    """The folded cell and proof of a column's records."""
    column = np.frombuffer(b"".join(records), dtype=np.uint8).reshape(1, len(records), -1)
    scalars = fold_scalars(seed, header_hash, len(records))[np.newaxis]
    cell, proof = fold_columns(column[..., :BYTES_PER_CELL], column[..., BYTES_PER_CELL:], scalars)
    return cell.tobytes() + proof.tobytes()


def page_document(shown: Sequence[Batch]) -> dict[str, Any]:
    """The JSON of /v1/batches, at the end of the log."""
    return batches.encode_page([each.document() for each in shown], None)


def status_document(payload_id: bytes, header_hash: bytes | None) -> dict[str, Any]:
    """The JSON of a payload's status; without a batch it is queued."""
    status = "queued" if header_hash is None else "certified"
    return payloads.encode(PayloadInfo(payload_id, NAMESPACE, status, 1, 1, header_hash=header_hash))


def lost_by(members: Sequence[FakeMember], batch: Batch) -> None:
    """These members have lost the batch: they list it, and do not serve it."""
    missing = replace(batch, state="missing")
    for member in members:
        member.batches = [missing if each is batch else each for each in member.batches]


def refusal(status: int, error: str) -> Response:
    """A member's own error."""
    return JSONResponse(errors.encode(error, "because", {}), status_code=status)


def not_found() -> Response:
    """A member's own 404."""
    return refusal(404, "NotFound")


async def until_disconnected(request: Request) -> None:
    """Hang until the client gives up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


@dataclass(eq=False)
class World:
    """A committee, its fake members, and the chain of batches that they hold."""

    committee: Committee
    secrets: dict[bytes, bytes]
    matrix: Matrix
    members: list[FakeMember]
    down: set[int] = field(default_factory=set)

    @property
    def disperser(self) -> Member:
        return self.committee.dispersers[0]

    def make_batch(
        self,
        parent: Header | None = None,
        *,
        matrix: Matrix | None = None,
        signers: Sequence[int] | None = None,
        **changes: Any,
    ) -> Batch:
        """A batch that extends `parent`, signed by the members at `signers` (all)."""
        matrix = matrix or self.matrix
        identity = payload_id(len(matrix.payload), matrix.commitments)
        payload_list = PayloadList((PayloadEntry(NAMESPACE, identity, 0, matrix.rows, len(matrix.payload)),))
        header = Header(
            chain_id=CHAIN_ID,
            disperser_id=self.disperser.id,
            height=parent.height + 1 if parent else 1,
            timestamp_ms=NOW_MS - 60_000 + (parent.height if parent else 0),
            parent=parent.hash if parent else ZERO_HASH,
            committee_hash=self.committee.hash,
            row_count=matrix.rows,
            payloads_root=payload_list.root,
            commitments_root=commitments_root(matrix.commitments),
        )
        header = replace(header, **changes)
        chosen = range(len(self.committee.members)) if signers is None else signers
        signatures = {index: Attestation.sign(self._secret(index), header).signature for index in chosen}
        certificate = Certificate.gather(header, self.committee, signatures).encode() if signatures else None
        disperser_index = self.committee.member_index(self.disperser.id)
        assert disperser_index is not None
        signature = sign_header(self._secret(disperser_index), header)
        return Batch(header, signature, certificate, payload_list, matrix)

    def chain(self, length: int) -> list[Batch]:
        """`length` batches, given to every member."""
        batches: list[Batch] = []
        for _ in range(length):
            batches.append(self.make_batch(batches[-1].header if batches else None))
        for member in self.members:
            member.batches = list(batches)
        return batches

    def transport(self, member: Member) -> httpx.AsyncBaseTransport:
        """Reaches a member in process; members that are `down` refuse connections."""
        index = self.committee.members.index(member)

        def refuse(request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("connection refused", request=request)

        if index in self.down:
            return httpx.MockTransport(refuse)
        return httpx.ASGITransport(self.members[index].app)

    @contextlib.asynccontextmanager
    async def client(
        self, state: Path, *, seed: int | None = 1, clock: Callable[[], int] = lambda: NOW_MS, **settings: Any
    ) -> Any:
        """A light client of this committee: in process, no waiting between attempts; of cells by default."""

        async def no_pause(seconds: float) -> None:
            await asyncio.sleep(0)

        chosen = LightClientSettings(state_dir=state, **{"mode": "cells", **settings})
        async with Members(self.committee, transport=self.transport) as members:
            with HeaderLog(state) as log, CkzgEngine(workers=1, precompute=0) as engine:
                yield LightClient(
                    self.committee,
                    chosen,
                    log,
                    members,
                    engine,
                    rng=random.Random(seed) if seed is not None else None,
                    clock=clock,
                    pause=no_pause,
                )

    def _secret(self, index: int) -> bytes:
        return self.secrets[self.committee.members[index].public_key]


def make_committee(
    urls: Sequence[str], dispersers: int = 1, **options: Any
) -> tuple[Committee, dict[bytes, bytes]]:
    """A committee with a member for each URL; secrets by public key."""
    secrets: dict[bytes, bytes] = {}
    members = []
    for index, url in enumerate(urls):
        secret = bytes([0, index + 1]) * 16
        key = bls.public_key(secret)
        secrets[key] = secret
        members.append(
            Member(
                name=f"node-{index}",
                url=url,
                public_key=key,
                proof_of_possession=bls.prove_possession(secret),
                stake=100,
                disperser=index < dispersers,
            )
        )
    return Committee(chain_id=CHAIN_ID, epoch=1, members=tuple(members), **options), secrets


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with CkzgEngine(workers=1, precompute=0) as opened:
        yield opened


@pytest.fixture(scope="session")
def matrix(engine: Engine) -> Matrix:
    """Two rows, proven once for all tests."""
    payload = random.Random(5).randbytes(capacity(1) + 1)
    assert rows_for(len(payload)) == 2
    blobs = pack(payload)
    cells, proofs = engine.prove(blobs)
    return Matrix(payload, engine.commit(blobs), cells, proofs)


def build_world(matrix: Matrix, urls: Sequence[str] | None = None, **options: Any) -> World:
    committee, secrets = make_committee(urls or [f"http://m{i}.test" for i in range(MEMBERS)], **options)
    members = [FakeMember(i, columns_of(committee, i)) for i in range(len(committee.members))]
    return World(committee, secrets, matrix, members)


@pytest.fixture
def world(matrix: Matrix) -> World:
    """Six members; no batches yet."""
    return build_world(matrix)


@pytest.fixture
def served(matrix: Matrix) -> Iterator[World]:
    """The same over one real loopback server, which routes by the path of each member's URL."""
    apps: list[Mount] = []
    outer = Starlette(routes=apps)
    config = uvicorn.Config(
        outer, host="127.0.0.1", port=0, log_level="error", lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    sockets = [socket.create_server(("127.0.0.1", 0))]  # listens now: no request can come too early
    port = sockets[0].getsockname()[1]
    found = build_world(matrix, [f"http://127.0.0.1:{port}/m{i}" for i in range(MEMBERS)])
    for member, fake in zip(found.committee.members, found.members, strict=True):
        outer.router.routes.append(Mount("/" + member.url.rsplit("/", 1)[1], app=fake.app))
    thread = threading.Thread(target=server.run, args=(sockets,), daemon=True)
    thread.start()
    yield found
    server.should_exit = True
    thread.join(timeout=30)
    assert not thread.is_alive()
