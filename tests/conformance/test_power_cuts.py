"""Power cuts: nodes killed at random moments of a dispersal lose nothing that was answered.

The same promises over many rounds: `python -m benchmarks.chaos --rounds 30`. A failure names its seed.
"""

from __future__ import annotations

import random

import pytest

from benchmarks.chaos import Chaos
from da.client import CellarClient
from da.devnet import Devnet

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

SEED = 7
ROUNDS = 3
WAIT_S = 120.0


def test_what_was_certified_outlives_the_death_of_any_node(devnet: Devnet) -> None:
    chaos = Chaos(devnet, SEED, payload_bytes_max=200_000)
    try:
        chaos.run(ROUNDS)
    finally:
        chaos.close()
        print(f"seed {SEED}")
    assert chaos.ledger.certificates.keys() == chaos.ledger.payloads.keys()
    assert len(chaos.ledger.certificates) == 4 * ROUNDS


@pytest.mark.parametrize("cut", ["killed", "stopped"])
def test_a_committee_restarted_during_dispersal_goes_on(devnet: Devnet, cut: str) -> None:
    """What was accepted before is certified after, without being posted again."""
    rng = random.Random(SEED)
    payloads = [rng.randbytes(size) for size in (1, 30_000, 400_000)]
    with CellarClient(devnet.disperser.url, token=devnet.token, timeout_s=WAIT_S) as client:
        posted = [client.post("conformance", payload) for payload in payloads]
        if cut == "killed":
            for index in range(len(devnet.nodes)):
                devnet.kill_node(index)
        else:
            devnet.stop()
        devnet.start()
        devnet.wait_ready()
        for info in posted:
            assert client.wait(info.payload_id).status == "certified"
    for node in devnet.nodes:
        with CellarClient(node.url, timeout_s=WAIT_S) as reader:
            for info, payload in zip(posted, payloads, strict=True):
                assert reader.payload(info.payload_id) == payload
