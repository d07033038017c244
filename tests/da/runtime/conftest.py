"""The engine of the simulations."""

from tests.simulation.conftest import engine

__all__ = ["engine"]
