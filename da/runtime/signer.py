"""The signer: the one part of a node that holds its secret key.

The idea: what a member signs is named, and nothing else can be signed with its key. Parts ask the port;
behind it is the key itself (`LocalSigner`), or another machine that keeps it and may refuse to sign a second
header at one height.

Invariants: a signature that is returned is the member's over exactly what was asked for (an implementation
that asks another machine verifies the answer); a call ends within the implementation's own time limit; the
same question may be asked again after a failure. No representation shows the key.

Does not: decide what may be signed (see da.member.ingest, da.disperser.dispersal and da.commands.handovers).
"""

from __future__ import annotations

from typing import Protocol

from da import bls
from da.protocol.attestation import Attestation
from da.protocol.handover import HandoverSignature, HandoverTerms
from da.protocol.header import Header
from da.protocol.proposal import sign_header
from da.protocol.push_signature import sign_push
from da.runtime.workers import Workers


class Signer(Protocol):
    """Signatures of one member. Every call raises SignerUnavailable when there is none at this moment."""

    @property
    def public_key(self) -> bytes:
        """The member's public key, bytes[48]; known without asking."""
        ...

    @property
    def complaint(self) -> str | None:
        """Why nothing can be signed at this moment, for the node's operator; None when it can."""
        ...

    async def attest(self, header: Header) -> Attestation:
        """That the member holds its columns of this batch durably."""
        ...

    async def propose(self, header: Header) -> bytes:
        """The disperser's signature of its own header, bytes[96]."""
        ...

    async def authenticate_push(self, header: Header, recipient_id: bytes) -> bytes:
        """The disperser's signature that it pushes this header's columns to one member, bytes[96]."""
        ...

    async def hand_over(self, terms: HandoverTerms) -> HandoverSignature:
        """That the committee which the member's operator named follows the member's own."""
        ...


class LocalSigner:
    """Signs with a key in this process, on the compute threads."""

    __slots__ = ("_public_key", "_secret", "_workers")

    def __init__(self, secret: bytes, workers: Workers) -> None:
        """`secret`: BLS secret key, bytes[32]. Raises bls.InvalidSecretKey."""
        self._public_key = bls.public_key(secret)
        self._secret = secret
        self._workers = workers

    def __repr__(self) -> str:
        return f"LocalSigner(public_key=0x{self._public_key.hex()})"

    @property
    def public_key(self) -> bytes:
        """See Signer."""
        return self._public_key

    @property
    def complaint(self) -> str | None:
        """See Signer; a key in this process can always sign."""
        return None

    async def attest(self, header: Header) -> Attestation:
        """See Signer."""
        return await self._workers.compute(Attestation.sign, self._secret, header)

    async def propose(self, header: Header) -> bytes:
        """See Signer."""
        return await self._workers.compute(sign_header, self._secret, header)

    async def authenticate_push(self, header: Header, recipient_id: bytes) -> bytes:
        """See Signer."""
        return await self._workers.compute(sign_push, self._secret, header, recipient_id)

    async def hand_over(self, terms: HandoverTerms) -> HandoverSignature:
        """See Signer."""
        return await self._workers.compute(terms.sign, self._secret)
