"""A payload of 16 MiB, the network's limit, through a devnet of real processes.

The bounds on memory are the documented ones (docs/benchmarks.md): high-water marks of each process, so no
peak is missed. The disperser holds the payload, its rows (1.03 x), the extended matrix with its proofs (2.1
x) and what the engine works on; a member holds its share of the columns (2/3 of the matrix among six nodes).
"""

from __future__ import annotations

import random

import pytest

from benchmarks.observe import Metrics, process_memory
from da.client import CellarClient
from da.devnet import Devnet
from erasure.constants import MAX_PAYLOAD_BYTES
from tests.conformance.conftest import HealthWatch

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(900)]

MIB = 2**20
DISPERSER_PEAK_BYTES = 700 * MIB
MEMBER_PEAK_BYTES = 350 * MIB
WORKER_PEAK_BYTES = 200 * MIB
POST_TIMEOUT_S = 300.0
# Generous: the machine may be shared with other tests. A loop that encodes or hashes by itself would be
# blocked for the many seconds that 133 rows take.
HEALTH_TIMEOUT_S = 5.0
LAG_P99_S = 1.0


def test_a_payload_of_16_mib_is_certified_and_read_back_elsewhere(devnet: Devnet) -> None:
    payload = random.Random(16).randbytes(MAX_PAYLOAD_BYTES)
    before = [Metrics.of(node.url) for node in devnet.nodes]
    with HealthWatch(devnet.nodes, HEALTH_TIMEOUT_S) as health:
        with CellarClient(devnet.disperser.url, token=devnet.token, timeout_s=POST_TIMEOUT_S) as client:
            info = client.post_and_wait("conformance", payload)
        assert info.status == "certified"
        assert info.certificate is not None
        for node in devnet.nodes[1:]:
            with CellarClient(node.url, timeout_s=POST_TIMEOUT_S) as reader:
                assert reader.payload(info.payload_id) == payload, node.name

    assert not health.failures
    assert all(count > 0 for count in health.answers.values())
    for node, earlier in zip(devnet.nodes, before, strict=True):
        counted = Metrics.of(node.url) - earlier
        assert counted.total("cellar_event_loop_lag_seconds_count") > 0
        assert counted.quantile_s("cellar_event_loop_lag_seconds", 0.99) <= LAG_P99_S, node.name
        first, *workers = process_memory(node)
        bound = DISPERSER_PEAK_BYTES if node is devnet.disperser else MEMBER_PEAK_BYTES
        assert first.peak_bytes <= bound, f"{node.name}: {first.peak_bytes / MIB:.0f} MiB"
        for worker in workers:
            assert worker.peak_bytes <= WORKER_PEAK_BYTES, f"{node.name}: {worker.peak_bytes / MIB:.0f} MiB"


def test_a_payload_over_the_limit_is_refused(devnet: Devnet) -> None:
    from da.client import InvalidInput

    with (
        CellarClient(devnet.disperser.url, token=devnet.token) as client,
        pytest.raises(InvalidInput) as caught,
    ):
        client.post("conformance", bytes(MAX_PAYLOAD_BYTES + 1))
    assert caught.value.status == 413
