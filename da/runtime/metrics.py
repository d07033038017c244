"""A node's counters and gauges, in a Prometheus registry of its own.

Several nodes may live in one process (tests, simulations), so nothing is registered globally. Labels have
closed sets of values (da/runtime/labels.py): members of the committee by name, loops, and reasons by the
names of error classes, also where a peer's answer names the reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from da import errors as node_errors
from da.protocol import errors as protocol_errors
from da.runtime.labels import Labelled
from da.store import errors as store_errors
from kzg import errors as engine_errors

API_ERRORS = frozenset(
    {
        "BodyTooLarge",
        "BodyTooSlow",
        "HeadTooLarge",
        "InternalError",
        "InvalidContentLength",
        "InvalidParameter",
        "MethodNotAllowed",
        "Overloaded",
        "RouteNotFound",
        "TooManyFromAddress",
        "TruncatedBody",
        "UnsupportedMediaType",
    }
)
"""Names that a peer's HTTP layer gives (da/api/errors.py and others there), which is above this module."""
LOOPS = frozenset(
    {"batcher", "dispersal", "follower", "index", "measure", "repair", "rescue", "retention", "scrub", "time"}
)
_LATENCY_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LAG_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


def delivery_loop(member: str) -> str:
    """The name of the loop that delivers to a member."""
    return f"delivery to {member}"


def _errors_of(*modules: ModuleType) -> frozenset[str]:
    """The names of all exceptions that the modules define."""
    return frozenset(
        name
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Exception)
    )


ERROR_NAMES = API_ERRORS | _errors_of(node_errors, protocol_errors, store_errors, engine_errors)


class NodeMetrics:
    """The metric objects; components increment them where things happen.

    Args:
        members: names of the committee's members.
    """

    def __init__(self, members: Iterable[str]) -> None:
        registry = self.registry = CollectorRegistry()
        members = frozenset(members)
        self.node = Info("cellar_node", "Identity, roles and engine of this node", registry=registry)
        # Disperser.
        self.posts = Counter("cellar_posts", "Payloads accepted, new ones", registry=registry)
        self.post_bytes = Counter("cellar_post_bytes", "Bytes of new payloads", registry=registry)
        self.posts_repeated = Counter(
            "cellar_posts_repeated", "Posts of payloads known already", registry=registry
        )
        self.waiting = Gauge("cellar_payloads_waiting", "Payloads waiting for a batch", registry=registry)
        self.outbox_bytes = Gauge("cellar_outbox_bytes", "Payload bytes in the outbox", registry=registry)
        self.batches = Counter("cellar_batches", "Batches made", registry=registry)
        self.batch_rows = Counter("cellar_batch_rows", "Rows of the batches made", registry=registry)
        # The steps from a payload to its certificate, in order; nothing else takes long.
        self.commit_seconds = self._seconds("commit", "Packing a post and committing to its rows")
        self.accept_seconds = self._seconds("accept", "Making a post durable in the outbox")
        self.gather_seconds = self._seconds("gather", "From a post's acceptance to the start of its batch")
        self.load_seconds = self._seconds("load", "Reading and packing the payloads of a batch")
        self.encode_seconds = self._seconds("encode", "Extending and proving a batch")
        self.propose_seconds = self._seconds("propose", "Making header and matrix of a batch durable")
        self.certify_seconds = self._seconds("certify", "From a header to its certificate")
        self.certificates = Counter("cellar_certificates", "Certificates made", registry=registry)
        self.push_seconds = Labelled(
            Histogram(
                "cellar_push_seconds",
                "A push to its attestation",
                ["member"],
                buckets=_LATENCY_BUCKETS,
                registry=registry,
            ),
            members,
        )
        self.push_failures = Labelled(
            Counter("cellar_push_failures", "Pushes that failed", ["member", "reason"], registry=registry),
            members,
            ERROR_NAMES,
        )
        self.bad_attestations = Labelled(
            Counter(
                "cellar_bad_attestations", "Attestations that do not verify", ["member"], registry=registry
            ),
            members,
        )
        self.member_behind = Labelled(
            Gauge(
                "cellar_member_behind", "Heights not yet delivered to a member", ["member"], registry=registry
            ),
            members,
        )
        # Member.
        self.verify_seconds = self._seconds("verify", "Verifying the cells of a push")
        self.keep_seconds = self._seconds("keep", "Making the columns of a push durable")
        self.attestations = Counter("cellar_attestations", "Attestations signed", registry=registry)
        self.rejected_pushes = Labelled(
            Counter("cellar_rejected_pushes", "Column pushes refused", ["reason"], registry=registry),
            ERROR_NAMES,
        )
        self.push_inflight_bytes = Gauge(
            "cellar_push_inflight_bytes", "Bodies of pushes being read or verified", registry=registry
        )
        self.repaired_columns = Counter(
            "cellar_repaired_columns", "Columns rebuilt from peers", registry=registry
        )
        self.corrupt_records = Counter(
            "cellar_corrupt_records", "Records with a bad checksum", registry=registry
        )
        self.bad_peer_cells = Labelled(
            Counter(
                "cellar_bad_peer_cells", "Cells from peers that do not verify", ["member"], registry=registry
            ),
            members,
        )
        self.contributions = Counter(
            "cellar_contributions", "Folds and cells contributed and stored", registry=registry
        )
        self.rescued_columns = Counter(
            "cellar_rescued_columns", "Columns solved from contributions", registry=registry
        )
        self.expired_batches = Counter("cellar_expired_batches", "Batches dropped", registry=registry)
        # Reading.
        self.records_read = Labelled(
            Counter("cellar_records_read", "Records served", ["kind"], registry=registry),
            ("data", "parity", "missing"),
        )
        self.folds = Labelled(
            Counter("cellar_folds", "Columns asked for as folds", ["outcome"], registry=registry),
            ("made", "missing", "damaged"),
        )
        self.fold_seconds = self._seconds("fold", "Folding a column, from its records to the answer")
        self.payloads_read = Labelled(
            Counter("cellar_payloads_read", "Payloads served", ["source"], registry=registry),
            ("held", "peers"),
        )
        # Health.
        self.store_free_bytes = Gauge("cellar_store_free_bytes", "Room left for the store", registry=registry)
        self.loop_failures = Labelled(
            Counter("cellar_loop_failures", "Background loops that failed", ["loop"], registry=registry),
            LOOPS | {delivery_loop(member) for member in members},
        )
        self.clock_ahead_seconds = Gauge(
            "cellar_clock_ahead_seconds",
            "This node's clock less the time that the committee vouches for",
            registry=registry,
        )
        self.event_loop_lag = Histogram(
            "cellar_event_loop_lag_seconds",
            "Lateness of a timer on the event loop",
            buckets=_LAG_BUCKETS,
            registry=registry,
        )

    def _seconds(self, step: str, text: str) -> Histogram:
        return Histogram(f"cellar_{step}_seconds", text, buckets=_LATENCY_BUCKETS, registry=self.registry)

    def exposition(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self.registry)
