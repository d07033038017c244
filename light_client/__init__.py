"""The light client: samples batches of a committee without trusting its members.

Flow: a reference -> a verified batch (lookup, batch, chain) -> coordinates, durable (log) -> cells (peers) ->
one batch verification and a verdict (sampling_run) -> a report (describe, report, display).
"""

from light_client.batch import SignedHeader, VerifiedBatch, verify_batch
from light_client.client import LightClient, Observer
from light_client.errors import (
    BatchExpired,
    BatchNotFound,
    BatchPending,
    BatchUnreached,
    InvalidReference,
    LightClientError,
    NoBatchYet,
    PeerError,
    PeerExpired,
    PeerMisbehaved,
    PeerUnknown,
    PeerUnreachable,
    StateError,
    UnknownDisperser,
    UnverifiedBatch,
)
from light_client.log import HeaderLog, VerdictRecord
from light_client.peers import MemberClient, Members
from light_client.picture import draw_matrix
from light_client.report import EXIT_CODES, Report, RoundReport, Status
from light_client.settings import LightClientSettings
from light_client.watch import Watcher
from light_client.witness import Accusation, Fault, Witness

__all__ = [
    "EXIT_CODES",
    "Accusation",
    "BatchExpired",
    "BatchNotFound",
    "BatchPending",
    "BatchUnreached",
    "Fault",
    "HeaderLog",
    "InvalidReference",
    "LightClient",
    "LightClientError",
    "LightClientSettings",
    "MemberClient",
    "Members",
    "NoBatchYet",
    "Observer",
    "PeerError",
    "PeerExpired",
    "PeerMisbehaved",
    "PeerUnknown",
    "PeerUnreachable",
    "Report",
    "RoundReport",
    "SignedHeader",
    "StateError",
    "Status",
    "UnknownDisperser",
    "UnverifiedBatch",
    "VerdictRecord",
    "VerifiedBatch",
    "Watcher",
    "Witness",
    "draw_matrix",
    "verify_batch",
]
