"""Every limit, interval and timeout of a node, named once.

One frozen value, made by the program's settings and handed to the node; nothing here reads the
environment. Units end the names. The network's own parameters (replication, threshold, retention)
are the committee's, not a node's.
"""

from __future__ import annotations

from dataclasses import dataclass

from erasure.constants import MAX_PAYLOAD_BYTES, MAX_ROWS

MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """Limits of one node. Defaults suit a node with 2 cores and 2 GiB of memory."""

    # Posting and batching.
    disperser: bool = True  # take payloads; needs the committee's disperser role too
    payload_bytes_max: int = MAX_PAYLOAD_BYTES
    concurrent_posts_max: int = 16  # posts being packed and committed at once; more get QueueFull
    outbox_bytes_max: int = 256 * MIB  # payload bytes waiting to be batched
    batch_interval_ms: int = 1_000  # from the closing of a batch to that of the next
    rows_max: int = MAX_ROWS
    encode_retry_ms: int = 1_000  # pause after an engine or store failure of the batcher

    # Dispersal, for each member on its own.
    push_timeout_s: float = 30.0  # for a push of no bytes...
    push_bytes_per_s_min: int = 1 * MIB  # ...and its body on top, at this rate at least
    certificate_timeout_s: float = 10.0
    backoff_initial_s: float = 0.2
    backoff_max_s: float = 15.0

    # Member: taking columns.
    push_inflight_bytes_max: int = 256 * MIB  # bodies of pushes being read and verified
    push_wait_s: float = 10.0  # how long a push waits for room before QueueFull
    concurrent_verifications_max: int = 2
    clock_skew_ms_max: int = 60_000  # a header's timestamp may be this far ahead of our clock

    # Member: following the log, repair, scrub, retention.
    follow_interval_s: float = 5.0
    follow_page: int = 32  # batches asked for in one request
    repair_retry_s: float = 30.0
    scrub_interval_s: float = 6 * 3600.0
    scrub_rest_s: float = 0.1  # between two batches of a pass
    retention_interval_s: float = 600.0

    # Reading.
    concurrent_reconstructions_max: int = 2
    concurrent_fetches_max: int = 16  # column requests to peers in flight, for one reconstruction
    peer_timeout_s: float = 10.0
    hedge_after_s: float = 0.5  # ask a second holder when the first has not answered by then
    concurrent_openings_max: int = 1  # point openings being made; they take turns apart from other work
    openings_waiting_max: int = 16  # for their turn; more get QueueFull
    opening_wait_s: float = 10.0
    concurrent_derivations_max: int = 2  # columns whose parity cells are being derived
    parity_cache_bytes: int = 64 * MIB
    records_per_read_max: int = 1_024
    batches_per_page_max: int = 100

    # Threads.
    compute_threads: int = 6
    io_threads: int = 4
