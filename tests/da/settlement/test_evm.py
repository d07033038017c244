"""The in-process chain: its real precompiles, and substitutes that must agree with them."""

from __future__ import annotations

import time

import pytest

from da import bls
from da.interpreter import recursion_limit_kept
from da.settlement.contract import SettlementContract, SettlementStatus
from da.settlement.encoding import g1_words, g2_words
from da.settlement.evm import Chain, fast_precompiles
from tests.da.settlement.support import START_S, certify, make_batch, make_committee

with recursion_limit_kept():
    from eth.vm.forks.prague import computation as prague
    from eth_tester.exceptions import TransactionFailed

PAIRING = "0x" + "00" * 19 + "0f"
MAP_FP2_TO_G2 = "0x" + "00" * 19 + "11"
P = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB
SECRET = (5).to_bytes(32, "big")
NEGATED_ONE = bytes.fromhex(
    "0000000000000000000000000000000017f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac58"
    "6c55e83ff97a1aeffb3af00adb22c6bb00000000000000000000000000000000114d1d6855d545a8aa7d76c8cf2e21f2"
    "67816aef1db507c96655b9d5caac42364e6f38ba0ecb751bad54dcd6b939c2ca"
)


def precompile(address: str, data: bytes) -> tuple[bool, str]:
    """Whether a call succeeds, and its output."""
    chain = Chain()
    request = {"from": chain.accounts[0], "to": address, "data": "0x" + data.hex(), "gas": 5_000_000}
    try:
        return True, chain._tester.call(request)
    except TransactionFailed:
        return False, ""


def test_certificate_on_py_evms_own_precompiles() -> None:
    committee = make_committee(count=1)
    chain = Chain()
    chain.set_time(START_S)
    contract = SettlementContract.deploy(chain, committee)
    header = make_batch(committee).header
    assert contract.check(certify(committee, header, (0,))) is SettlementStatus.OK


def test_substitute_pairing_agrees_with_py_evm() -> None:
    key = g1_words(bls.public_key(SECRET))
    point = g2_words(bls.sign(SECRET, b"message"))
    other = g2_words(bls.sign(SECRET, b"another"))
    one = g1_words(bls.public_key((1).to_bytes(32, "big")))
    cases = [
        one + point + NEGATED_ONE + point,  # 1
        one + point + NEGATED_ONE + other,  # 0
        bytes(128) + point,  # identity: 1
        key + bytes(256),
        b"",
        one + point[:-1],
        one + b"\1" + point[1:],  # padding
        one + point[:-1] + bytes([point[-1] ^ 1]),  # not on the curve
        bytes(127) + b"\2" + point,
    ]
    plain = [precompile(PAIRING, case) for case in cases]
    original = prague.PRAGUE_PRECOMPILES[bytes(19) + b"\x0f"]
    with fast_precompiles():
        assert prague.PRAGUE_PRECOMPILES[bytes(19) + b"\x0f"] is not original
        assert [precompile(PAIRING, case) for case in cases] == plain
    assert prague.PRAGUE_PRECOMPILES[bytes(19) + b"\x0f"] is original
    assert {answer for ok, answer in plain if ok} == {"0x" + "00" * 31 + "01", "0x" + "00" * 32}
    assert [ok for ok, _ in plain].count(False) == 5


def test_substitute_map_agrees_with_py_evm() -> None:
    def fp2(c0: int, c1: int) -> bytes:
        return c0.to_bytes(64, "big") + c1.to_bytes(64, "big")

    cases = [
        fp2(0, 0),
        fp2(1, 0),
        fp2(0, P - 1),
        fp2(0x1234 << 300, 0x5678 << 200),
        fp2(P, 0),
        fp2(0, P),
        fp2(2**383, 0),
        fp2(2**384, 0),  # padding
        fp2(0, 1)[:-1],
        b"",
    ]
    plain = [precompile(MAP_FP2_TO_G2, case) for case in cases]
    with fast_precompiles():
        assert [precompile(MAP_FP2_TO_G2, case) for case in cases] == plain
    assert [ok for ok, _ in plain] == [True] * 4 + [False] * 6


@pytest.mark.usefixtures("fast")
def test_time_moves_forward_only() -> None:
    chain = Chain()
    chain.set_time(START_S)
    assert chain.timestamp_s == START_S
    before = chain.timestamp_s
    chain.set_time(START_S - 1000)
    assert chain.timestamp_s == before


def test_time_follows_the_wall_clock() -> None:
    chain = Chain()
    now_s = int(time.time())
    chain.set_time(now_s)
    assert chain.timestamp_s >= now_s
