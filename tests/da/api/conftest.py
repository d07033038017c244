"""A node that is only its interface, one small real batch, and clients of the app around them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from da import bls
from da.api.app import create_app
from da.bootstrap import NodeServer, server_config
from da.errors import NotFound, QueueFull
from da.node import (
    NamespaceListing,
    NodeConfig,
    PayloadOpening,
    PayloadProof,
    PayloadStatus,
    Readiness,
    Receipt,
    Status,
)
from da.protocol.attestation import Attestation
from da.protocol.committee import Committee, Member
from da.protocol.committee_chain import CommitteeChain
from da.protocol.custody import columns_of
from da.protocol.header import ZERO_HASH, Header
from da.protocol.merkle import commitments_root
from da.protocol.payload import payload_id
from da.protocol.payload_list import PayloadEntry, PayloadList
from da.protocol.push import RECORD_BYTES, ColumnPush
from da.runtime.admission import Budget, FairShares, Room
from da.runtime.metrics import NodeMetrics
from da.settings import Settings
from da.store.base import BatchRecord
from da.wire.cells import NOT_HELD, CellAnswer, Record
from da.wire.contributions import Contribution, ContributionAnswer
from kzg.openings import Opening
from tests.da.support import nested

NAMESPACE = b"rollup-a".ljust(32, b"\0")


def make_committee(secrets: Sequence[bytes]) -> Committee:
    """A committee of these keys; the first is the disperser."""
    return Committee(
        chain_id=7,
        epoch=1,
        members=tuple(
            Member(
                name=f"node-{index}",
                url=f"http://127.0.0.1:{4560 + index}",
                public_key=bls.public_key(secret),
                proof_of_possession=bls.prove_possession(secret),
                stake=100,
                disperser=index == 0,
            )
            for index, secret in enumerate(secrets)
        ),
    )


def make_record(
    committee: Committee, height: int = 1, certificate: bytes | None = b"certificate"
) -> BatchRecord:
    """A batch of one row whose commitments are arbitrary bytes."""
    commitments = np.full((1, 48), height, dtype=np.uint8)
    entry = PayloadEntry(NAMESPACE, payload_id(100, commitments), first_row=0, row_count=1, length=100)
    payload_list = PayloadList((entry,))
    header = Header(
        chain_id=committee.chain_id,
        disperser_id=committee.dispersers[0].id,
        height=height,
        timestamp_ms=1_700_000_000_000 + height,
        parent=ZERO_HASH if height == 1 else bytes([height]) * 32,
        committee_hash=committee.hash,
        row_count=1,
        payloads_root=payload_list.root,
        commitments_root=commitments_root(commitments),
    )
    return BatchRecord(
        header=header,
        disperser_signature=bytes(96),
        payload_list=payload_list,
        commitments=commitments,
        columns=(0, 1),
        certificate=certificate,
        received_ms=header.timestamp_ms,
    )


def _full(reason: str) -> Exception:
    return QueueFull(1, reason)


def _push_turns() -> Budget:
    return Budget(2**20, wait_s=0.2, queue_max=8, refuse=_full)


@dataclass
class FakeNode:
    """Answers from memory, or raises what `failure` says; remembers what it was given."""

    committee: Committee
    member_id: bytes
    chain: CommitteeChain | None = None
    metrics: NodeMetrics = field(default_factory=lambda: NodeMetrics(["node-0"]))
    failure: Exception | None = None
    posted: list[tuple[bytes, bytes]] = field(default_factory=list)
    pushes: list[Any] = field(default_factory=list)
    attested: dict[bytes, Attestation] = field(default_factory=dict)
    certificates: list[tuple[bytes, bytes]] = field(default_factory=list)
    log: list[BatchRecord] = field(default_factory=list)
    cells: dict[tuple[int, int], CellAnswer] = field(default_factory=dict)
    folded: dict[int, CellAnswer] = field(default_factory=dict)
    payloads: dict[bytes, bytes] = field(default_factory=dict)
    status: Status = Status.CERTIFIED
    readiness: Readiness = field(default_factory=lambda: Readiness(True))
    healthy: bool = True
    is_disperser: bool = True
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    config: NodeConfig = field(default_factory=NodeConfig)
    push_room: Room = field(default_factory=lambda: Room(2**20, wait_s=0.2, refuse=_full))
    push_turns: FairShares = field(default_factory=lambda: FairShares(_push_turns))

    @property
    def column_count(self) -> int:
        index = self.committee.member_index(self.member_id)
        assert index is not None
        return len(columns_of(self.committee, index))

    def _ask(self, *call: Any) -> None:
        self.asked.append(call)
        if self.failure is not None:
            raise self.failure

    async def post(self, namespace: bytes, payload: bytes) -> Receipt:
        self._ask("post")
        self.posted.append((namespace, payload))
        return Receipt(bytes(32), namespace, 1, len(payload), Status.QUEUED, True)

    async def wait_certified(self, namespace: bytes, payload_id: bytes, timeout_s: float) -> PayloadStatus:
        self._ask("wait_certified", timeout_s)
        return PayloadStatus(payload_id, namespace, self.status, 3, 1, 1, bytes(32), bytes(32), "no quorum")

    async def payload_status(self, payload_id: bytes, namespace: bytes | None = None) -> PayloadStatus:
        self._ask("payload_status", payload_id, namespace)
        return PayloadStatus(payload_id, namespace or NAMESPACE, self.status, 3, 1, 1, bytes(32), bytes(32))

    async def payload_bytes(self, payload_id: bytes) -> bytes:
        self._ask("payload_bytes", payload_id)
        if payload_id not in self.payloads:
            raise NotFound("payload", "0x" + payload_id.hex())
        return self.payloads[payload_id]

    async def payload_rows(self, payload_id: bytes) -> NDArray[np.uint8]:
        self._ask("payload_rows", payload_id)
        return np.full((1, 131072), 7, dtype=np.uint8)

    async def payload_certificate(self, payload_id: bytes, namespace: bytes | None = None) -> bytes:
        self._ask("payload_certificate", payload_id, namespace)
        return b"certificate"

    async def payload_proof(self, payload_id: bytes, namespace: bytes | None = None) -> PayloadProof:
        self._ask("payload_proof", payload_id, namespace)
        record = self.log[0]
        return PayloadProof(
            record.header,
            record.header.hash,
            record.payload_list.entries[0],
            0,
            record.payload_list.prove(0),
            record.commitments,
            record.certificate,
        )

    async def opening(
        self, payload_id: bytes, *, z: bytes | None = None, index: int | None = None, row: int = 0
    ) -> PayloadOpening:
        self._ask("opening", z, index, row)
        opening = Opening(bytes(32), z or bytes(32), bytes(32), bytes(48), bytes(48))
        return PayloadOpening(payload_id, row, row, bytes(32), opening)

    async def namespace_proof(self, header_hash: bytes, namespace: bytes) -> NamespaceListing:
        self._ask("namespace_proof", header_hash, namespace)
        record = self.log[0]
        proof = record.payload_list.prove_namespace(namespace)
        return NamespaceListing(record.header, record.header.hash, namespace, proof.matches, proof)

    async def attest_again(self, header: Header) -> Attestation | None:
        return self.attested.get(header.hash)

    async def accept_push(self, push: ColumnPush) -> Attestation:
        self._ask("accept_push")
        self.pushes.append(push)
        return Attestation(self.member_id, push.header.hash, bytes(96))

    async def contribute(
        self, header_hash: bytes, contribution: Contribution, owner: str
    ) -> ContributionAnswer:
        self._ask("contribute", header_hash, owner)
        return ContributionAnswer(len(contribution.records), (4, 17))

    async def batch(self, ref: int | bytes, disperser_id: bytes | None = None) -> BatchRecord:
        self._ask("batch", ref, disperser_id)
        for record in self.log:
            if ref in (record.header.height, record.header.hash):
                return record
        raise NotFound("batch", str(ref))

    async def batches(
        self, from_height: int, limit: int, disperser_id: bytes | None = None
    ) -> list[BatchRecord]:
        self._ask("batches", from_height, limit, disperser_id)
        return [record for record in self.log if record.header.height >= from_height][:limit]

    async def subscribe(
        self, from_height: int, disperser_id: bytes | None = None
    ) -> AsyncIterator[BatchRecord]:
        for record in self.log:
            if record.header.height >= from_height:
                yield record

    async def records(self, header_hash: bytes, pairs: Sequence[tuple[int, int]]) -> list[CellAnswer]:
        self._ask("records", header_hash, pairs)
        return [self.cells.get(pair, NOT_HELD) for pair in pairs]

    async def folds(self, header_hash: bytes, seed: bytes, columns: Sequence[int]) -> list[CellAnswer]:
        self._ask("folds", header_hash, seed, columns)
        return [self.folded.get(column, NOT_HELD) for column in columns]

    async def column(self, header_hash: bytes, column: int) -> bytes:
        self._ask("column", header_hash, column)
        return bytes([column]) * RECORD_BYTES

    async def check_push(self, header: Header, disperser_signature: bytes, push_signature: bytes) -> None:
        self._ask("check_push", header)

    async def accept_certificate(self, header_hash: bytes, certificate: bytes) -> None:
        self._ask("accept_certificate")
        self.certificates.append((header_hash, certificate))

    async def info(self) -> dict[str, object]:
        return {"member_id": self.member_id, "engine": {"name": "fake"}, "roles": ("member",)}

    def health(self) -> bool:
        return self.healthy

    async def ready(self) -> Readiness:
        return self.readiness


class Running:
    """A server that runs as a node's does."""

    def __init__(self, node: Any, settings: Settings) -> None:
        node.config = settings.node
        self.app = create_app(node, settings.http, settings.tokens)
        self.context = self.app.state.api
        self.server = NodeServer(server_config(settings, self.app), self.context.stopping)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.writers: list[asyncio.StreamWriter] = []

    async def connect(
        self, request: bytes, address: str = "127.0.0.1"
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection from an address of the loopback's that has sent a request."""
        reader, writer = await asyncio.open_connection(*self.listener.getsockname(), local_addr=(address, 0))
        self.writers.append(writer)  # one that is forgotten is closed
        writer.write(request)
        return reader, writer


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def secrets() -> list[bytes]:
    """Three fixed BLS secrets."""
    return [bytes([0] * 31 + [index + 1]) for index in range(3)]


@pytest.fixture(scope="session")
def committee(secrets: list[bytes]) -> Committee:
    """A committee of three."""
    return make_committee(secrets)


@pytest.fixture
def node(committee: Committee) -> FakeNode:
    """A fake node, the first member, with a log of three batches."""
    fake = FakeNode(committee, committee.dispersers[0].id, CommitteeChain(committee))
    fake.log = [make_record(committee, height) for height in (1, 2, 3)]
    fake.cells[0, 0] = Record(b"\x07" * RECORD_BYTES)
    fake.payloads[bytes(32)] = b"abc"
    return fake


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    """Settings with some fields changed."""

    def make(**changes: Any) -> Settings:
        values = {
            "data_dir": tmp_path / "data",
            "committee_file": tmp_path / "committee.json",
            "keystore_file": tmp_path / "key.json",
            "open_posting": True,
        }
        return Settings(**nested(**{**values, **changes}))

    return make


@pytest.fixture
def make_client(node: FakeNode, make_settings: Callable[..., Settings]) -> Callable[..., httpx.AsyncClient]:
    """A client of an app around the fake node, without a network."""

    def make(**changes: Any) -> httpx.AsyncClient:
        settings = make_settings(**changes)
        node.config = settings.node
        app = create_app(node, settings.http, settings.tokens)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://node")

    return make


@pytest.fixture
def client(make_client: Callable[..., httpx.AsyncClient]) -> httpx.AsyncClient:
    """A client with the default settings."""
    return make_client()


@pytest.fixture
def running(node: FakeNode, make_settings: Callable[..., Settings]) -> Callable[..., Any]:
    """A context manager around a running server."""

    @contextlib.asynccontextmanager
    async def start(**changes: Any) -> AsyncIterator[Running]:
        run = Running(node, make_settings(shutdown_grace_s=20, **changes))
        task = asyncio.create_task(run.server.serve(sockets=[run.listener]))
        try:
            async with asyncio.timeout(20):
                yield run
        finally:
            run.server.should_exit = True
            async with asyncio.timeout(20):
                await task

    return start
