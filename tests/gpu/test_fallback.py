"""What happens when an engine breaks down while it runs, and the program asked for a second one."""

from __future__ import annotations

import logging
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gpu.fallback import FallbackEngine, FallbackVerifier
from kzg.engine import Verifier
from kzg.errors import EngineClosed, EngineFailed, EngineUnavailable, InvalidBlob

BLOBS = np.zeros((1, 4), dtype=np.uint8)


class Fake:
    """Answers every operation with its name; `errors` are raised first, one a call."""

    def __init__(self, name: str, errors: list[Exception] | None = None) -> None:
        self.name, self.errors = name, errors or []
        self.closed = False
        self.calls: list[str] = []

    def __getattr__(self, operation: str):
        def call(*arguments: object) -> tuple[str, str, int]:
            self.calls.append(operation)
            if self.errors:
                raise self.errors.pop(0)
            return self.name, operation, len(arguments)

        return call

    def describe(self) -> dict[str, object]:
        return {"engine": self.name}

    def close(self) -> None:
        self.closed = True


OPERATIONS = [
    ("commit", 1),
    ("extend", 1),
    ("prove", 1),
    ("verify_cells", 4),
    ("recover", 2),
    ("recover_proofs", 3),
    ("recover_with_proofs", 2),
    ("parity_cells", 2),
    ("parity_proofs", 2),
    ("verify_matrix_cells", 5),
]


@pytest.mark.parametrize(("operation", "count"), OPERATIONS)
def test_a_failed_batch_is_computed_again_on_the_second(
    operation: str, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = Fake("cuda", [EngineFailed("the device is gone")]), Fake("host")
    engine = FallbackEngine(first, lambda: second)
    assert engine.describe() == {"engine": "cuda"}
    with caplog.at_level(logging.ERROR, "cellar.engine"):
        assert getattr(engine, operation)(*[BLOBS] * count) == ("host", operation, count)
    assert "cuda failed (the device is gone); continuing with host" in caplog.text
    assert (engine.name, engine.fallbacks) == ("host", 1)
    assert engine.describe() == {
        "engine": "host",
        "fallback_from": "cuda",
        "fallback_reason": "the device is gone",
    }
    getattr(engine, operation)(*[BLOBS] * count)
    assert first.calls == [operation]  # never asked again


@pytest.mark.parametrize(("operation", "count"), OPERATIONS)
def test_a_verifier_falls_back_in_its_operations_and_has_no_others(operation: str, count: int) -> None:
    second = Fake("host")
    verifier = FallbackVerifier(Fake("cuda", [EngineFailed("gone")]), lambda: second)
    if hasattr(Verifier, operation):
        assert getattr(verifier, operation)(*[BLOBS] * count) == ("host", operation, count)
    else:
        assert not hasattr(verifier, operation)


@pytest.mark.parametrize(("operation", "count"), OPERATIONS)
def test_without_a_failure_the_first_does_all(operation: str, count: int) -> None:
    first = Fake("cuda")
    engine = FallbackEngine(first, lambda: pytest.fail("the second was opened"))
    assert getattr(engine, operation)(*[BLOBS] * count) == ("cuda", operation, count)
    assert engine.fallbacks == 0


def test_bad_input_changes_nothing() -> None:
    engine = FallbackEngine(Fake("cuda", [InvalidBlob(0, 3)]), lambda: pytest.fail("the second was opened"))
    with pytest.raises(InvalidBlob):
        engine.commit(BLOBS)
    assert engine.fallbacks == 0


def test_a_second_that_fails_too_fails_the_batch() -> None:
    second = Fake("host", [EngineFailed("and this one")])
    engine = FallbackEngine(Fake("cuda", [EngineFailed("gone")]), lambda: second)
    with pytest.raises(EngineFailed, match="and this one"):
        engine.commit(BLOBS)
    assert engine.commit(BLOBS)[0] == "host"


def test_a_second_that_cannot_be_opened_raises_each_time() -> None:
    def missing() -> Fake:
        raise EngineUnavailable("host", "not built")

    engine = FallbackEngine(Fake("cuda", [EngineFailed("gone"), EngineFailed("gone")]), missing)
    for _ in range(2):
        with pytest.raises(EngineUnavailable):
            engine.commit(BLOBS)
    assert engine.fallbacks == 0


def test_many_failing_threads_open_one_second() -> None:
    together = threading.Barrier(4)
    opened: list[Fake] = []

    class Failing(Fake):
        def commit(self, *_: object) -> None:
            together.wait(10)
            raise EngineFailed("gone")

    def open_second() -> Fake:
        opened.append(Fake("host"))
        return opened[-1]

    engine = FallbackEngine(Failing("cuda"), open_second)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(engine.commit, [BLOBS] * 4))
    assert [answer[0] for answer in answers] == ["host"] * 4
    assert len(opened) == 1


def test_closing_closes_both_and_opens_none() -> None:
    first, second = Fake("cuda", [EngineFailed("gone")]), Fake("host")
    with FallbackEngine(first, lambda: second) as engine:
        engine.commit(BLOBS)
    assert first.closed
    assert second.closed

    late = FallbackEngine(Fake("cuda", [EngineFailed("gone")]), lambda: pytest.fail("opened after close"))
    late.close()
    with pytest.raises(EngineClosed):
        late.commit(BLOBS)


@pytest.mark.parametrize("ending", ["close", "commit"])
def test_a_child_forked_while_the_second_opens_does_not_wait_for_it(ending: str) -> None:
    """The thread that holds the lock is not in the child, which would wait forever."""
    opening, over = threading.Event(), threading.Event()

    def open_second() -> Fake:
        opening.set()
        assert over.wait(60)
        return Fake("host")

    failures = [EngineFailed("gone") for _ in range(2)]
    engine = FallbackEngine(Fake("cuda", failures), open_second)
    thread = threading.Thread(target=engine.commit, args=(BLOBS,))
    thread.start()
    assert opening.wait(60)
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        code = 1
        try:
            engine.close() if ending == "close" else engine.commit(BLOBS)
            code = 0 if ending == "close" else 2
        except EngineClosed:
            code = 3 if ending == "close" else 0
        finally:
            os._exit(code)
    status = os.waitpid(pid, 0)[1]
    over.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0
    assert engine.name == "host"
