"""Push signatures: a disperser's word, to one member, that a push comes from it.

The idea: a header and its disperser's signature are public as soon as any member serves the log, so whoever
replays them could make members take in bodies. A push therefore begins with a second signature of the
disperser, over the header and the member it is for. It is made for each push, and neither stored nor served,
so that nobody but the disperser and that member ever has it.

Source: docs/reference/wire-formats.md, Column push.
"""

from __future__ import annotations

from hashlib import sha256

from da import bls
from da.protocol.codec import u64
from da.protocol.committee import Member
from da.protocol.header import Header

_PUSH_DOMAIN = b"cellar/push/v1"


def push_message(header: Header, recipient_id: bytes) -> bytes:
    """What a disperser signs to push `header`'s columns to the member `recipient_id`: bytes[32]."""
    bound = u64(header.chain_id) + header.committee_hash + header.hash + recipient_id
    return sha256(_PUSH_DOMAIN + bound).digest()


def sign_push(secret: bytes, header: Header, recipient_id: bytes) -> bytes:
    """The disperser's signature for one member, bytes[96]. Raises bls.InvalidSecretKey."""
    return bls.sign(secret, push_message(header, recipient_id))


def verify_push(disperser: Member, header: Header, recipient_id: bytes, signature: bytes) -> bool:
    """Whether `disperser` pushes this header's columns to the member `recipient_id`."""
    return bls.verify(disperser.public_key, push_message(header, recipient_id), signature)
