"""Gas of each call of the settlement contract, on py-evm at the Prague rules.

Gas does not depend on the machine; keys are fixed, so the figures are the same each time. They are those of
docs/reference/settlement.md.
"""

from __future__ import annotations

import numpy as np

from benchmarks.measure import Table
from da import bls
from da.protocol.attestation import attestation_message
from da.protocol.certificate import Certificate
from da.protocol.committee import Committee, Member
from da.protocol.header import ZERO_HASH, Header
from da.protocol.merkle import commitments_root
from da.protocol.payload import payload_id
from da.protocol.payload_list import PayloadEntry, PayloadList
from da.settlement.contract import SettlementContract, SettlementStatus
from da.settlement.encoding import g2_words, signer_bits
from da.settlement.evm import Chain, Function, fast_precompiles

START_S = 2_000_000_000
CHAIN_ID = 7
PAYLOADS = 3
_CHECK = Function("check_certificate", ("bytes", "uint256", "bytes"), ("uint8",))


def run(sizes: tuple[int, ...] = (6, 16)) -> list[Table]:
    """One table, a column for each size of committee."""
    columns = [measure(size) for size in sizes]
    rows = [(name, *(f"{each[name]:,}" if name in each else "-" for each in columns)) for name in columns[-1]]
    header = ("transaction, gas", *(f"committee of {size}" for size in sizes))
    return [
        Table("Settlement", header, rows, "Figures include the 21,000 of a transaction and its calldata.")
    ]


def measure(size: int) -> dict[str, int]:
    """Gas of each transaction with a committee of this size."""
    keys = sorted(((i + 1).to_bytes(32, "big") for i in range(size)), key=bls.public_key)
    committee = _committee(keys)
    header, payloads = _batch(committee)
    everyone = tuple(range(size))
    with fast_precompiles():
        chain = Chain()
        chain.set_time(START_S)
        contract = SettlementContract.deploy(chain, committee, guardian=chain.accounts[1])
        found = {
            "create the contract": contract.cost.create,
            "register all members": contract.cost.register,
            "seal": contract.cost.seal,
            "`check_certificate`, everyone signed": _check(contract, keys, committee, header, everyone),
            "the same, one did not sign": _check(contract, keys, committee, header, everyone[1:]),
        }
        if 3 * (size - 4) >= 2 * size:
            found["the same, four did not sign"] = _check(contract, keys, committee, header, everyone[4:])
        settled = contract.settle(_certify(keys, committee, header, everyone), payloads, 0)
        assert settled.status is SettlementStatus.OK
        found["`settle`, everyone signed, first payload of three"] = settled.gas_used
        found["`veto`"] = contract.veto(bytes([1]) * 32, bytes([2]) * 32)
    return found


def _check(
    contract: SettlementContract,
    keys: list[bytes],
    committee: Committee,
    header: Header,
    signers: tuple[int, ...],
) -> int:
    """Gas of `check_certificate` as a transaction."""
    certificate = _certify(keys, committee, header, signers)
    assert contract.check(certificate) is SettlementStatus.OK
    arguments = (
        certificate.header.encode(), signer_bits(certificate.signers), g2_words(certificate.signature)
    )  # fmt: skip
    return contract.chain.transact(contract.address, _CHECK, *arguments).gas_used


def _committee(keys: list[bytes]) -> Committee:
    members = tuple(
        Member(
            name=f"m{i}",
            url=f"http://127.0.0.1:{9000 + i}",
            public_key=bls.public_key(key),
            proof_of_possession=bls.prove_possession(key),
            stake=100,
            disperser=i == 0,
        )
        for i, key in enumerate(keys)
    )
    return Committee(chain_id=CHAIN_ID, epoch=3, members=members)


def _batch(committee: Committee) -> tuple[Header, PayloadList]:
    commitments = np.arange(PAYLOADS * 48, dtype=np.uint8).reshape(PAYLOADS, 48)
    entries = tuple(
        PayloadEntry(
            namespace=bytes([i + 1]) * 32,
            payload_id=payload_id(1000 + i, commitments[i : i + 1]),
            first_row=i,
            row_count=1,
            length=1000 + i,
        )
        for i in range(PAYLOADS)
    )
    payloads = PayloadList(entries)
    header = Header(
        chain_id=committee.chain_id,
        disperser_id=committee.dispersers[0].id,
        height=1,
        timestamp_ms=START_S * 1000,
        parent=ZERO_HASH,
        committee_hash=committee.hash,
        row_count=PAYLOADS,
        payloads_root=payloads.root,
        commitments_root=commitments_root(commitments),
    )
    return header, payloads


def _certify(
    keys: list[bytes], committee: Committee, header: Header, signers: tuple[int, ...]
) -> Certificate:
    message = attestation_message(header.chain_id, header.committee_hash, header.hash)
    signature = bls.aggregate([bls.sign(keys[i], message) for i in signers])
    return Certificate(
        header=header, committee_size=len(committee.members), signers=signers, signature=signature
    )
