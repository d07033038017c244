"""Gas of each call of the settlement contract, on py-evm at the Prague rules.

Gas does not depend on the machine; keys are fixed, so the figures are the same each time. They are those of
docs/reference/settlement.md.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.measure import Table
from da.protocol.committee import DEFAULT_RETENTION_S, Committee
from da.protocol.handover import Handover, HandoverTerms
from da.protocol.header import Header
from da.settlement.contract import SettlementContract, SettlementStatus
from da.settlement.encoding import g2_words, signer_bits
from da.settlement.evm import Chain, Function, fast_precompiles
from tests.da.settlement.support import START_S, certify, make_batch, make_committee, secrets

PAYLOADS = 3
SAMPLING_DELAY_S = 600
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
    committee = make_committee(size, retention_s=DEFAULT_RETENTION_S, stakes=(100,) * size)
    batch = make_batch(committee, PAYLOADS)
    header, payloads = batch.header, batch.payloads
    everyone = tuple(range(size))
    with fast_precompiles():
        chain = Chain()
        chain.set_time(START_S)
        guardian = chain.accounts[1]
        contract = SettlementContract.deploy(
            chain, committee, guardians=(guardian,), sampling_delay_s=SAMPLING_DELAY_S
        )
        found = {
            "create the contract": contract.cost.create,
            "register all members": contract.cost.register,
            "seal": contract.cost.seal,
            "`check_certificate`, everyone signed": _check(contract, committee, header, everyone),
            "the same, one did not sign": _check(contract, committee, header, everyone[1:]),
        }
        if 3 * (size - 4) >= 2 * size:
            found["the same, four did not sign"] = _check(contract, committee, header, everyone[4:])
        certificate = certify(committee, header, everyone)
        presented = contract.settle(certificate, payloads, 0)
        assert presented.status is SettlementStatus.TOO_EARLY
        found["`settle`, everyone signed, first payload of three, starts the delay"] = presented.gas_used
        chain.set_time(chain.timestamp_s + SAMPLING_DELAY_S)
        settled = contract.settle(certificate, payloads, 0)
        assert settled.status is SettlementStatus.OK
        found["the same, records"] = settled.gas_used
        vetoed = bytes([1]) * 32
        found["`veto`"] = contract.veto(vetoed, bytes([2]) * 32, guardian=guardian)
        found["`lift_veto`"] = contract.lift_veto(vetoed, guardian=guardian)
        successor = chain.accounts[2]
        found["`propose_guardian`"] = contract.propose_guardian(successor, guardian=guardian)
        found["`accept_guardian`"] = contract.accept_guardian(guardian, successor=successor)
        found["`activate` the next committee, everyone signed"] = _activate(contract, committee)
    return found


def _activate(contract: SettlementContract, committee: Committee) -> int:
    """Gas of a change to the same members' committee of the next epoch, once that is registered."""
    following = replace(committee, epoch=committee.epoch + 1)
    registrar = contract.chain.accounts[3]
    contract.open(following, registrar)
    contract.register(following, registrar)
    terms = HandoverTerms.between(
        committee,
        following,
        valid_until_s=START_S + DEFAULT_RETENTION_S,
        contract=bytes.fromhex(contract.address[2:]),
        settlement_chain_id=contract.chain.chain_id,
    )
    keys = secrets(len(committee.members))
    signatures = {index: terms.sign(key).signature for index, key in enumerate(keys)}
    activated = contract.activate(Handover.gather(terms, committee, signatures))
    assert activated.status is SettlementStatus.OK
    return activated.gas_used


def _check(
    contract: SettlementContract,
    committee: Committee,
    header: Header,
    signers: tuple[int, ...],
) -> int:
    """Gas of `check_certificate` as a transaction."""
    certificate = certify(committee, header, signers)
    assert contract.check(certificate) is SettlementStatus.OK
    arguments = (
        certificate.header.encode(), signer_bits(certificate.signers), g2_words(certificate.signature)
    )  # fmt: skip
    return contract.chain.transact(contract.address, _CHECK, *arguments).gas_used
