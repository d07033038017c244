"""API tokens: who may post, under which namespaces, how many bytes a second.

A token is 32 random bytes as text, `cellar_<base64url>`. The settings keep its SHA-256, never the token, so a
leaked config file gives nobody the right to post. Each token has a bucket of bytes: it holds `burst_bytes`
and fills at `bytes_per_second`, so the answer to "too fast" names the exact second at which the same post
will be taken.

Invariants: digests are compared in constant time and all of them are compared; a post is charged for the
bytes that have come of it, so that one refused at once costs nothing.
Does not: know HTTP (da/api maps these errors to 401, 403, 413 and 429), nor share buckets between processes.
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
    """One API token: who may post, under which namespaces, how fast. `da token new` prints such a block."""

    name: str = Field(min_length=1, max_length=64, description="Who holds the token; shown in logs.")
    sha256: str = Field(
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of the token's text, hex. The token itself is never stored.",
    )
    namespaces: tuple[str, ...] = Field(
        min_length=1,
        description='Namespaces it may post under: exact labels (or 0x-hex), or a prefix ending in "*".',
    )
    bytes_per_second: int = Field(
        default=1 * MIB, ge=1, description="Payload bytes per second it may post in the long run."
    )
    burst_bytes: int = Field(
        default=64 * MIB, ge=1, description="Payload bytes it may post at once after a quiet time."
    )


class TokenError(Exception):
    """A post is refused for want of rights. Leaves: see below."""


class PostingClosed(TokenError):
    """The node has no tokens and does not take posts from everybody."""


class MissingToken(TokenError):
    """The post came without a token."""


class UnknownToken(TokenError):
    """The post came with a token that this node does not know."""


class NamespaceForbidden(TokenError):
    """The token does not hold the right to this namespace."""

    def __init__(self, message: str, *, token_name: str, namespace: str) -> None:
        super().__init__(message)
        self.token_name = token_name
        self.namespace = namespace


class BurstTooSmall(TokenError):
    """The payload is longer than the token may ever post at once."""

    def __init__(self, message: str, *, length: int, burst_bytes: int) -> None:
        super().__init__(message)
        self.length = length
        self.burst_bytes = burst_bytes


class RateExceeded(TokenError):
    """The token has posted too many bytes lately; the same post is taken after `retry_after_s`."""

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
    """The right to post under one namespace; `bucket` is None where no rate applies."""

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
        """The right that `token` (None: no token was sent) gives to post under `namespace` (32 bytes).

        Raises:
            PostingClosed, MissingToken, UnknownToken, NamespaceForbidden.
        """
        if token is None:
            if self._open_posting:
                return Grant(token_name=None, bucket=None)
            if not self._entries:
                raise PostingClosed(
                    "this node takes no posts: it has neither tokens (see da token new) nor http.open_posting"
                )
            raise MissingToken("posting needs a token: send the header 'Authorization: Bearer <token>'")
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        found: tuple[TokenConfig, ByteBucket] | None = None
        for settings, known, bucket in self._entries:
            if hmac.compare_digest(known, digest):
                found = (settings, bucket)
        if found is None:
            raise UnknownToken("this node does not know the token that was sent")
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
            BurstTooSmall: no waiting would help. RateExceeded: waiting `retry_after_s` does.
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
                f"this token posts {bucket.rate} bytes a second; retry in {retry_after_s} s",
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
    # "0*" means names that begin with a zero, not every namespace for being "0x..." in hex.
    return label != spelled_out and label.startswith(prefix)


def new_token() -> str:
    """A fresh token of 256 random bits."""
    return MARK + secrets.token_urlsafe(32)


def token_digest(token: str) -> str:
    """The hex SHA-256 under which the settings know a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def settings_block(token: str, name: str, patterns: Iterable[str], rate: int, burst: int) -> str:
    """The `[[tokens]]` table of a node's TOML file that admits `token`."""
    quoted = ", ".join(f'"{pattern}"' for pattern in patterns)
    return (
        f'[[tokens]]\nname = "{name}"\nsha256 = "{token_digest(token)}"\nnamespaces = [{quoted}]\n'
        f"bytes_per_second = {rate}\nburst_bytes = {burst}\n"
    )
