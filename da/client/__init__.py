"""A client for rollups: post a payload, wait for its certificate, read it back, follow the log.

Two classes with the same methods, `CellarClient` for plain code and `AsyncCellarClient` for asyncio. Each
method is a `Call` (what to send, how to read the answer) handed to one retry loop. All calls are safe to
repeat, posting too: the same bytes in a namespace have one id. Retried are lost connections and the answers
429, 502, 503 and 408, after the time the node names or a growing one with jitter, until `timeout_s` is over.

Invariants: every failure is a `ClientError`; a batch's header hash, payload list and commitments are checked
against each other before they are returned.
A payload is checked before it is returned: its bytes against the id and, when the client has a committee,
header, certificate and inclusion; one member's "not known" is confirmed by others (da/client/reading.py).
Does not: verify cells, or the certificates in batch documents (a light client does); keep anything on disk.
"""

from da.client.asynchronous import AsyncCellarClient
from da.client.blocking import CellarClient
from da.client.errors import (
    ClientError,
    Conflict,
    Gone,
    InvalidAnswer,
    InvalidInput,
    InvalidOption,
    NodeUnreachable,
    NotAllowed,
    NotKnown,
    NotNow,
    Refused,
    StillWaiting,
    Undecodable,
)
from da.client.options import DEFAULT_URL
from da.client.reading import PayloadRead
from da.wire.batches import BatchDocument, ExpiredBatch, LiveBatch, MissingBatch
from da.wire.cells import CellAnswer, Corrupt, NotHeld, Record
from da.wire.payloads import PayloadInfo

__all__ = [
    "DEFAULT_URL",
    "AsyncCellarClient",
    "BatchDocument",
    "CellAnswer",
    "CellarClient",
    "ClientError",
    "Conflict",
    "Corrupt",
    "ExpiredBatch",
    "Gone",
    "InvalidAnswer",
    "InvalidInput",
    "InvalidOption",
    "LiveBatch",
    "MissingBatch",
    "NodeUnreachable",
    "NotAllowed",
    "NotHeld",
    "NotKnown",
    "NotNow",
    "PayloadInfo",
    "PayloadRead",
    "Record",
    "Refused",
    "StillWaiting",
    "Undecodable",
]
