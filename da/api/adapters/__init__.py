"""Doors for clients of other systems: sub-applications, each with its own paths and its own error dialect.

An adapter translates and calls the service that v1 calls. It takes bodies through the same intake
(da/api/intake.py), under the same rights and shares, and its requests are counted and bounded like others;
only what it answers is in the words of its clients.
"""

from da.api.adapters.mounting import Adapter, mount

__all__ = ["Adapter", "mount"]
