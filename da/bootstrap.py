"""The composition root of a node: settings in, a running node out.

Flow:
- read key and committee, and refuse what cannot work, each refusal saying what to do;
- open the engine, the store, the outbox and the transport, in this order, and close them in reverse;
- start the node, serve its app with uvicorn, and on SIGINT, SIGTERM or the end of a supervising parent stop
  in order: no new requests, running ones finish within the grace time, then the node, then what it used.

Invariants: the key is locked and the store is locked, so a second process with either does not start; no
secret is logged.
Does not: know what any of the parts do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import uvicorn
import uvloop
from prometheus_client import CollectorRegistry, Gauge
from starlette.types import ASGIApp

from da import bls, keystore
from da.api.addresses import with_mapped
from da.api.app import create_app
from da.api.http_protocol import protocol_class
from da.clock import system_clock
from da.disperser.outbox import Outbox, OutboxError
from da.interpreter import UnsafeRecursionLimit, check_recursion_limit
from da.member.equations import EquationTable
from da.node import Node
from da.protocol.committee import Committee, Member, member_id
from da.protocol.committee_chain import CommitteeChain
from da.protocol.custody import columns_of
from da.protocol.errors import InvalidCommittee, ProtocolError
from da.runtime.signer import LocalSigner
from da.runtime.workers import Workers
from da.settings import Settings
from da.store.embedded import EmbeddedStore
from da.store.errors import StoreError
from da.transport.http import HttpTransport
from gpu import EngineOptions, FallbackEngine, FallbackVerifier, open_engine, open_verifier
from kzg.engine import Prover, Verifier
from kzg.errors import EngineUnavailable

logger = logging.getLogger("cellar.bootstrap")

# A clock before this (2025-01-01) was never set; headers stamped with it would be refused by everybody.
EARLIEST_CLOCK_MS = 1_735_689_600_000
OPEN_FILES_WANTED = 65_536
Wrap = Callable[[ASGIApp], ASGIApp]


class StartupError(Exception):
    """The node cannot start; the message says why and what to do."""


@dataclass(frozen=True)
class Identity:
    """Who a node is: its secret key and its place in the committee."""

    secret: bytes = field(repr=False)  # on its way to the signer
    committee: Committee
    chain: CommitteeChain
    member: Member

    @property
    def column_count(self) -> int:
        """Columns in this member's custody."""
        index = self.committee.member_index(self.member.id)
        assert index is not None
        return len(columns_of(self.committee, index))


def identify(settings: Settings, password: str) -> Identity:
    """Read key and committee and find one in the other.

    Raises:
        StartupError: either cannot be used, or the key is no member's, or roles disagree.
    """
    try:
        committee = Committee.load(settings.committee_file)
    except OSError as error:
        raise StartupError(
            f"committee file {settings.committee_file}: {error.strerror}; make one with `da committee new`"
        ) from None
    except InvalidCommittee as error:
        raise StartupError(f"committee file {settings.committee_file}: {error}") from None
    try:
        secret = keystore.load(settings.keystore_file, password)
    except keystore.KeystoreNotFound:
        raise StartupError(
            f"keystore {settings.keystore_file}: no such file; make one with `da key new`"
        ) from None
    except keystore.KeystoreError as error:
        raise StartupError(str(error)) from None
    public_key = bls.public_key(secret)
    member = committee.member(member_id(public_key))
    if member is None:
        raise StartupError(
            f"the key 0x{public_key.hex()} of {settings.keystore_file} is no member of "
            f"{settings.committee_file}; are both of the same network? (`da key show`, `da committee show`)"
        )
    if "disperser" in settings.roles and not member.disperser:
        raise StartupError(
            f'roles has "disperser", but {settings.committee_file} does not name {member.name} as one; '
            "members would refuse its batches: change either"
        )
    return Identity(secret, committee, open_chain(settings, committee), member)


def open_chain(settings: Settings, committee: Committee) -> CommitteeChain:
    """The chain of committees that the settings name; of the committee alone when they name none.

    Raises:
        StartupError: the file cannot be used, or does not have the committee.
    """
    if settings.chain_file is None:
        return CommitteeChain(committee)
    try:
        chain = CommitteeChain.load(settings.chain_file)
    except OSError as error:
        raise StartupError(
            f"chain file {settings.chain_file}: {error.strerror}; make one with `da committee rotate`"
        ) from None
    except ProtocolError as error:
        raise StartupError(f"chain file {settings.chain_file}: {error}") from None
    if chain.by_hash(committee.hash) is None:
        raise StartupError(
            f"chain file {settings.chain_file} ends at epoch {chain.latest.epoch} and does not have the "
            f"committee of {settings.committee_file}, epoch {committee.epoch}, hash 0x{committee.hash.hex()}"
        )
    if chain.latest.hash != committee.hash:
        logger.warning(
            "%s goes on to epoch %d; this node runs with epoch %d of %s",
            settings.chain_file,
            chain.latest.epoch,
            committee.epoch,
            settings.committee_file,
        )
    return chain


def check_surroundings(settings: Settings, identity: Identity, now_ms: int) -> None:
    """Refuse a clock that was never set; warn of an address that peers may not reach.

    Raises:
        StartupError: the clock is absurd.
    """
    if now_ms < EARLIEST_CLOCK_MS:
        date = time.strftime("%Y-%m-%d", time.gmtime(now_ms / 1000))
        raise StartupError(f"the system clock says {date}; set it (NTP) before starting a node")
    if settings.http.port and not identity.member.url.endswith(f":{settings.http.port}"):
        logger.warning(
            "peers reach this node at %s, it listens on %s:%d; right only behind a proxy",
            identity.member.url,
            settings.http.host,
            settings.http.port,
        )


def check_interpreter() -> None:
    """Refuse a recursion limit that some import has raised past what a stack takes.

    Raises:
        StartupError.
    """
    try:
        check_recursion_limit()
    except UnsafeRecursionLimit as error:
        raise StartupError(str(error)) from None


def open_node_engine(settings: Settings) -> tuple[Verifier, Prover | None]:
    """The engine that the settings ask for, as a verifier; of a disperser the same engine as a prover, too.

    The caller closes the verifier. Only a prover has tables for proving.

    Raises:
        StartupError: a forced engine is missing, or an engine has no such name.
    """
    try:
        options = EngineOptions(
            settings.engine.name,
            workers=settings.engine.workers,
            table=settings.engine.table or "medium",
            fallback=settings.engine.fallback,
        )
        if "disperser" not in settings.roles:
            return open_verifier(options), None
        engine = open_engine(options)
    except (EngineUnavailable, ValueError) as error:
        raise StartupError(f"engine settings: {error}") from None
    return engine, engine


def count_fallbacks(engine: FallbackEngine | FallbackVerifier, registry: CollectorRegistry) -> None:
    """Show in the node's metrics whether its engine broke down and another took over."""
    gauge = Gauge(
        "cellar_engine_fallbacks", "1 when the engine broke down and another took over", registry=registry
    )
    gauge.set_function(lambda: engine.fallbacks)


def open_store(settings: Settings) -> EmbeddedStore:
    """The batch store under the data directory.

    Raises:
        StartupError: the directory cannot be used, or another process has it.
    """
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        return EmbeddedStore(
            settings.data_dir / "store",
            reserve_bytes=settings.store.reserve_bytes,
            bucket_s=settings.store.bucket_s,
        )
    except OSError as error:
        raise StartupError(f"data directory {settings.data_dir}: {error.strerror}") from None
    except StoreError as error:
        raise StartupError(f"store in {settings.data_dir}: {error}") from None


def check_log(store: EmbeddedStore, identity: Identity) -> None:
    """Refuse a committee other than the one that a disperser's last batch still waits to be certified by.

    Its height can be given to no other batch, and no other committee can certify it.

    Raises:
        StartupError: the last batch has no certificate and is for another committee.
    """
    top = store.latest(identity.member.id)
    certified = store.latest(identity.member.id, certified=True)
    if top is None or (certified is not None and certified.header.height == top.header.height):
        return
    if top.header.committee_hash != identity.committee.hash:
        raise StartupError(
            f"batch 0x{top.header.hash.hex()} of height {top.header.height} of this disperser's log has no "
            f"certificate yet, and only the committee 0x{top.header.committee_hash.hex()} can make it, which "
            f"is not the configured one, 0x{identity.committee.hash.hex()}. Start with the committee file of "
            "before, until it is certified; see A new committee in docs/guides/run-a-node.md"
        )


def open_outbox(settings: Settings) -> Outbox:
    """The outbox under the data directory; a node that is no disperser has an empty one.

    Raises:
        StartupError: it cannot be opened.
    """
    try:
        return Outbox(settings.data_dir / "outbox", reserve_bytes=settings.store.reserve_bytes)
    except (OSError, StoreError, OutboxError) as error:
        raise StartupError(f"outbox in {settings.data_dir}: {error}") from None


def open_equations(settings: Settings) -> EquationTable:
    """What clients contributed, under the data directory.

    Raises:
        StartupError: it cannot be opened.
    """
    path = settings.data_dir / "contributions.db"
    try:
        return EquationTable(path)
    except (OSError, sqlite3.Error) as error:
        raise StartupError(f"contributions in {path}: {error}") from None


def raise_file_limit() -> None:
    """Let the process open as many files as it may: each connection and each batch being read is one.

    The soft limit is 1024 on most systems, of which `requests_max` connections alone would be all.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES_WANTED if hard == resource.RLIM_INFINITY else min(OPEN_FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def bind(settings: Settings) -> socket.socket:
    """A socket bound to the node's address; it listens only when the node is ready to serve.

    Raises:
        StartupError: the address is not this machine's, or is in use.
    """
    family = socket.AF_INET6 if ":" in settings.http.host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.http.host, settings.http.port))
    except OSError as error:
        listener.close()
        raise StartupError(
            f"cannot listen on {settings.http.host}:{settings.http.port}: {error.strerror or error}; "
            "is another node running? choose host and port in the settings, or --host and --port"
        ) from None
    return listener


class NodeServer(uvicorn.Server):
    """uvicorn without its own signal handling, and with word to the streams before it waits for them."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn would raise the signal again when it is done, before the node is stopped; see `_serve`."""
        yield

    async def shutdown(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """End the streams, which would never end by themselves, then the rest."""
        self._stopping.set()
        await super().shutdown(sockets)  # type: ignore[arg-type]


def run(
    settings: Settings, password: str, *, wrap: Wrap | None = None, stop_with_stdin: bool = False
) -> None:
    """Run a node until it is told to stop.

    Args:
        wrap: put around the app; the devnet's adversary only.
        stop_with_stdin: stop when standard input is closed, as it is when a supervising parent dies.
    Raises:
        StartupError.
    """
    identity = identify(settings, password)
    check_interpreter()
    check_surroundings(settings, identity, system_clock())
    raise_file_limit()
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(keystore.lock(settings.keystore_file))
        except keystore.KeystoreError as error:
            raise StartupError(str(error)) from None
        store = open_store(settings)
        stack.callback(store.close)
        if "disperser" in settings.roles:
            check_log(store, identity)
        outbox = open_outbox(settings)
        stack.callback(outbox.close)
        equations = open_equations(settings)
        stack.callback(equations.close)
        listener = stack.enter_context(bind(settings))
        verifier, prover = open_node_engine(settings)
        stack.callback(verifier.close)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(
                _serve(
                    settings,
                    identity,
                    verifier,
                    prover,
                    store,
                    outbox,
                    equations,
                    listener,
                    wrap,
                    stop_with_stdin,
                )
            )


async def _serve(
    settings: Settings,
    identity: Identity,
    verifier: Verifier,
    prover: Prover | None,
    store: EmbeddedStore,
    outbox: Outbox,
    equations: EquationTable,
    listener: socket.socket,
    wrap: Wrap | None,
    stop_with_stdin: bool,
) -> None:
    async with HttpTransport() as transport:
        threads = settings.node.threads
        workers = Workers(threads.compute_threads, threads.io_threads)
        node = Node(
            settings.node,
            identity.committee,
            LocalSigner(identity.secret, workers),
            verifier,
            store,
            outbox,
            equations,
            transport,
            workers,
            prover=prover,
            clock=system_clock,
            chain=identity.chain,
            name=identity.member.name,
        )
        if isinstance(verifier, FallbackEngine | FallbackVerifier):
            count_fallbacks(verifier, node.metrics.registry)
        app = create_app(node, settings.http, settings.tokens)
        server = NodeServer(server_config(settings, wrap(app) if wrap else app), app.state.api.stopping)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, server.handle_exit, number, None)
        if stop_with_stdin:
            await _stop_at_end_of_stdin(server)
        await node.start()
        try:
            log_start(settings, identity, verifier.name)
            await server.serve(sockets=[listener])
        finally:
            await node.stop()
            logger.info("stopped")


def server_config(settings: Settings, app: ASGIApp) -> uvicorn.Config:
    """uvicorn as a node runs it: httptools, no access log, no banner, bounded heads, connections and
    shutdown, and the forwarded addresses of trusted proxies alone."""
    return uvicorn.Config(
        app,
        host=settings.http.host,
        port=settings.http.port,
        http=protocol_class(
            settings.http.head_timeout_s,
            settings.http.body_bytes_per_s_min,
            connections_per_address_max=settings.http.connections_per_address_max,
            trusted_proxies=settings.http.trusted_networks,
        ),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.http.trusted_proxies),
        forwarded_allow_ips=with_mapped(settings.http.trusted_networks),
        timeout_keep_alive=settings.http.keep_alive_s,
        timeout_graceful_shutdown=settings.http.shutdown_grace_s,
    )


async def _stop_at_end_of_stdin(server: NodeServer) -> None:
    class UntilClosed(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            logger.info("standard input closed: the parent is gone")
            server.should_exit = True

    try:
        await asyncio.get_running_loop().connect_read_pipe(UntilClosed, sys.stdin)
    except (OSError, ValueError):
        raise StartupError("--stop-with-stdin needs a pipe or a socket as standard input") from None


def log_start(settings: Settings, identity: Identity, engine: str) -> None:
    """One line that says who this is, what it does, and with which engine."""
    member, committee = identity.member, identity.committee
    logger.info(
        "%s 0x%s: %s of chain %d, committee 0x%s (%d members), %d of 128 columns, engine %s, pid %d, at %s",
        member.name,
        member.id.hex()[:16],
        " and ".join(settings.roles),
        committee.chain_id,
        committee.hash.hex()[:16],
        len(committee.members),
        identity.column_count,
        engine,
        os.getpid(),
        member.url,
    )
