"""A committee of real nodes in one process: real codes, keys, stores and outboxes, a network of calls.

What is not real is named: the network (LocalNetwork, with faults), the clock (virtual time), and the power
cut (a node is dropped at a chosen call to its store or outbox, its directories are opened again).
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from da import bls
from da.api.schemas import batch_document
from da.disperser.outbox import Outbox
from da.errors import DaError, PeerMisbehaved, PeerRejected, PeerUnreachable
from da.member.equations import EquationTable
from da.node import Node, NodeConfig
from da.protocol.certificate import Certificate
from da.protocol.committee import Committee, Member
from da.protocol.committee_chain import CommitteeChain
from da.protocol.committee_chain import Link as ChainLink
from da.protocol.errors import ProtocolError
from da.protocol.handover import Handover, HandoverTerms
from da.protocol.push import ColumnPush
from da.runtime.signer import LocalSigner, Signer
from da.runtime.workers import Workers
from da.store.embedded import EmbeddedStore
from da.store.filesystem import Filesystem
from da.wire import batches as wire_batches
from da.wire import contributions
from da.wire.batches import Page
from da.wire.cells import NOT_HELD, CellAnswer, decode_answer, encode_answer
from da.wire.contributions import Contribution, ContributionAnswer
from kzg.engine import Engine
from tests.da.support import nested

T = TypeVar("T")
NAMESPACE = b"rollup-a".ljust(32, b"\0")
START_MS = 1_700_000_000_000


class PowerCut(BaseException):
    """The machine of a node loses power inside a call; nothing after it happens."""


@dataclass
class Link:
    """How the network treats calls to one member."""

    down: bool = False
    delay_s: float = 0.0
    loss: float = 0.0  # of requests, and of answers
    tamper: Callable[[str, Any], Any] | None = None  # (method, answer) -> answer


class LocalNetwork:
    """Calls between nodes of this process; what HTTP carries is encoded and decoded by da.wire here too."""

    def __init__(self, rng: random.Random) -> None:
        self.nodes: dict[bytes, Node] = {}
        self.links: dict[bytes, Link] = {}
        self.calls: list[tuple[str, str, str]] = []  # caller, callee, method
        self._rng = rng

    def link(self, member: Member) -> Link:
        return self.links.setdefault(member.id, Link())

    async def call(
        self, caller: str, member: Member, method: str, timeout_s: float, work: Callable[[Node], Awaitable[T]]
    ) -> T:
        self.calls.append((caller, member.name, method))
        try:
            async with asyncio.timeout(timeout_s):
                return await self._call(member, method, work)
        except TimeoutError:
            raise PeerUnreachable(member.name, f"no answer within {timeout_s} s") from None
        except DaError as error:
            if isinstance(error, PeerUnreachable):
                raise
            answer = {"error": type(error).__name__, "message": str(error), **error.fields()}
            raise PeerRejected(member.name, 400, type(error).__name__, answer) from error
        except ProtocolError as error:
            raise PeerRejected(member.name, 422, type(error).__name__, {"message": str(error)}) from error

    async def _call(self, member: Member, method: str, work: Callable[[Node], Awaitable[T]]) -> T:
        link = self.link(member)
        node = self.nodes.get(member.id)
        if node is None or link.down:
            raise PeerUnreachable(member.name, "connection refused")
        if link.delay_s:
            await asyncio.sleep(link.delay_s)
        if self._rng.random() < link.loss:
            raise PeerUnreachable(member.name, "the request was lost")
        try:
            answer = await work(node)
        except PowerCut:
            raise PeerUnreachable(member.name, "connection reset") from None
        if self._rng.random() < link.loss:
            raise PeerUnreachable(member.name, "the answer was lost")
        return link.tamper(method, answer) if link.tamper else answer


@dataclass
class LocalTransport:
    """The PeerTransport of one node on a LocalNetwork."""

    network: LocalNetwork
    caller: str
    bodies: list[int] = field(default_factory=list)

    async def push(
        self,
        member: Member,
        header_hash: bytes,
        prelude: bytes,
        columns: Callable[[], AsyncIterator[bytes]],
        size: int,
        timeout_s: float,
    ) -> bytes:
        body = prelude + b"".join([column async for column in columns()])
        assert len(body) == size

        async def work(node: Node) -> bytes:
            push = ColumnPush.decode(body)
            assert push.header.hash == header_hash
            await node.check_push(push.header, push.proposal.disperser_signature, push.push_signature)
            return (await node.accept_push(push)).encode()

        return await self.network.call(self.caller, member, "push", timeout_s, work)

    async def put_certificate(
        self, member: Member, header_hash: bytes, certificate: bytes, timeout_s: float
    ) -> None:
        await self.network.call(
            self.caller,
            member,
            "put_certificate",
            timeout_s,
            lambda node: node.accept_certificate(header_hash, certificate),
        )

    async def get_batches(
        self, member: Member, disperser_id: bytes, from_height: int, limit: int, timeout_s: float
    ) -> Page:
        async def work(node: Node) -> Page:
            records = await node.batches(from_height, limit, disperser_id)
            following = records[-1].header.height + 1 if len(records) == limit else None
            page = wire_batches.encode_page([batch_document(record) for record in records], following)
            return wire_batches.decode_page(
                json.dumps(page).encode(), from_height=from_height, limit=limit, disperser_id=disperser_id
            )

        return await self.network.call(self.caller, member, "get_batches", timeout_s, work)

    async def get_column(
        self, member: Member, header_hash: bytes, column: int, rows: int, timeout_s: float
    ) -> bytes | None:
        try:
            return await self.network.call(
                self.caller, member, "get_column", timeout_s, lambda node: node.column(header_hash, column)
            )
        except PeerRejected:
            return None

    async def get_records(
        self, member: Member, header_hash: bytes, pairs: Sequence[tuple[int, int]], timeout_s: float
    ) -> list[CellAnswer]:
        async def work(node: Node) -> list[CellAnswer]:
            body = encode_answer(await node.records(header_hash, pairs))
            return decode_answer(body, len(pairs))

        try:
            return await self.network.call(self.caller, member, "get_records", timeout_s, work)
        except PeerRejected:
            return [NOT_HELD] * len(pairs)

    async def contribute(
        self, member: Member, header_hash: bytes, contribution: Contribution, timeout_s: float
    ) -> ContributionAnswer:
        body = contributions.encode(contribution)

        async def work(node: Node) -> ContributionAnswer:
            answer = await node.contribute(header_hash, contributions.decode(body), self.caller)
            return contributions.decode_answer(json.dumps(contributions.answer_document(answer)).encode())

        return await self.network.call(self.caller, member, "contribute", timeout_s, work)

    async def get_time(self, member: Member, timeout_s: float) -> int:
        async def work(node: Node) -> object:
            return (await node.info())["time_ms"]

        told = await self.network.call(self.caller, member, "get_time", timeout_s, work)
        if not isinstance(told, int):
            raise PeerMisbehaved(member.name, "an answer that tells no time")
        return told

    async def aclose(self) -> None:
        return None


class Watched:
    """A store or outbox whose calls can be made to fail, or to be the last that ever happened."""

    def __init__(self, inner: Any, before: Callable[[str], None], after: Callable[[str], None]) -> None:
        self._inner = inner
        self._before = before
        self._after = after

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            self._before(name)
            result = value(*args, **kwargs)
            self._after(name)
            return result

        return call


class Seat:
    """One member: its key and directories, and the node that runs on them now, if any."""

    def __init__(self, world: World, name: str, secret: bytes) -> None:
        self.world = world
        self.name = name
        self.secret = secret
        self.directory = world.directory / name
        self.node: Node | None = None
        self.store: EmbeddedStore | None = None
        self.outbox: Outbox | None = None
        self.equations: EquationTable | None = None
        self.cut: tuple[str, str] | None = (
            None  # ("before" | "after", method): the next such call is the last
        )
        self.dead = asyncio.Event()
        self.skew_ms = 0
        self.filesystem = Filesystem()
        self.reserve_bytes = 0
        self.watch: Callable[[str, str], None] = lambda when, method: None
        self.make_signer: Callable[[bytes, Workers], Signer] = LocalSigner

    @property
    def member(self) -> Member:
        found = self.world.committee.member(self.id)
        assert found is not None
        return found

    @property
    def id(self) -> bytes:
        return self.world.ids[self.name]

    @property
    def link(self) -> Link:
        return self.world.network.link(self.member)

    def _check(self, when: str, method: str) -> None:
        if self.dead.is_set():
            raise PowerCut
        self.watch(when, method)
        if self.cut == (when, method):
            self.cut = None
            self.world.loop.call_soon_threadsafe(self._drop)
            self.dead.set()
            raise PowerCut

    def _drop(self) -> None:
        self.world.network.nodes.pop(self.id, None)

    async def start(self) -> Node:
        """Open the directories and run a node on them."""
        assert self.node is None
        self.dead = asyncio.Event()
        disk: dict[str, Any] = {
            "reserve_bytes": self.reserve_bytes,
            "filesystem": self.filesystem,
            "now_ms": self.clock,
        }
        self.store = EmbeddedStore(self.directory / "store", bucket_s=self.world.bucket_s, **disk)
        self.outbox = Outbox(self.directory / "outbox", **disk)
        self.equations = EquationTable(self.directory / "contributions.db")
        watched = [
            Watched(inner, lambda m: self._check("before", m), lambda m: self._check("after", m))
            for inner in (self.store, self.outbox)
        ]
        config = self.world.config_of(self.member)
        workers = Workers(config.threads.compute_threads, config.threads.io_threads)
        self.node = Node(
            config,
            self.world.committee,
            self.make_signer(self.secret, workers),
            self.world.engine,
            watched[0],  # type: ignore[arg-type]
            watched[1],  # type: ignore[arg-type]
            self.equations,
            LocalTransport(self.world.network, self.name),
            workers,
            clock=self.clock,
            # A committee that a test put there without a handover stands alone.
            chain=self.world.chain if self.world.chain.by_hash(self.world.committee.hash) else None,
            prover=self.world.engine if config.disperses else None,
            seed=self.world.rng.getrandbits(32),
        )
        await self.node.start()
        self.world.network.nodes[self.id] = self.node
        return self.node

    def clock(self) -> int:
        return START_MS + self.skew_ms + int(self.world.loop.time() * 1000)

    async def stop(self) -> None:
        """End the node, by will or after a power cut; the directories stay."""
        self._drop()
        if self.node is not None:
            await self.node.stop()
        if self.store is not None:
            self.store.close()
        if self.outbox is not None:
            self.outbox.close()
        if self.equations is not None:
            self.equations.close()
        self.node = self.store = self.outbox = self.equations = None

    async def restart(self) -> Node:
        await self.stop()
        return await self.start()

    def lose_disk(self) -> None:
        """Everything the stopped node stored is gone."""
        assert self.node is None
        shutil.rmtree(self.directory)


def make_member(name: str, secret: bytes, stake: int, disperser: bool) -> Member:
    return Member(
        name=name,
        url=f"http://{name}.test",
        public_key=bls.public_key(secret),
        proof_of_possession=bls.prove_possession(secret),
        stake=stake,
        disperser=disperser,
    )


class World:
    """A committee and its network."""

    def __init__(
        self,
        directory: Path,
        engine: Engine,
        *,
        members: int = 4,
        seed: int = 0,
        stakes: Sequence[int] | None = None,
        dispersers: int = 1,
        retention_s: int = 86_400,
        replication: int = 4,
        bucket_s: int = 86_400,
        **limits: Any,
    ) -> None:
        self.directory = directory
        self.engine = engine
        self.bucket_s = bucket_s
        self.rng = random.Random(seed)
        self.network = LocalNetwork(random.Random(seed + 1))
        self.limits: dict[str, Any] = {"batch_interval_ms": 50} | limits
        secrets = {f"node-{i}": (seed * 1000 + i + 1).to_bytes(32, "big") for i in range(members)}
        stakes = stakes or [100] * members
        self.committee = Committee(
            chain_id=7,
            epoch=1,
            retention_s=retention_s,
            replication=replication,
            members=tuple(
                make_member(name, secret, stakes[i], i < dispersers)
                for i, (name, secret) in enumerate(secrets.items())
            ),
        )
        self.chain = CommitteeChain(self.committee)
        self.ids = {member.name: member.id for member in self.committee.members}
        self.seats = [Seat(self, name, secret) for name, secret in secrets.items()]

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    @property
    def disperser(self) -> Seat:
        return self.seats[0]

    @property
    def members(self) -> list[Seat]:
        return self.seats[1:]

    def rotate(self, names: Sequence[str], disperser: str) -> None:
        """The members of these names (known or new ones) are the next committee; all old members sign."""
        secrets = {seat.name: seat.secret for seat in self.seats}
        for name in names:
            if name not in secrets:
                secrets[name] = (10_000 + len(secrets)).to_bytes(32, "big")
                self.seats.append(Seat(self, name, secrets[name]))
        old = self.committee
        self.committee = replace(
            old,
            epoch=old.epoch + 1,
            members=tuple(make_member(name, secrets[name], 100, name == disperser) for name in names),
        )
        self.ids |= {member.name: member.id for member in self.committee.members}
        valid_until_s = START_MS // 1000 + 10**6
        terms = HandoverTerms.between(old, self.committee, valid_until_s=valid_until_s)
        signatures = {
            index: terms.sign(secrets[member.name]).signature for index, member in enumerate(old.members)
        }
        self.chain = self.chain.extended(ChainLink(Handover.gather(terms, old, signatures), self.committee))

    def config_of(self, member: Member) -> NodeConfig:
        return NodeConfig(disperses=member.disperser, **nested(**self.limits))

    async def __aenter__(self) -> World:
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(self, *_: object) -> None:
        for seat in self.seats:
            await seat.stop()

    async def start(self) -> None:
        """Start all members, the disperser last."""
        for seat in reversed(self.seats):
            await seat.start()

    def node(self, index: int) -> Node:
        node = self.seats[index].node
        assert node is not None
        return node

    def store(self, index: int) -> EmbeddedStore:
        store = self.seats[index].store
        assert store is not None
        return store

    async def certify(self, payload: bytes, timeout_s: float = 600.0, namespace: bytes = NAMESPACE) -> bytes:
        """Post to the disperser and wait for the certificate; the payload id."""
        receipt = await self.node(0).post(namespace, payload)
        status = await self.node(0).wait_certified(namespace, receipt.payload_id, timeout_s)
        assert status.status == "certified", status
        return receipt.payload_id

    async def until(self, condition: Callable[[], Awaitable[bool]], timeout_s: float = 600.0) -> None:
        """Wait, in virtual time, for something that a loop of some node brings about."""
        async with asyncio.timeout(timeout_s):
            # In virtual time looking again costs nothing.
            while not await condition():  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def settle(self) -> None:
        """Wait until every node that runs knows all that is certified."""

        async def settled() -> bool:
            for disperser in self.committee.dispersers:
                tops = set()
                for seat in self.seats:
                    if seat.store is not None:
                        top = seat.store.latest(disperser.id, True)
                        tops.add(top and top.header.height)
                if len(tops) > 1:
                    return False
            return True

        await self.until(settled)

    async def check_logs(self) -> None:
        """What must hold at any moment: one header a height everywhere, parents linked, certificates valid,
        and an attestation only over columns that are held."""
        seen: dict[tuple[bytes, int], bytes] = {}
        for seat in self.seats:
            if seat.store is None:
                continue
            for disperser in self.chain.dispersers:
                parent = None
                for record in seat.store.batches(disperser.id, 1, 1000):
                    header = record.header
                    assert seen.setdefault((disperser.id, header.height), header.hash) == header.hash
                    if parent is not None and header.height == parent.height + 1:
                        assert header.parent == parent.hash
                    parent = header
                    if record.certificate is not None:
                        certificate = Certificate.decode(record.certificate)
                        assert certificate.verify(self.chain.committee_of(header)).final
                        assert certificate.header.hash == header.hash
