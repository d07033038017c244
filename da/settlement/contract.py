"""The settlement contract's Python interface: deploy for a committee, check, settle, veto.

Flow:
- `deploy` compiles the Vyper source, creates the contract, registers every member with its proof of
  possession and seals it; the contract recomputes the committee hash and refuses to seal for another
- `check` and `settle` pass certificates as a node serves them; the result is a `SettlementStatus`, never an
  exception, whatever the certificate contains
- `veto` is for the guardian: after it nothing of that batch settles

Does not: decide whether data is available (see light_client), hold keys of real accounts, or connect to a
real L1.
"""

from __future__ import annotations

import decimal
from dataclasses import dataclass
from enum import IntEnum
from importlib.resources import files

from da.settlement.encoding import g1_words, g2_words, signer_bits
from da.settlement.evm import Chain, Function

# Vyper changes the decimal context of the thread that imports it; here it changes a separate one.
with decimal.localcontext():
    from vyper import compile_code

    _VYPER_DECIMALS = decimal.getcontext()

from da.protocol.certificate import Certificate
from da.protocol.committee import Committee
from da.protocol.payload_list import PayloadList

SOURCE = "CellarSettlement.vy"
_ZERO_ADDRESS = "0x" + "00" * 20
_CONSTRUCTOR = ("uint64", "uint64", "uint16", "uint32", "uint32", "uint32", "uint64", "address")
_REGISTER = Function("register", ("bytes", "bytes", "uint64", "bool"))
_SEAL = Function("seal", ("bytes32",))
_CHECK = Function("check_certificate", ("bytes", "uint256", "bytes"), ("uint8",))
_SETTLE = Function(
    "settle", ("bytes", "uint256", "bytes", "bytes", "uint256", "uint256", "bytes32[]"), ("uint8",)
)
_VETO = Function("veto", ("bytes32", "bytes32"))
_SETTLED = Function("settled", ("bytes32", "bytes32"), ("bytes32",))


class SettlementStatus(IntEnum):
    """The contract's status codes; the numbers are part of its ABI."""

    OK = 0
    NOT_SEALED = 1
    BAD_HEADER = 2
    FOREIGN_CHAIN = 3
    FOREIGN_COMMITTEE = 4
    BAD_SIGNERS = 5
    TOO_MANY_NON_SIGNERS = 6
    BELOW_THRESHOLD = 7
    BAD_SIGNATURE = 8
    BAD_PAYLOAD_PROOF = 9
    TOO_EARLY = 10
    EXPIRED = 11
    VETOED = 12


@dataclass(frozen=True, slots=True)
class Settlement:
    """The outcome of one `settle` transaction."""

    status: SettlementStatus
    gas_used: int
    transaction_hash: str


@dataclass(frozen=True, slots=True)
class DeploymentCost:
    """Gas of the one-time transactions: creation, all registrations together, seal."""

    create: int
    register: int
    seal: int


def source() -> str:
    """The contract's Vyper source."""
    return files(__package__).joinpath("contracts", SOURCE).read_text(encoding="utf-8")


def bytecode() -> bytes:
    """Creation code, compiled with the pinned compiler for the Prague rules."""
    with decimal.localcontext(_VYPER_DECIMALS):
        compiled = compile_code(source(), output_formats=["bytecode"])
    return bytes.fromhex(compiled["bytecode"].removeprefix("0x"))


class SettlementContract:
    """A deployed contract and its accounts."""

    def __init__(self, chain: Chain, address: str, guardian: str | None, cost: DeploymentCost) -> None:
        self.chain = chain
        self.address = address
        self.guardian = guardian
        self.cost = cost

    @classmethod
    def deploy(
        cls, chain: Chain, committee: Committee, *, guardian: str | None = None, sampling_delay_s: int = 0
    ) -> SettlementContract:
        """Deploy, register the whole committee, seal.

        Args:
            guardian: the account that may veto; None for no guardian.
            sampling_delay_s: seconds after a batch was first handed to `settle` (which answers TOO_EARLY)
                before anything of it settles.

        Raises:
            EvmError: the contract refused a member or the committee hash.
        """
        owner = chain.accounts[0]
        values = (
            committee.chain_id,
            committee.epoch,
            committee.replication,
            committee.threshold_numerator,
            committee.threshold_denominator,
            committee.retention_s,
            sampling_delay_s,
            guardian or _ZERO_ADDRESS,
        )
        address, create = chain.deploy(bytecode(), _CONSTRUCTOR, values, owner)
        register = 0
        for member in committee.members:
            key, possession = g1_words(member.public_key), g2_words(member.proof_of_possession)
            receipt = chain.transact(
                address, _REGISTER, key, possession, member.stake, member.disperser, sender=owner
            )
            register += receipt.gas_used
        seal = chain.transact(address, _SEAL, committee.hash, sender=owner).gas_used
        return cls(chain, address, guardian, DeploymentCost(create, register, seal))

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

    def veto(self, header_hash: bytes, evidence: bytes) -> int:
        """Veto a batch as the guardian; `evidence` is the sha256 of the light client's report.

        Returns the gas used.

        Raises:
            EvmError: there is no guardian, or no evidence.
        """
        return self.chain.transact(
            self.address, _VETO, header_hash, evidence, sender=self.guardian or self.chain.accounts[0]
        ).gas_used

    def settled(self, namespace: bytes, payload_id: bytes) -> bytes | None:
        """Hash of the header under which a namespace's payload was settled, or None."""
        header_hash = bytes(self.chain.call(self.address, _SETTLED, namespace, payload_id))
        return header_hash if any(header_hash) else None


def _arguments(certificate: Certificate) -> tuple[bytes, int, bytes]:
    header = certificate.header.encode()
    return header, signer_bits(certificate.signers), g2_words(certificate.signature)
