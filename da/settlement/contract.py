"""The settlement contract's Python interface: deploy for a committee, check, settle, veto, change guardians.

Flow:
- `deploy` compiles the Vyper source, creates the contract, registers every member with its proof of
  possession and seals it; the contract recomputes the committee hash and refuses to seal for another
- `check` and `settle` pass certificates as a node serves them; the result is a `SettlementStatus`, never an
  exception, whatever the certificate contains
- `veto` and `lift_veto` are for guardians: nothing of a batch with enough votes settles
- `settled` is what a rollup reads: under which batch a payload was recorded, and until when its data is kept

Does not: decide whether data is available (see light_client), hold keys of real accounts, or connect to a
real L1.
"""

from __future__ import annotations

import decimal
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from importlib.resources import files

from da.settlement.encoding import g1_words, g2_words, signer_bits
from da.settlement.evm import Chain, Function

# Vyper changes the decimal context of the thread that imports it; here it changes a separate one.
with decimal.localcontext():
    from vyper import compile_code

    _VYPER_DECIMALS = decimal.getcontext()

from da.protocol.certificate import Certificate
from da.protocol.committee import Committee
from da.protocol.committee_chain import Link
from da.protocol.handover import Handover
from da.protocol.payload_list import PayloadList

SOURCE = "CellarSettlement.vy"
_NO_ACCOUNT = "0x" + "00" * 20
_PARAMETERS = ("uint64", "uint16", "uint32", "uint32", "uint32")
_CONSTRUCTOR = ("uint64", *_PARAMETERS, "uint64", "address[]", "uint256", "address", "uint64")
_REGISTER = Function("register", ("bytes", "bytes", "uint64", "bool"))
_SEAL = Function("seal", ("bytes32",))
_CHECK = Function("check_certificate", ("bytes", "uint256", "bytes"), ("uint8",))
_SETTLE = Function(
    "settle", ("bytes", "uint256", "bytes", "bytes", "uint256", "uint256", "bytes32[]"), ("uint8",)
)
_VETO = Function("veto", ("bytes32", "bytes32"))
_LIFT_VETO = Function("lift_veto", ("bytes32",))
_VETOED = Function("vetoed", ("bytes32",), ("bool",))
_PROPOSE_GUARDIAN = Function("propose_guardian", ("address",))
_OPEN = Function("open", _PARAMETERS)
_ACTIVATE = Function("activate", ("bytes32", "bytes32", "uint64", "uint256", "bytes"), ("uint8",))
_ANNOUNCE_RECOVERY = Function("announce_recovery", ("bytes32",))
_RECOVER = Function("recover", ())
_IN_OFFICE = Function("committee_in_office", (), ("bytes32", "uint64"))
_VALID_UNTIL = Function("valid_until", ("bytes32",), ("uint64",))
_ACCEPT_GUARDIAN = Function("accept_guardian", ("address",))
_PRESENTED = Function("presented", ("bytes32",), ("uint256",))
_SETTLED = Function("settled", ("bytes32", "bytes32"), ("bytes32", "uint256"))
_RETAINED_UNTIL = Function("retained_until", ("bytes32", "bytes32", "bytes32"), ("uint256",))


class SettlementStatus(IntEnum):
    """The contract's status codes; the numbers are part of its ABI."""

    OK = 0
    NOT_SEALED = 1
    BAD_HEADER = 2
    FOREIGN_CHAIN = 3
    FOREIGN_COMMITTEE = 4
    BAD_SIGNERS = 5
    BELOW_THRESHOLD = 7
    BAD_SIGNATURE = 8
    BAD_PAYLOAD_PROOF = 9
    TOO_EARLY = 10
    EXPIRED = 11
    VETOED = 12
    BAD_DISPERSER = 13
    COMMITTEE_ENDED = 14
    BAD_EPOCH = 15


@dataclass(frozen=True, slots=True)
class Settlement:
    """The outcome of one `settle` transaction."""

    status: SettlementStatus
    gas_used: int
    transaction_hash: str


@dataclass(frozen=True, slots=True)
class Record:
    """A recorded payload: under which header, and the Unix time until which its data is kept."""

    header_hash: bytes
    retained_until_s: int


@dataclass(frozen=True, slots=True)
class DeploymentCost:
    """Gas of the one-time transactions: creation, all registrations together, seal."""

    create: int
    register: int
    seal: int


def source() -> str:
    """The contract's Vyper source."""
    return files(__package__).joinpath("contracts", SOURCE).read_text(encoding="utf-8")


@cache
def bytecode() -> bytes:
    """Creation code, compiled with the pinned compiler for the Prague rules."""
    with decimal.localcontext(_VYPER_DECIMALS):
        compiled = compile_code(source(), output_formats=["bytecode"])
    return bytes.fromhex(compiled["bytecode"].removeprefix("0x"))


class SettlementContract:
    """A deployed contract and its accounts."""

    def __init__(self, chain: Chain, address: str, cost: DeploymentCost) -> None:
        self.chain = chain
        self.address = address
        self.cost = cost

    @classmethod
    def deploy(
        cls,
        chain: Chain,
        committee: Committee,
        *,
        guardians: Sequence[str] = (),
        veto_quorum: int | None = None,
        sampling_delay_s: int = 0,
        recovery: str | None = None,
        recovery_delay_s: int = 0,
    ) -> SettlementContract:
        """Deploy, register the whole committee, seal.

        Args:
            guardians: the accounts that may vote for a veto, at most 16.
            veto_quorum: how many of them make a veto; 1 unless given.
            sampling_delay_s: seconds after a batch was first handed to `settle` (which answers TOO_EARLY)
                before anything of it settles; must be positive with guardians, and below the retention.
            recovery: the account that may name the next committee when the one in office lost its quorum.
            recovery_delay_s: seconds between naming it and putting it in office.

        Raises:
            EvmError: the contract refused a value, a member or the committee hash.
        """
        contract = cls.create(
            chain,
            committee,
            guardians=guardians,
            veto_quorum=veto_quorum,
            sampling_delay_s=sampling_delay_s,
            recovery=recovery,
            recovery_delay_s=recovery_delay_s,
        )
        register, seal = contract.register(committee, chain.accounts[0])
        return cls(chain, contract.address, DeploymentCost(contract.cost.create, register, seal))

    @classmethod
    def create(
        cls,
        chain: Chain,
        committee: Committee,
        *,
        guardians: Sequence[str] = (),
        veto_quorum: int | None = None,
        sampling_delay_s: int = 0,
        recovery: str | None = None,
        recovery_delay_s: int = 0,
    ) -> SettlementContract:
        """The first step of `deploy`: a contract for the committee's parameters, without its members."""
        values = (
            committee.chain_id,
            *_parameters(committee),
            sampling_delay_s,
            list(guardians),
            min(1, len(guardians)) if veto_quorum is None else veto_quorum,
            recovery or _NO_ACCOUNT,
            recovery_delay_s,
        )
        address, gas = chain.deploy(bytecode(), _CONSTRUCTOR, values, chain.accounts[0])
        return cls(chain, address, DeploymentCost(gas, 0, 0))

    def register(self, committee: Committee, registrar: str) -> tuple[int, int]:
        """Register all members of the committee that an account opened, and seal it.

        Returns the gas of all registrations together, and of the seal.

        Raises:
            EvmError: the contract refused a member or the committee hash.
        """
        gas = 0
        for member in committee.members:
            key, possession = g1_words(member.public_key), g2_words(member.proof_of_possession)
            receipt = self.chain.transact(
                self.address, _REGISTER, key, possession, member.stake, member.disperser, sender=registrar
            )
            gas += receipt.gas_used
        return gas, self.chain.transact(self.address, _SEAL, committee.hash, sender=registrar).gas_used

    def open(self, committee: Committee, registrar: str) -> int:
        """Begin to register another committee. Returns the gas used; raises EvmError."""
        return self.chain.transact(self.address, _OPEN, *_parameters(committee), sender=registrar).gas_used

    def activate(self, handover: Handover) -> Settlement:
        """Put the sealed committee of a handover in office; only status OK changes anything."""
        receipt = self.chain.transact(self.address, _ACTIVATE, *_activation(handover))
        return Settlement(SettlementStatus(receipt.value), receipt.gas_used, receipt.transaction_hash)

    def announce_recovery(self, committee_hash: bytes, *, sender: str) -> int:
        """As the recovery account, name the sealed committee that follows; zeros take that back.

        Returns the gas used; raises EvmError.
        """
        return self.chain.transact(self.address, _ANNOUNCE_RECOVERY, committee_hash, sender=sender).gas_used

    def recover(self) -> int:
        """Put the named committee in office after the delay. Returns the gas used; raises EvmError."""
        return self.chain.transact(self.address, _RECOVER).gas_used

    def committee_in_office(self) -> tuple[bytes, int]:
        """Hash and epoch of the committee in office."""
        committee_hash, epoch = self.chain.call(self.address, _IN_OFFICE)
        return bytes(committee_hash), int(epoch)

    def valid_until_s(self, committee_hash: bytes) -> int:
        """Until when certificates of a committee are valid; 0 for one that never was in office."""
        return int(self.chain.call(self.address, _VALID_UNTIL, committee_hash))

    def check(self, certificate: Certificate) -> SettlementStatus:
        """The contract's status for a certificate; changes nothing."""
        return SettlementStatus(self.chain.call(self.address, _CHECK, *_arguments(certificate)))

    def settle(self, certificate: Certificate, payloads: PayloadList, index: int) -> Settlement:
        """Settle the payload at `index` of the batch's list; only status OK records it.

        With a sampling delay the first call answers TOO_EARLY and starts it; call again when it is over.
        """
        entry = payloads.entries[index]
        proof = payloads.prove(index)
        receipt = self.chain.transact(
            self.address,
            _SETTLE,
            *_arguments(certificate),
            entry.encode(),
            index,
            len(payloads.entries),
            list(proof.siblings),
        )
        return Settlement(SettlementStatus(receipt.value), receipt.gas_used, receipt.transaction_hash)

    def presented(self, header_hash: bytes) -> int | None:
        """Unix time of the first `settle` of a batch; None before it, and without a sampling delay."""
        return int(self.chain.call(self.address, _PRESENTED, header_hash)) or None

    def veto(self, header_hash: bytes, evidence: bytes, *, guardian: str) -> int:
        """Vote for a veto as a guardian; `evidence` is the sha256 of the light client's report.

        Returns the gas used.

        Raises:
            EvmError: the account is no guardian or has voted, or there is no evidence.
        """
        receipt = self.chain.transact(self.address, _VETO, header_hash, evidence, sender=guardian)
        return receipt.gas_used

    def lift_veto(self, header_hash: bytes, *, guardian: str) -> int:
        """Take one's own vote back, within one sampling delay after the votes first made a veto.

        Returns the gas used.

        Raises:
            EvmError: the account is no guardian or has not voted, or it is too late.
        """
        return self.chain.transact(self.address, _LIFT_VETO, header_hash, sender=guardian).gas_used

    def vetoed(self, header_hash: bytes) -> bool:
        """Whether enough guardians voted against this batch."""
        return bool(self.chain.call(self.address, _VETOED, header_hash))

    def propose_guardian(self, successor: str, *, guardian: str) -> int:
        """As a guardian, name who may take over its seat. Returns the gas used; raises EvmError."""
        return self.chain.transact(self.address, _PROPOSE_GUARDIAN, successor, sender=guardian).gas_used

    def accept_guardian(self, predecessor: str, *, successor: str) -> int:
        """As the proposed successor, take over the seat. Returns the gas used; raises EvmError."""
        return self.chain.transact(self.address, _ACCEPT_GUARDIAN, predecessor, sender=successor).gas_used

    def settled(self, namespace: bytes, payload_id: bytes) -> Record | None:
        """The record of a namespace's payload whose data is kept longest, or None."""
        header_hash, until_s = self.chain.call(self.address, _SETTLED, namespace, payload_id)
        return Record(bytes(header_hash), int(until_s)) if until_s else None

    def retained_until_s(self, namespace: bytes, payload_id: bytes, header_hash: bytes) -> int | None:
        """Until when the data is kept under this header, or None if the payload was not settled under it."""
        return int(self.chain.call(self.address, _RETAINED_UNTIL, namespace, payload_id, header_hash)) or None


def handover_calls(link: Link) -> list[tuple[str, bytes]]:
    """Name and calldata of the calls that put a link's committee in office, in order, for one account."""
    committee = link.committee
    calls = [(_OPEN.name, _OPEN.calldata(*_parameters(committee)))]
    for member in committee.members:
        key, possession = g1_words(member.public_key), g2_words(member.proof_of_possession)
        calls.append((_REGISTER.name, _REGISTER.calldata(key, possession, member.stake, member.disperser)))
    calls.append((_SEAL.name, _SEAL.calldata(committee.hash)))
    calls.append((_ACTIVATE.name, _ACTIVATE.calldata(*_activation(link.handover))))
    return calls


def _activation(handover: Handover) -> tuple[bytes, bytes, int, int, bytes]:
    terms = handover.terms
    return (
        terms.next_committee_hash,
        terms.next_addresses_hash,
        terms.valid_until_s,
        signer_bits(handover.signers),
        g2_words(handover.signature),
    )


def _parameters(committee: Committee) -> tuple[int, int, int, int, int]:
    return (
        committee.epoch,
        committee.replication,
        committee.threshold_numerator,
        committee.threshold_denominator,
        committee.retention_s,
    )


def _arguments(certificate: Certificate) -> tuple[bytes, int, bytes]:
    header = certificate.header.encode()
    return header, signer_bits(certificate.signers), g2_words(certificate.signature)
