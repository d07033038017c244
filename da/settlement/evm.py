"""An Ethereum chain inside this process, for demonstrations and tests.

py-evm through eth-tester, at the Prague rules, so that the EIP-2537 and EIP-4844 precompiles are real. Three
of them are far slower in py-evm than on any node, so there are substitutes that give the same bytes for the
same gas (`fast_precompiles`): the trusted setup is kept between calls of 0x0A, and the pairing of 0x0F and
the map of 0x11 run in arkworks instead of pure Python. A test runs the originals too.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from eth_abi import decode, encode
from eth_utils import keccak, to_checksum_address
from py_arkworks_bls12381 import GT, G1Point, G2Point

from da.interpreter import recursion_limit_kept

# py-evm raises the limit for contracts that call 1,024 deep; this one calls only precompiles.
with recursion_limit_kept():
    from eth.abc import ComputationAPI
    from eth.exceptions import VMError
    from eth.precompiles import point_evaluation
    from eth.vm.forks.prague import computation as prague
    from eth_tester import EthereumTester, PyEVMBackend
    from eth_tester.exceptions import TransactionFailed

_PAIRING = bytes(19) + b"\x0f"
_MAP_FP2_TO_G2 = bytes(19) + b"\x11"
_PAIR_BYTES = 384
_FP2_BYTES = 128
_GAS_LIMIT = 16_000_000


class EvmError(RuntimeError):
    """A transaction or call reverted; the message is the contract's reason."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of a transaction: its return value (from a call before sending), gas used and hash."""

    value: Any
    gas_used: int
    transaction_hash: str


@dataclass(frozen=True, slots=True)
class Function:
    """A contract function: name, argument types and return types, in Solidity's ABI."""

    name: str
    arguments: tuple[str, ...]
    returns: tuple[str, ...] = ()

    def calldata(self, *values: Any) -> bytes:
        signature = f"{self.name}({','.join(self.arguments)})"
        return keccak(text=signature)[:4] + encode(self.arguments, values)


class Chain:
    """One in-process chain with funded accounts; every transaction is mined at once."""

    def __init__(self) -> None:
        parameters = PyEVMBackend.generate_genesis_params(overrides={"gas_limit": 60_000_000})
        self._tester = EthereumTester(backend=PyEVMBackend(genesis_parameters=parameters))
        self.accounts: tuple[str, ...] = tuple(self._tester.get_accounts())

    @property
    def chain_id(self) -> int:
        """The chain's EIP-155 id."""
        return int(self._tester.backend.chain.chain_id)

    @property
    def timestamp_s(self) -> int:
        """Timestamp of the latest block, seconds since 1970."""
        return int(self._tester.get_block_by_number("latest")["timestamp"])

    def set_time(self, timestamp_s: int) -> None:
        """Mine a block at this time, so that later calls and transactions see this time, or a later one."""
        # The tester's own time_travel compares with a pending block at the wall clock's time, and so does
        # nothing for that time; the backend's mines a block one second before the time it is given.
        if timestamp_s > self.timestamp_s:
            self._tester.backend.time_travel(timestamp_s + 1)

    @contextmanager
    def rolled_back(self) -> Iterator[None]:
        """Undo all changes to the chain at the end of this context."""
        snapshot = self._tester.take_snapshot()
        try:
            yield
        finally:
            self._tester.revert_to_snapshot(snapshot)

    def deploy(
        self, bytecode: bytes, types: tuple[str, ...], values: tuple[Any, ...], sender: str
    ) -> tuple[str, int]:
        """Deploy a contract; returns its address and the gas used. Raises EvmError with the reason."""
        request = {"from": sender, "data": "0x" + (bytecode + encode(types, values)).hex()}
        self._ask(request)
        receipt = self._send(request)
        return str(receipt["contract_address"]), int(receipt["gas_used"])

    def code(self, address: str) -> bytes:
        """The code that the chain stores for an account."""
        return bytes.fromhex(self._tester.get_code(address)[2:])

    def call(
        self,
        address: str,
        function: Function,
        *values: Any,
        sender: str | None = None,
        gas: int = _GAS_LIMIT,
    ) -> Any:
        """Result of a call that changes nothing: None, the value, or a tuple when it returns several.

        Raises:
            EvmError: it reverted, or the gas was too little.
        """
        request = {
            "from": sender or self.accounts[0],
            "to": address,
            "data": "0x" + function.calldata(*values).hex(),
            "gas": gas,
        }
        decoded = decode(function.returns, bytes.fromhex(self._ask(request)[2:]))
        return decoded[0] if len(decoded) == 1 else decoded or None

    def transact(self, address: str, function: Function, *values: Any, sender: str | None = None) -> Receipt:
        """Send a transaction and wait for its block.

        A call just before it gets the return value, or the reason when the contract reverts.

        Raises:
            EvmError: it reverted.
        """
        sender = sender or self.accounts[0]
        value = self.call(address, function, *values, sender=sender)
        data = "0x" + function.calldata(*values).hex()
        receipt = self._send({"from": sender, "to": address, "data": data})
        return Receipt(value, int(receipt["gas_used"]), str(receipt["transaction_hash"]))

    def _ask(self, request: dict[str, Any]) -> str:
        """What a transaction would return, in hex. Raises EvmError with the reason if it would revert."""
        try:
            return str(self._tester.call({"gas": _GAS_LIMIT, **request}))
        except TransactionFailed as error:
            raise EvmError(str(error)) from error

    def _send(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            sent = self._tester.send_transaction({"gas": _GAS_LIMIT, **request})
        except TransactionFailed as error:
            raise EvmError(str(error)) from error
        receipt: dict[str, Any] = self._tester.get_transaction_receipt(sent)
        if not receipt["status"]:
            raise EvmError(f"transaction {sent} failed")
        return receipt


def checksum(address: bytes) -> str:
    """20 bytes as an EIP-55 address."""
    return str(to_checksum_address(address))


def _arkworks_pairing(computation: ComputationAPI) -> ComputationAPI:
    """EIP-2537 PAIRING_CHECK with the same price, answers and failures as py-evm's."""
    data = computation.msg.data_as_bytes
    pairs, rest = divmod(len(data), _PAIR_BYTES)
    computation.consume_gas(32_600 * pairs + 37_700, reason="BLS12_PAIRING Check Precompile")
    if rest or not pairs:
        raise VMError("input is not a positive number of pairs")
    left, right = [], []
    try:
        for offset in range(0, len(data), _PAIR_BYTES):
            left.append(_point(G1Point, data[offset : offset + 128]))
            right.append(_point(G2Point, data[offset + 128 : offset + 384]))
    except (ValueError, TypeError) as error:
        raise VMError(f"invalid point: {error}") from error
    computation.output = int(GT.pairing_check(left, right)).to_bytes(32, "big")
    return computation


def _arkworks_map(computation: ComputationAPI) -> ComputationAPI:
    """EIP-2537 MAP_FP2_TO_G2 with the same price, answers and failures as py-evm's."""
    data = computation.msg.data_as_bytes
    if len(data) != _FP2_BYTES:
        raise VMError("input is not an element of Fp2")
    computation.consume_gas(23_800, reason="BLS12_MAP_FP2_TO_G2 Precompile")
    if any(data[:16]) or any(data[64:80]):
        raise VMError("padding is not zero")
    try:
        point = G2Point.map_from_fp2_be(data[16:64] + data[80:])
    except ValueError as error:
        raise VMError(f"invalid element: {error}") from error
    coordinates = bytes(point.to_xy_bytes_be())
    computation.output = b"".join(bytes(16) + coordinates[i : i + 48] for i in range(0, len(coordinates), 48))
    return computation


def _point(group: Any, words: bytes) -> Any:
    chunks = [words[i : i + 64] for i in range(0, len(words), 64)]
    if any(chunk[:16] != bytes(16) for chunk in chunks):
        raise ValueError("padding is not zero")
    if not any(words):
        return group.identity()
    return group.from_xy_bytes_be(b"".join(chunk[16:] for chunk in chunks))


@contextmanager
def fast_precompiles() -> Iterator[None]:
    """Here 0x0A caches its trusted setup, and 0x0F and 0x11 run in arkworks: same results, same gas."""
    load, originals = point_evaluation.load_trusted_setup, dict(prague.PRAGUE_PRECOMPILES)
    point_evaluation.load_trusted_setup = functools.lru_cache(maxsize=1)(load)
    prague.PRAGUE_PRECOMPILES[_PAIRING] = _arkworks_pairing
    prague.PRAGUE_PRECOMPILES[_MAP_FP2_TO_G2] = _arkworks_map
    try:
        yield
    finally:
        point_evaluation.load_trusted_setup = load
        prague.PRAGUE_PRECOMPILES.update(originals)
