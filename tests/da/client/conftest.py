"""The engine that makes the batches of these tests."""

from tests.simulation.conftest import engine

__all__ = ["engine"]
