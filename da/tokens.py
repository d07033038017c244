"""API tokens: who may post, under which namespaces, how many bytes a second.

A token is 32 random bytes as text, `cellar_<base64url>`. The settings keep its SHA-256, never the token, so a
leaked config file does not let anyone post. Each token has a bucket of bytes: it holds `burst_bytes`
and fills at `bytes_per_second`, so a post that comes too soon is
refused with the exact time after which it will be accepted.

Invariants: digests are compared in constant time and all of them are compared; a post is charged for the
bytes that have come of it, so that one refused at once costs nothing.
Does not: depend on HTTP (da/api maps these errors to 401, 403, 413 and 429), or share buckets.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pydantic import Field

from da.protocol import namespace as namespaces
from da.section import MIB, Section

MARK = "cellar_"  # lets secret scanners find a token that slipped into a repository


class TokenConfig(Section):
    """One API token: its owner, namespaces and rate. `da token new` prints such a table."""

    name: str = Field(min_length=1, max_length=64, description="Owner of the token; shown in logs.")
    sha256: str = Field(
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of the token's text, hex. The token itself is never stored.",
    )
    namespaces: tuple[str, ...] = Field(
        min_length=1,
        description='Namespaces the token may use: exact labels (or 0x-hex), or a prefix ending in "*".',
    )
    bytes_per_second: int = Field(
        default=1 * MIB, ge=1, description="Sustained rate limit, in payload bytes per second."
    )
    burst_bytes: int = Field(
        default=64 * MIB,
        ge=1,
        description="Burst limit: payload bytes the token may post at once when it has been idle.",
    )


class TokenError(Exception):
    """A post is refused because its token does not permit it; base of the classes below."""


class PostingClosed(TokenError):
    """The node has no tokens and open posting is off."""


class MissingToken(TokenError):
    """The post has no token."""


class UnknownToken(TokenError):
    """The post has a token that is not in this node's settings."""


class NamespaceForbidden(TokenError):
    """The token may not post under this namespace."""

    def __init__(self, message: str, *, token_name: str, namespace: str) -> None:
        super().__init__(message)
        self.token_name = token_name
        self.namespace = namespace


class BurstTooSmall(TokenError):
    """The payload is longer than the token's burst limit, so it can never be posted."""

    def __init__(self, message: str, *, length: int, burst_bytes: int) -> None:
        super().__init__(message)
        self.length = length
        self.burst_bytes = burst_bytes


class RateExceeded(TokenError):
    """The token has reached its rate limit; the same post is accepted after `retry_after_s`."""

    def __init__(self, message: str, *, retry_after_s: int, bytes_per_second: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.bytes_per_second = bytes_per_second


@dataclass
class ByteBucket:
    """A token bucket that counts bytes: holds at most `capacity`, fills at `rate` bytes a second."""

    capacity: int
    rate: int
    level: float = field(init=False)
    filled_at_s: float

    def __post_init__(self) -> None:
        self.level = float(self.capacity)

    def take(self, amount: int, now_s: float) -> float:
        """Take `amount` bytes at time `now_s`; 0.0 when taken, else the seconds until they would be."""
        wait_s = self.wait_s(amount, now_s)
        if not wait_s:
            self.level -= amount
        return wait_s

    def wait_s(self, amount: int, now_s: float) -> float:
        """Seconds from `now_s` until `amount` bytes could be taken; 0.0 when they could be now."""
        # A clock that steps back must not drain the bucket, hence the max.
        elapsed_s = max(0.0, now_s - self.filled_at_s)
        self.level = min(float(self.capacity), self.level + elapsed_s * self.rate)
        self.filled_at_s = now_s
        return max(0.0, (amount - self.level) / self.rate)


@dataclass(frozen=True)
class Grant:
    """Permission to post under one namespace; `bucket` is None where no rate limit applies."""

    token_name: str | None
    bucket: ByteBucket | None


class PostingRights:
    """Decides who may post. `clock` gives monotonic seconds."""

    def __init__(
        self,
        tokens: Iterable[TokenConfig],
        *,
        open_posting: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._open_posting = open_posting
        now_s = clock()
        self._entries = [
            (token, bytes.fromhex(token.sha256), ByteBucket(token.burst_bytes, token.bytes_per_second, now_s))
            for token in tokens
        ]

    def grant(self, token: str | None, namespace: bytes) -> Grant:
        """The permission of `token` (None: no token was sent) to post under `namespace` (32 bytes).

        Raises:
            PostingClosed, MissingToken, UnknownToken, NamespaceForbidden.
        """
        if token is None:
            if self._open_posting:
                return Grant(token_name=None, bucket=None)
            if not self._entries:
                raise PostingClosed(
                    "posting is disabled on this node: add a token (da token new) or set http.open_posting"
                )
            raise MissingToken("posting requires a token; send the header 'Authorization: Bearer <token>'")
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        found: tuple[TokenConfig, ByteBucket] | None = None
        for settings, known, bucket in self._entries:
            if hmac.compare_digest(known, digest):
                found = (settings, bucket)
        if found is None:
            raise UnknownToken("unknown token; check it with the node's operator")
        settings, bucket = found
        if not any(covers(pattern, namespace) for pattern in settings.namespaces):
            label = namespaces.label(namespaces.Namespace(namespace))
            raise NamespaceForbidden(
                f"token {settings.name!r} may not post under namespace {label}",
                token_name=settings.name,
                namespace=label,
            )
        return Grant(token_name=settings.name, bucket=bucket)

    def check(self, grant: Grant, length: int) -> None:
        """Refuse a payload of `length` bytes that the grant has no room for now, without charging anything.

        Raises:
            BurstTooSmall: the payload can never be posted with this token. RateExceeded: retry after
                `retry_after_s`.
        """
        bucket = grant.bucket
        if bucket is None:
            return
        _check_burst(bucket, length)
        self._refuse_after(bucket, bucket.wait_s(length, self._clock()))

    def meter(self, grant: Grant) -> Callable[[int], None]:
        """A function that counts the pieces of one payload, as they come, against the grant.

        It raises BurstTooSmall or RateExceeded, as `check`, when what has come is too much.
        """
        bucket, total = grant.bucket, 0

        def count(length: int) -> None:
            nonlocal total
            if bucket is None:
                return
            total += length
            _check_burst(bucket, total)
            self._refuse_after(bucket, bucket.take(length, self._clock()))

        return count

    def _refuse_after(self, bucket: ByteBucket, wait_s: float) -> None:
        if wait_s > 0:
            retry_after_s = max(1, math.ceil(wait_s))
            raise RateExceeded(
                f"rate limit of {bucket.rate} bytes per second reached; retry after {retry_after_s} s",
                retry_after_s=retry_after_s,
                bytes_per_second=bucket.rate,
            )


def _check_burst(bucket: ByteBucket, length: int) -> None:
    if length > bucket.capacity:
        raise BurstTooSmall(
            f"the payload has {length} bytes; this token may post {bucket.capacity} at once",
            length=length,
            burst_bytes=bucket.capacity,
        )


def covers(pattern: str, namespace: bytes) -> bool:
    """Whether a pattern of the settings (exact label, 0x-hex, or prefix ending in "*") covers a namespace."""
    label, spelled_out = namespaces.label(namespaces.Namespace(namespace)), "0x" + namespace.hex()
    if not pattern.endswith("*"):
        return pattern in (label, spelled_out)
    prefix = pattern[:-1]
    if not prefix:
        return True
    if prefix.startswith("0x"):
        return spelled_out.startswith(prefix)
    # "0*" covers names that begin with a zero, but not every namespace whose hex form is "0x...".
    return label != spelled_out and label.startswith(prefix)


def new_token() -> str:
    """A new token of 256 random bits."""
    return MARK + secrets.token_urlsafe(32)


def token_digest(token: str) -> str:
    """The hex SHA-256 of a token, as the settings store it."""
    return hashlib.sha256(token.encode()).hexdigest()


def settings_block(token: str, name: str, patterns: Iterable[str], rate: int, burst: int) -> str:
    """The `[[tokens]]` table of a node's TOML file that admits `token`."""
    quoted = ", ".join(f'"{pattern}"' for pattern in patterns)
    return (
        f'[[tokens]]\nname = "{name}"\nsha256 = "{token_digest(token)}"\nnamespaces = [{quoted}]\n'
        f"bytes_per_second = {rate}\nburst_bytes = {burst}\n"
    )
