"""The configuration of a node's packages: one class each, and the combination that they share.

Nothing here reads files or the environment (da.settings does). The network's own parameters (replication,
threshold, retention) are the committee's, not a node's.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from da.section import MIB, Section


class DisperserConfig(Section):
    """Posting, batching, and dispersal to each member."""

    payload_bytes_max: int = Field(
        default=16 * MIB,
        ge=1,
        le=16 * MIB,
        description="Longest payload accepted, in bytes (the network's limit: 16 MiB).",
    )
    concurrent_posts_max: int = Field(
        default=16, ge=1, description="Posts packed and committed at once; more get 429."
    )
    outbox_bytes_max: int = Field(
        default=256 * MIB, ge=1, description="Payload bytes waiting for a batch; more posts get 429."
    )
    batch_interval_ms: int = Field(
        default=1000,
        ge=1,
        description="Milliseconds between two batches, unless rows_max is reached earlier.",
    )
    rows_max: int = Field(default=256, ge=1, le=256, description="Maximum rows of one batch.")
    encode_retry_ms: int = Field(
        default=1000,
        ge=1,
        description="Milliseconds the batcher pauses after a failure of the engine or the store.",
    )
    push_timeout_s: float = Field(
        default=30.0,
        gt=0,
        description="Seconds a push may take, in addition to the time for its bytes; a member waits as long "
        "for a push before it fetches the columns from its peers.",
    )
    push_bytes_per_s_min: int = Field(
        default=1 * MIB,
        ge=1,
        description="Expected transfer rate of a push, in bytes per second.",
    )
    certificate_timeout_s: float = Field(
        default=10.0, gt=0, description="Timeout for delivering a certificate to a member, in seconds."
    )
    backoff_initial_s: float = Field(
        default=0.2, gt=0, description="Seconds before the first retry of a failed push."
    )
    backoff_max_s: float = Field(
        default=15.0, gt=0, description="Longest pause between retries of a push, in seconds."
    )


class MemberConfig(Section):
    """Receiving columns; following logs, repair, scrub and retention."""

    push_inflight_bytes_max: int = Field(
        default=256 * MIB,
        ge=1,
        description="Bytes received of pushes and not yet stored; one disperser may fill half of it.",
    )
    push_wait_s: float = Field(
        default=10.0, gt=0, description="Seconds a push may wait for memory before the answer is 429."
    )
    concurrent_verifications_max: int = Field(default=2, ge=1, description="Pushes verified at once.")
    clock_skew_ms_max: int = Field(
        default=60_000, ge=0, description="Milliseconds a header may be ahead of this node's clock."
    )
    follow_interval_s: float = Field(
        default=5.0, gt=0, description="Seconds between two polls of the dispersers' logs."
    )
    follow_page: int = Field(default=32, ge=1, le=1000, description="Batches requested in one such poll.")
    repair_retry_s: float = Field(
        default=30.0, gt=0, description="Seconds before the next attempt to rebuild missing columns."
    )
    scrub_interval_s: float = Field(
        default=6 * 3600.0,
        gt=0,
        description="Seconds between two scrubs, which read everything stored to find damage.",
    )
    scrub_rest_s: float = Field(
        default=0.1, ge=0, description="Seconds to pause between two batches of a scrub."
    )
    retention_interval_s: float = Field(
        default=600.0, gt=0, description="Seconds between two checks for expired batches."
    )


class ReadingConfig(Section):
    """Serving and rebuilding payloads, cells and openings."""

    records_per_read_max: int = Field(
        default=1024, ge=1, le=65536, description="Maximum cells in one POST to /v1/batches/{b}/cells."
    )
    batches_per_page_max: int = Field(
        default=100, ge=1, le=1000, description="Maximum batches in one answer of GET /v1/batches."
    )
    concurrent_reconstructions_max: int = Field(
        default=2, ge=1, description="Payloads rebuilt from peers at once."
    )
    concurrent_fetches_max: int = Field(
        default=16, ge=1, description="Column requests to peers in flight while rebuilding one payload."
    )
    peer_timeout_s: float = Field(
        default=10.0, gt=0, description="Timeout of a read from a peer, in seconds."
    )
    hedge_after_s: float = Field(
        default=0.5,
        gt=0,
        description="Seconds without an answer after which a second holder is queried.",
    )
    concurrent_openings_max: int = Field(
        default=1, ge=1, description="Point openings computed at once; each takes 0.1 s of a core."
    )
    openings_waiting_max: int = Field(
        default=16, ge=0, description="Openings that may wait for their turn; more get 429 at once."
    )
    opening_wait_s: float = Field(
        default=10.0, gt=0, description="Seconds an opening may wait for its turn before the answer is 429."
    )
    concurrent_derivations_max: int = Field(
        default=2, ge=1, description="Columns whose parity cells are derived at once."
    )
    parity_cache_bytes: int = Field(
        default=64 * MIB, ge=0, description="Bytes of derived parity records cached in memory."
    )
    folds_per_read_max: int = Field(
        default=128, ge=1, le=128, description="Maximum columns in one POST to /v1/batches/{b}/folds."
    )
    concurrent_folds_max: int = Field(
        default=2, ge=1, description="Columns read and folded at once; requests take turns after each."
    )
    fold_requests_max: int = Field(
        default=64, ge=1, description="Requests for folds in progress; more get 429 at once."
    )
    fold_wait_s: float = Field(
        default=10.0, gt=0, description="Seconds a fold may wait for its turn before the answer is 429."
    )


class RescueConfig(Section):
    """Equations that clients contribute, kept to rebuild a batch that its holders withhold."""

    bytes_max: int = Field(
        default=1024 * MIB,
        ge=0,
        description="Bytes of contributed folds and cells stored; 0: none are taken. When they are full, the "
        "batch with the most of them makes room.",
    )
    bytes_per_address_max: int = Field(
        default=64 * MIB, ge=0, description="Bytes of them that one address may contribute."
    )


class ThreadsConfig(Section):
    """Threads of the node."""

    compute_threads: int = Field(default=6, ge=1, description="Threads that pass work to the engine.")
    io_threads: int = Field(
        default=4,
        ge=1,
        description="Threads that read and write objects of the store, and as many for its "
        "catalogue and the outbox.",
    )


class EngineConfig(Section):
    """The engine for erasure coding and KZG."""

    name: str = Field(
        default="auto", description='Engine for erasure coding and KZG: "auto", "ckzg", "host" or "cuda".'
    )
    table: Literal["small", "medium", "large"] | None = Field(
        default=None,
        description="Tables for proving of a disperser's host engine, memory for speed: about 20, 90 or "
        "150 MiB; unset: medium. Nodes that only verify have none.",
    )
    fallback: str | None = Field(
        default=None,
        description="Engine to continue with when the first breaks down while it runs; unset: the work in "
        "progress fails with 503, and the first is tried again.",
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Processes or threads of a CPU engine, devices of the cuda engine; unset: one per core, "
        "all devices.",
    )


class NodeConfig(Section):
    """The configuration of a node's parts. Defaults suit 2 cores and 2 GiB of memory."""

    disperses: bool = Field(default=True, description="Whether the node has the disperser role.")
    disperser: DisperserConfig = DisperserConfig()
    member: MemberConfig = MemberConfig()
    reading: ReadingConfig = ReadingConfig()
    rescue: RescueConfig = RescueConfig()
    threads: ThreadsConfig = ThreadsConfig()
