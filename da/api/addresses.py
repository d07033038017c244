"""Whose request it is, as far as the address tells, and how much of something one address may have.

The idea: every bounded thing of the server (connections, requests, streams, memory of reads, turns of
openings) is bounded for one address too, so that no address takes all of it. An IPv6 customer has a /64 at
least, so that is what counts as one address there.

Does not: limit how many requests a second come; a reverse proxy can (docs/guides/run-a-node.md).
"""

from __future__ import annotations

import functools
import ipaddress
from collections import Counter
from collections.abc import Sequence

from starlette.types import Scope

IPV6_PREFIX = 64
_TEXT_MAX = 64  # of an address that is none, as a proxy may forward

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@functools.lru_cache(maxsize=4096)
def owner_of(host: str) -> str:
    """Who the address stands for: an IPv4 address itself, an IPv6 one its /64; other text itself."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host[:_TEXT_MAX]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), IPV6_PREFIX), strict=False))
    return str(address)


def owner_of_scope(scope: Scope) -> str:
    """Who sent the request; a trusted proxy's word for it has been taken by the server."""
    client = scope.get("client")
    return owner_of(client[0]) if client else ""


def is_among(host: str, networks: Sequence[Network]) -> bool:
    """Whether the address lies in one of the networks."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)


def with_mapped(networks: Sequence[Network]) -> list[str]:
    """The networks, and the IPv4 ones also as a socket of both families writes them (::ffff:192.0.2.1)."""
    mapped = [
        f"::ffff:{network.network_address}/{96 + network.prefixlen}"
        for network in networks
        if isinstance(network, ipaddress.IPv4Network)
    ]
    return [str(network) for network in networks] + mapped


class Places:
    """At most `limit` of something for each owner of addresses."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken: Counter[str] = Counter()

    def take(self, owner: str) -> bool:
        """Take a place, to be given back; False when the owner has all that it may."""
        if self._taken[owner] >= self.limit:
            return False
        self._taken[owner] += 1
        return True

    def give_back(self, owner: str) -> None:
        """Give one place back."""
        self._taken[owner] -= 1
        if not self._taken[owner]:
            del self._taken[owner]

    def __len__(self) -> int:
        """Owners that have a place."""
        return len(self._taken)
