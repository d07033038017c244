"""A realistic rollup batch: signed EIP-1559 transactions, compressed as a channel.

Optimistic rollups post RLP-encoded signed transactions behind zlib. This makes such a batch out of a seed:
token transfers, swaps with a few hundred bytes of calldata, and contract deployments, each signed with a real
key, so that the bytes compress and measure like the real thing.
"""

from __future__ import annotations

import random
import zlib

from da.interpreter import recursion_limit_kept

with recursion_limit_kept():
    from eth_account import Account

CHAIN_ID = 8453
_GWEI = 10**9


def signed_batch(count: int = 400, seed: int = 1) -> bytes:
    """zlib-compressed concatenation of `count` signed transactions; the same seed gives the same bytes."""
    rng = random.Random(seed)
    accounts = [Account.from_key(rng.randbytes(32)) for _ in range(20)]
    nonces = [0] * len(accounts)
    contracts = [rng.randbytes(20) for _ in range(40)]
    signed = []
    for _ in range(count):
        who = rng.randrange(len(accounts))
        transaction = {
            "type": 2,
            "chainId": CHAIN_ID,
            "nonce": nonces[who],
            "maxFeePerGas": rng.randrange(1, 50) * _GWEI // 10,
            "maxPriorityFeePerGas": _GWEI // 100,
            "value": rng.choice((0, 0, rng.randrange(10**18))),
            **_call(rng, contracts),
        }
        nonces[who] += 1
        signed.append(bytes(accounts[who].sign_transaction(transaction).raw_transaction))
    return zlib.compress(b"".join(signed), 9)


def _call(rng: random.Random, contracts: list[bytes]) -> dict[str, object]:
    kind = rng.random()
    if kind < 0.6:  # an ERC-20 transfer
        data = bytes.fromhex("a9059cbb") + bytes(12) + rng.randbytes(20) + rng.randrange(10**20).to_bytes(32)
        return {"to": rng.choice(contracts), "data": data, "gas": 65_000}
    if kind < 0.9:  # a swap along a path
        words = (rng.choice(contracts).rjust(32, b"\0") for _ in range(rng.randrange(4, 14)))
        return {"to": rng.choice(contracts), "data": rng.randbytes(4) + b"".join(words), "gas": 250_000}
    return {"data": b"\x60\x80" + rng.randbytes(rng.randrange(2_000, 16_000)), "gas": 3_000_000}
