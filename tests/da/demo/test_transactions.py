"""The demonstration's batch: real signed transactions."""

from __future__ import annotations

import zlib

import rlp

from da.demo.transactions import CHAIN_ID, signed_batch
from da.interpreter import recursion_limit_kept

with recursion_limit_kept():
    from eth_account import Account


def test_the_same_seed_gives_the_same_batch() -> None:
    assert signed_batch(5, seed=1) == signed_batch(5, seed=1)
    assert signed_batch(5, seed=1) != signed_batch(5, seed=2)


def test_every_transaction_is_signed_by_one_of_twenty_accounts() -> None:
    stream = zlib.decompress(signed_batch(30))
    senders = set()
    count = 0
    while stream:
        assert stream[:1] == b"\x02"  # EIP-1559
        fields, used = _first_item(stream[1:])
        assert int.from_bytes(fields[0], "big") == CHAIN_ID
        senders.add(Account.recover_transaction(stream[: 1 + used]))
        stream = stream[1 + used :]
        count += 1
    assert count == 30
    assert 1 < len(senders) <= 20


def _first_item(data: bytes) -> tuple[list[bytes], int]:
    item = rlp.decode(data, strict=False)
    return item, len(rlp.encode(item))
