"""Calls of every external function of the contract, with the status that plenty of gas gives, for sweeps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from da.protocol.certificate import Certificate
from da.protocol.committee import Committee
from da.settlement.contract import SettlementContract, SettlementStatus, source
from da.settlement.encoding import g1_words, g2_words, signer_bits
from da.settlement.evm import Chain, EvmError, Function
from tests.da.settlement.support import Batch, certify, hand_over, make_batch

DELAY_S = 600
EVIDENCE = b"\1" * 32
EVERYONE = tuple(range(7))
QUORUM = EVERYONE[2:]

CHECK = Function("check_certificate", ("bytes", "uint256", "bytes"), ("uint8",))
SETTLE = Function(
    "settle", ("bytes", "uint256", "bytes", "bytes", "uint256", "uint256", "bytes32[]"), ("uint8",)
)
REGISTER = Function("register", ("bytes", "bytes", "uint64", "bool"))
SEAL = Function("seal", ("bytes32",))
ACTIVATE = Function("activate", ("bytes32", "bytes32", "uint64", "uint256", "bytes"), ("uint8",))
_GETTERS = (
    "chain_id", "sampling_delay_s", "veto_quorum", "recovery", "recovery_delay_s", "in_office", "opened",
    "recovery_number", "recovery_ready_at",
)  # fmt: skip


@dataclass(frozen=True)
class Call:
    """One call; `status` is the code that it returns, None for a function that returns none."""

    address: str
    function: Function
    values: tuple[Any, ...]
    sender: str
    status: SettlementStatus | None = None

    @property
    def intrinsic_gas(self) -> int:
        """Price of the transaction itself and its calldata; with less it is refused before it runs."""
        return 21_000 + sum(16 if byte else 4 for byte in self.function.calldata(*self.values))


def external_functions() -> set[str]:
    """Names of all functions in the contract's ABI."""
    text = source()
    return {
        *re.findall(r"@external\n(?:@view\n)?def (\w+)", text),
        *re.findall(r"^(\w+): public\(", text, re.M),
    }


def make_calls(chain: Chain, committee: Committee) -> list[Call]:
    """Contracts on this chain in the states that the calls need, and the calls.

    The committee has seven members, of which QUORUM are enough.
    """
    contract = SettlementContract.deploy(
        chain,
        committee,
        guardians=chain.accounts[1:3],
        veto_quorum=1,
        sampling_delay_s=DELAY_S,
        recovery=chain.accounts[5],
        recovery_delay_s=DELAY_S,
    )
    following = replace(committee, epoch=committee.epoch + 1, members=committee.members[:1])
    contract.open(following, chain.accounts[0])
    contract.register(following, chain.accounts[0])
    contract.announce_recovery(following.hash, sender=chain.accounts[5])
    start_s = chain.timestamp_s
    ready, fresh, vetoed = (make_batch(committee, timestamp_s=start_s - age_s) for age_s in (1, 2, 3))
    certificate = certify(committee, ready.header, QUORUM)
    contract.settle(certificate, ready.payloads, 0)
    chain.set_time(chain.timestamp_s + DELAY_S)
    contract.veto(vetoed.header.hash, EVIDENCE, guardian=chain.accounts[1])
    contract.propose_guardian(chain.accounts[4], guardian=chain.accounts[2])

    def call(name: str, types: Sequence[str], returns: Sequence[str], *values: Any, sender: int = 0) -> Call:
        function = Function(name, tuple(types), tuple(returns))
        return Call(contract.address, function, values, chain.accounts[sender])

    key = ready.payloads.entries[0].key
    header_hash = ready.header.hash
    return [
        *_checks(contract, committee, certificate),
        *_settles(contract, committee, {"OK": ready, "TOO_EARLY": fresh, "VETOED": vetoed}),
        *_registrations(chain, committee),
        *(call(name, (), ("uint256",)) for name in _GETTERS),
        call("committees", ("uint256",), ("bytes32", *("uint256",) * 6), 1),
        call("committee_in_office", (), ("bytes32", "uint64")),
        call("valid_until", ("bytes32",), ("uint64",), committee.hash),
        call("number_of", ("bytes32",), ("uint256",), following.hash),
        call("open_of", ("address",), ("uint256",), chain.accounts[0]),
        call("open", ("uint64", "uint16", "uint32", "uint32", "uint32"), (), 5, 4, 2, 3, 86_400),
        *_activations(contract, committee, following),
        call("announce_recovery", ("bytes32",), (), following.hash, sender=5),
        call("recover", (), ()),
        call("presented", ("bytes32",), ("uint256",), header_hash),
        call("settled", ("bytes32", "bytes32"), ("bytes32", "uint256"), *key),
        call("retained_until", ("bytes32", "bytes32", "bytes32"), ("uint256",), *key, header_hash),
        call("seat_of", ("address",), ("uint256",), chain.accounts[1]),
        call("proposed", ("address",), ("address",), chain.accounts[2]),
        call("vetoes", ("bytes32",), ("uint256", "uint256"), vetoed.header.hash),
        call("vetoed", ("bytes32",), ("bool",), vetoed.header.hash),
        call("veto", ("bytes32", "bytes32"), (), header_hash, EVIDENCE, sender=1),
        call("lift_veto", ("bytes32",), (), vetoed.header.hash, sender=1),
        call("propose_guardian", ("address",), (), chain.accounts[5], sender=1),
        call("accept_guardian", ("address",), (), chain.accounts[2], sender=4),
    ]


def _checks(contract: SettlementContract, committee: Committee, quorum: Certificate) -> list[Call]:
    everyone = certify(committee, quorum.header, EVERYONE)
    header = quorum.header.encode()
    cases = [
        (everyone, g2_words(everyone.signature), SettlementStatus.OK),
        (quorum, g2_words(quorum.signature), SettlementStatus.OK),
        (quorum, g2_words(everyone.signature), SettlementStatus.BAD_SIGNATURE),
        (quorum, b"\1" * 256, SettlementStatus.BAD_SIGNATURE),
        (replace(quorum, signers=(0, 1)), g2_words(quorum.signature), SettlementStatus.BELOW_THRESHOLD),
    ]
    return [
        Call(
            contract.address,
            CHECK,
            (header, signer_bits(certificate.signers), words),
            contract.chain.accounts[0],
            status,
        )
        for certificate, words, status in cases
    ]


def _settles(contract: SettlementContract, committee: Committee, batches: dict[str, Batch]) -> list[Call]:
    return [
        Call(
            contract.address,
            SETTLE,
            (
                batch.header.encode(),
                signer_bits(QUORUM),
                g2_words(certify(committee, batch.header, QUORUM).signature),
                batch.payloads.entries[0].encode(),
                0,
                len(batch.payloads.entries),
                list(batch.payloads.prove(0).siblings),
            ),
            contract.chain.accounts[0],
            SettlementStatus[name],
        )
        for name, batch in batches.items()
    ]


def _activations(contract: SettlementContract, committee: Committee, following: Committee) -> list[Call]:
    """A handover to the next committee, and what is wrong with others."""
    handover = hand_over(contract, committee, following, signers=QUORUM)
    signers, words = signer_bits(QUORUM), g2_words(handover.signature)
    addresses_hash, valid_until_s = following.addresses_hash, handover.terms.valid_until_s
    return [
        Call(
            contract.address,
            ACTIVATE,
            (each, addresses_hash, until_s, bits, words),
            contract.chain.accounts[0],
            status,
        )
        for each, until_s, bits, status in (
            (following.hash, valid_until_s, signers, SettlementStatus.OK),
            (following.hash, valid_until_s + 1, signers, SettlementStatus.BAD_SIGNATURE),
            (following.hash, valid_until_s, 3, SettlementStatus.BELOW_THRESHOLD),
            (committee.hash, valid_until_s, signers, SettlementStatus.BAD_EPOCH),
        )
    ]


def _registrations(chain: Chain, committee: Committee) -> list[Call]:
    """The last member's registration, and the seal of a committee that is complete."""
    *first, last = [
        (g1_words(member.public_key), g2_words(member.proof_of_possession), member.stake, member.disperser)
        for member in committee.members
    ]
    growing, complete = (SettlementContract.create(chain, committee) for _ in range(2))
    for member in first:
        for contract in (growing, complete):
            chain.transact(contract.address, REGISTER, *member)
    chain.transact(complete.address, REGISTER, *last)
    owner = chain.accounts[0]
    return [
        Call(growing.address, REGISTER, last, owner),
        Call(complete.address, SEAL, (committee.hash,), owner),
    ]


def sweep(chain: Chain, call: Call, amounts: Sequence[int]) -> int:
    """Make the call with each of these amounts of gas, ascending; the least that is enough.

    With less it must revert, and from there on give the answer that it gives with plenty.
    """
    right = answer(chain, call, 15_000_000)
    assert right is not None, f"{call.function.name} reverts with plenty of gas"
    if call.status is not None:
        assert right == (call.status,)
    enough = 0
    for gas in amounts:
        found = answer(chain, call, gas)
        if found is None and not enough:
            continue
        assert found == right, f"{call.function.name} with {gas} gas answers {found}, not {right}"
        enough = enough or gas
    assert enough, f"{call.function.name} needs more than {amounts[-1]} gas"
    return enough


def answer(chain: Chain, call: Call, gas: int) -> tuple[Any, ...] | None:
    """What the call returns, None if it reverts."""
    try:
        value = chain.call(call.address, call.function, *call.values, sender=call.sender, gas=gas)
    except EvmError:
        return None
    return (value,)
