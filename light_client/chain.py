"""Stores headers: each disperser's log as one hash chain, and evidence when it is not.

The idea: a certified header joins the log at its height. A different header that the same disperser signed
for that height is equivocation; a certified one whose parent is not the header before it (or that is not the
parent of the one after it) shows that the disperser, and the signers of both, have two logs. In both cases
the disperser is accused, with both headers and signatures as evidence, and the header does not join the log.

Does not: verify certificates or signatures; callers do.
"""

from __future__ import annotations

from da.clock import Clock
from da.protocol.committee import Committee
from light_client.batch import SignedHeader
from light_client.log import HeaderLog
from light_client.witness import Fault, Witness


def keep_header(
    log: HeaderLog, committee: Committee, clock: Clock, signed: SignedHeader, witness: Witness
) -> bool:
    """Add a header to the log; True if it is new. `committee` is the header's own.

    A header without a certificate is used only as evidence.

    Raises:
        StateError: the state directory cannot be used.
    """
    header = signed.header
    chain = (header.chain_id, header.disperser_id)
    disperser = committee.member_index(header.disperser_id)
    witness = witness.under(committee)
    assert disperser is not None, "a verified header has a disperser of the committee"

    known = log.header_at(*chain, header.height)
    if known is not None and known.header == header:
        return False
    if known is not None:
        log.put_equivocation(signed, clock())
        witness.equivocations.append((known, signed))
        reason = f"signed two headers at height {header.height}"
        witness.accuse(disperser, Fault.EQUIVOCATION, reason, _evidence(known, signed))
        return False
    if signed.certificate is None:
        return False

    before = log.header_at(*chain, header.height - 1)
    after = log.header_at(*chain, header.height + 1)
    for first, second in ((before, signed), (signed, after)):
        if first is not None and second is not None and first.header.hash != second.header.parent:
            reason = f"headers {first.header.height} and {second.header.height} do not form a chain"
            witness.accuse(disperser, Fault.BROKEN_CHAIN, reason, _evidence(first, second))
            return False
    log.put_header(signed, clock())
    return True


def _evidence(first: SignedHeader, second: SignedHeader) -> bytes:
    """Both headers, each followed by the disperser's signature and the certificate if known."""
    return b"".join(
        each.header.encode() + each.disperser_signature + (each.certificate or b"")
        for each in (first, second)
    )
