"""The configuration of the HTTP server: addresses, bodies, answers."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from da.section import KIB, MIB, Section, words


class ApiConfig(Section):
    """The HTTP server and its limits."""

    host: str = Field(default="127.0.0.1", description="Address the HTTP server listens on.")
    port: int = Field(default=4560, ge=0, le=65535, description="TCP port the HTTP server listens on.")
    requests_max: int = Field(default=1024, ge=1, description="Requests in progress at once; more get 503.")
    connections_per_address_max: int = Field(
        default=256,
        ge=1,
        description="Connections, and requests in progress, of one address (IPv6: one /64); more get 429.",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Addresses or networks of reverse proxies whose X-Forwarded-For names the client.",
    )
    keep_alive_s: int = Field(default=30, ge=1, description="Seconds an idle connection is kept open.")
    head_timeout_s: float = Field(
        default=10.0, gt=0, description="Timeout for receiving a request's line and headers, in seconds."
    )
    shutdown_grace_s: int = Field(
        default=10, ge=0, description="Seconds that running requests have to finish when the node stops."
    )
    body_timeout_s: float = Field(
        default=120.0, gt=0, description="Timeout for receiving a whole request body, in seconds."
    )
    body_grace_s: float = Field(
        default=5.0, gt=0, description="Seconds before the minimum rate of a body is enforced."
    )
    body_bytes_per_s_min: int = Field(
        default=8 * KIB,
        ge=1,
        description="Bytes per second below which a sender gets 408, and a reader is disconnected.",
    )
    bodies_waiting_max: int = Field(
        default=64, ge=0, description="Posts, and reads, that may wait for memory; more get 503 at once."
    )
    post_inflight_bytes_max: int = Field(
        default=128 * MIB,
        ge=1,
        description="Bytes received of payloads and held at once; a token may fill half, less beside others.",
    )
    post_wait_s: float = Field(
        default=10.0, ge=0, description="Seconds a post may wait for memory before the answer is 503."
    )
    contribution_inflight_bytes_max: int = Field(
        default=16 * MIB,
        ge=1,
        description="Bytes received of contributions and not yet verified; one address may fill half.",
    )
    read_inflight_bytes_max: int = Field(
        default=256 * MIB,
        ge=1,
        description="Bytes of payloads being rebuilt or sent at once; further reads wait.",
    )
    read_inflight_bytes_per_address_max: int = Field(
        default=64 * MIB,
        ge=1,
        description="Share of these bytes for one address; its further reads wait.",
    )
    read_wait_s: float = Field(
        default=10.0, ge=0, description="Seconds a read may wait for memory before the answer is 503."
    )
    certified_wait_s_max: float = Field(
        default=60.0,
        gt=0,
        description="Longest time a request with `wait=certified` is held before it gets 202, in seconds.",
    )
    stream_clients_max: int = Field(
        default=64, ge=0, description="Clients of /v1/batches/stream at once; more get 503."
    )
    streams_per_address_max: int = Field(
        default=16, ge=1, description="Of these clients, those from one address; more get 429."
    )
    stream_ping_s: float = Field(
        default=15.0,
        gt=0,
        description="Seconds without an event after which the stream sends a comment line.",
    )
    open_posting: bool = Field(
        default=False, description="Accept posts without a token. For development networks."
    )

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _words_from_text(cls, value: Any) -> Any:
        return words(value)

    @field_validator("trusted_proxies")
    @classmethod
    def _check_networks(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            ipaddress.ip_network(value)  # raises ValueError with the reason
        return values

    @property
    def trusted_networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """`trusted_proxies`, parsed."""
        return tuple(ipaddress.ip_network(value) for value in self.trusted_proxies)
