"""kill -9 at random moments: what was acknowledged is there, and nothing that is there is wrong."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from threading import Timer

import pytest

from da.store.embedded import EmbeddedStore
from tests.da.store.support import DISPERSER, certificate_of, make_batch

_WRITER = Path(__file__).with_name("crash_writer.py")
_ROOT = Path(__file__).parents[3]


def _write_until_killed(directory: Path, first_height: int, delay_s: float) -> list[tuple[str, int]]:
    """What a writer acknowledged before it was killed, `delay_s` after its first word."""
    command = [sys.executable, str(_WRITER), str(directory), str(first_height)]
    # PYTHONPATH, for a script finds only what lies beside it.
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=_ROOT, env={"PYTHONPATH": str(_ROOT)}
    ) as writer:
        assert writer.stdout is not None
        first = writer.stdout.readline()
        killer = Timer(delay_s, writer.send_signal, (signal.SIGKILL,))
        killer.start()
        lines = [first, *writer.stdout.readlines()]
        killer.join()
        writer.wait(30)
    assert writer.returncode == -signal.SIGKILL
    # The last line may be cut off, and then promises nothing.
    words = [line.split() for line in lines if line.endswith("\n")]
    return [(what, int(height)) for what, height in words]


@pytest.mark.parametrize("rounds", [4, pytest.param(60, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, rounds: int) -> None:
    rng = random.Random(20261122)
    acknowledged: set[tuple[str, int]] = set()
    next_height = 1
    for _ in range(rounds):
        done = _write_until_killed(tmp_path, next_height, rng.uniform(0, 0.15))
        acknowledged |= set(done)
        with closing(EmbeddedStore(tmp_path, reserve_bytes=0)) as store:
            assert {finding.kind for finding in store.findings} <= {"unindexed"}
            assert list(store.scrub()) == []
            records = store.batches(DISPERSER, 0, 10**6, False)
            _check_acknowledged(store, acknowledged)
            for record in records:
                height = record.header.height
                batch = make_batch(height)
                held = record.columns
                assert held in ((0, 5, 127), (0, 5, 64, 127))
                batch.check(store, held)
                assert record.certificate in (None, certificate_of(batch))
        next_height = records[-1].header.height + 1
    assert len(acknowledged) > rounds


def _check_acknowledged(store: EmbeddedStore, acknowledged: set[tuple[str, int]]) -> None:
    for what, height in acknowledged:
        header_hash = store.at_height(DISPERSER, height)
        assert header_hash == make_batch(height).hash
        record = store.batch(header_hash)
        if what == "certificate":
            assert record.certificate == certificate_of(make_batch(height))
        elif what == "columns":
            assert 64 in record.columns
