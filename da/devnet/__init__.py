"""A committee on one machine: real node processes on loopback ports, for demos, tests and experiments."""

from da.devnet.committee import Devnet, DevnetError, NodeProcess

__all__ = ["Devnet", "DevnetError", "NodeProcess"]
