"""The node: the service behind the HTTP API, and the loops that make it a disperser and a member."""

from da.node.service import Node
from da.node.types import (
    NamespaceListing,
    PayloadOpening,
    PayloadProof,
    PayloadStatus,
    Readiness,
    Receipt,
    Status,
)
from da.runtime.config import NodeConfig

__all__ = [
    "NamespaceListing",
    "Node",
    "NodeConfig",
    "PayloadOpening",
    "PayloadProof",
    "PayloadStatus",
    "Readiness",
    "Receipt",
    "Status",
]
