"""Anvil, a chain that is not ours, from npm: installed into the user's cache once, one process a chain.

`AnvilChain` has the methods of da.settlement.evm.Chain, so that SettlementContract works on it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest
from eth_abi import decode, encode

from da.settlement.evm import EvmError, Function, Receipt

VERSION = "1.7.1"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cellar-tests"
_INSTALL_TIMEOUT_S = 240.0
_START_TIMEOUT_S = 60.0
_MINE_TIMEOUT_S = 60.0
_GAS_LIMIT = 16_000_000
# What anvil answers to a call that runs and fails, or that has too little gas to run.
_FAILURES = (
    "revert",
    "out of gas",
    "OutOfGas",
    "OOG",
    "gas too low",
    "intrinsic gas",
    "gas floor",
    "gas limit",
)


def anvil_program() -> Path:
    """The anvil binary; skips the test where Node or npm is not installed, or npm cannot install it."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("anvil: Node or npm is not installed")
    home = _CACHE / f"anvil-{VERSION}"
    if not home.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
            prefix = Path(scratch) / "anvil"
            command = ["npm", "install", "--prefix", prefix, "--no-audit", "--no-fund", "--ignore-scripts"]
            done = subprocess.run(
                [*command, f"@foundry-rs/anvil@{VERSION}"],
                capture_output=True,
                text=True,
                timeout=_INSTALL_TIMEOUT_S,
                check=False,
            )
            if done.returncode:
                pytest.skip(f"anvil: npm cannot install it: {done.stderr.strip()[-200:]}")
            # Another test process may have been faster; a directory with files is never replaced.
            with contextlib.suppress(OSError):
                prefix.rename(home)
    (program,) = home.glob("node_modules/@foundry-rs/anvil-*/bin/anvil")
    return program


class AnvilChain:
    """One anvil process on a loopback port; every transaction is mined at once."""

    def __init__(self, program: Path, *, hardfork: str, timestamp_s: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60.0, trust_env=False)
        self._process = subprocess.Popen(
            [
                program, "--silent", "--host", "127.0.0.1", "--port", str(port), "--hardfork", hardfork,
                "--timestamp", str(timestamp_s), "--gas-limit", "60000000",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.accounts: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        until_s = time.monotonic() + _START_TIMEOUT_S
        while not self.accounts:
            try:
                self.accounts = tuple(self.rpc("eth_accounts"))
            except httpx.ConnectError:
                assert self._process.poll() is None, "anvil exited"
                assert time.monotonic() < until_s, "anvil does not answer"
                time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()
        self._process.terminate()
        self._process.wait(30)

    def rpc(self, method: str, *parameters: Any) -> Any:
        """The result of a JSON-RPC call. Raises EvmError for a call or transaction that fails."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        answer = self._http.post("/", json=body).raise_for_status().json()
        if "error" in answer:
            message = str(answer["error"]["message"])
            assert any(words in message for words in _FAILURES), answer["error"]
            raise EvmError(message)
        return answer["result"]

    @property
    def chain_id(self) -> int:
        return int(self.rpc("eth_chainId"), 16)

    @property
    def timestamp_s(self) -> int:
        return int(self.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def set_time(self, timestamp_s: int) -> None:
        if timestamp_s > self.timestamp_s:
            self.rpc("evm_setNextBlockTimestamp", timestamp_s)
            self.rpc("evm_mine")

    def code(self, address: str) -> bytes:
        return bytes.fromhex(self.rpc("eth_getCode", address, "latest")[2:])

    def deploy(
        self, bytecode: bytes, types: tuple[str, ...], values: tuple[Any, ...], sender: str
    ) -> tuple[str, int]:
        receipt = self.send({"from": sender, "data": "0x" + (bytecode + encode(types, values)).hex()})
        return str(receipt["contractAddress"]), int(receipt["gasUsed"], 16)

    def call(
        self,
        address: str,
        function: Function,
        *values: Any,
        sender: str | None = None,
        gas: int = _GAS_LIMIT,
    ) -> Any:
        request = self.request(address, function, *values, sender=sender)
        answer = self.rpc("eth_call", {**request, "gas": hex(gas)}, "latest")
        decoded = decode(function.returns, bytes.fromhex(answer[2:]))
        return decoded[0] if len(decoded) == 1 else decoded or None

    def transact(self, address: str, function: Function, *values: Any, sender: str | None = None) -> Receipt:
        value = self.call(address, function, *values, sender=sender)
        receipt = self.send(self.request(address, function, *values, sender=sender))
        return Receipt(value, int(receipt["gasUsed"], 16), str(receipt["transactionHash"]))

    def request(
        self, address: str, function: Function, *values: Any, sender: str | None = None
    ) -> dict[str, str]:
        data = "0x" + function.calldata(*values).hex()
        return {"from": sender or self.accounts[0], "to": address, "data": data}

    def send(self, request: dict[str, str]) -> dict[str, Any]:
        """The receipt of a transaction that was mined. Raises EvmError when it reverted."""
        sent = self.rpc("eth_sendTransaction", {"gas": hex(_GAS_LIMIT), **request})
        until_s = time.monotonic() + _MINE_TIMEOUT_S
        receipt: dict[str, Any] | None = None
        while receipt is None:
            assert time.monotonic() < until_s, "anvil does not mine"
            receipt = self.rpc("eth_getTransactionReceipt", sent)
        if receipt["status"] != "0x1":
            raise EvmError(f"transaction {sent} failed")
        return receipt
