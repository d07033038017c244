"""The `cuda` engine as it is, with CuPy's own calls, over devices that this machine pretends to be
(`tests.gpu.fake_cupy`): addresses, sizes, streams, staging, threads, and what happens when any call fails.

That CUDA does what CuPy asks is for a machine with a GPU.
"""

from __future__ import annotations

import contextlib
import inspect
import re
import sys
import threading
import types
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

cupy_device = pytest.importorskip(
    "gpu.cuda.cupy_device", reason="CuPy is not installed", exc_type=ImportError
)

import cupy  # noqa: E402 (after the check that it can be imported)

from gpu.cuda import engine as cuda_engine  # noqa: E402
from gpu.cuda import operations  # noqa: E402
from gpu.cuda.device import DeviceError, DeviceMemoryError, Region  # noqa: E402
from gpu.fallback import FallbackEngine  # noqa: E402
from kzg import parity  # noqa: E402
from kzg.errors import EngineFailed, EngineUnavailable  # noqa: E402
from tests.gpu.conftest import Batch  # noqa: E402
from tests.gpu.fake_cupy import ILLEGAL_ADDRESS, MEMORY_ALLOCATION, FakeCupy  # noqa: E402
from tests.gpu.host_device import Kernels  # noqa: E402

WINDOWS = (6, 6)
Install = Callable[[FakeCupy], FakeCupy]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """A function that puts a FakeCupy in CuPy's place."""

    def put(fake: FakeCupy) -> FakeCupy:
        monkeypatch.setattr(cupy_device, "cupy", fake)
        return fake

    monkeypatch.setattr(cupy_device.nvrtc, "cached_cubin", lambda source, architecture: b"cubin")
    return put


# --- the device


def test_the_stand_in_has_only_what_cupy_has() -> None:
    fake = FakeCupy(None)
    for name, function in vars(fake.cuda.runtime).items():
        real = getattr(cupy.cuda.runtime, name)
        if not callable(function):
            assert real == function, name
            continue
        written = re.match(r"\w+\((.*?)\)", real.__doc__)[1]
        parameters = [part.split()[-1] for part in written.split(", ") if part]
        assert parameters == list(inspect.signature(function).parameters), name
    assert callable(cupy.cuda.function.Module.load)
    assert callable(cupy.cuda.function.Module.get_function)
    assert callable(cupy.cuda.PinnedMemoryPool.malloc)
    assert callable(cupy.cuda.Stream.synchronize)
    assert "non_blocking" in inspect.signature(cupy.cuda.Stream).parameters
    assert isinstance(cupy.cuda.Device.compute_capability, property | type(type.__dict__["__doc__"]))


def test_cupy_takes_the_arguments_of_kernels_as_they_are() -> None:
    """A function of no module: CuPy looks at the arguments before it asks for a device."""
    reason = cuda_engine.available()
    if reason is None:
        pytest.skip("there is a device, on which a function of no module must not be launched")
    function = cupy.cuda.function.Function.__new__(cupy.cuda.function.Function)
    stream = types.SimpleNamespace(ptr=0)
    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError):
        function((1,), (64,), tuple(map(cupy_device._value, (5, None, Region(1 << 40, 8)))), 0, stream)
    with pytest.raises(TypeError):
        function((1,), (64,), (object(),), 0, stream)


def test_uploads_are_downloaded_unchanged(install: Install) -> None:
    install(FakeCupy(None))
    device = cupy_device.CudaDevice(0)
    assert device.name == "Fake GPU (0)"
    region, other = device.allocate(1024), device.allocate(1024)
    queue = device.queue()
    matrix = np.arange(64, dtype=np.uint32).reshape(4, 16)
    kept = matrix.copy()
    queue.upload(region.part(256, 128), matrix[:, ::2])
    matrix[:] = 0  # what was given may change at once
    queue.copy(other, region)
    wide = np.zeros((4, 16), dtype=np.uint32)
    queue.download(other.part(256, 128), wide[:, 1::2])
    assert not wide.any()
    queue.wait()
    assert (wide[:, 1::2] == kept[:, ::2]).all()
    assert not wide[:, ::2].any()
    queue.clear(other)
    queue.download(other.part(256, 128), wide[:, 1::2])
    queue.wait()
    assert not wide.any()


def test_kernels_get_typed_arguments(install: Install) -> None:
    fake = install(FakeCupy(None))
    device = cupy_device.CudaDevice(0)
    region = device.allocate(64)
    queue = device.queue()
    queue.launch("normalise", 3, region, region, 5, 5, None, 1)
    queue.launch("normalise", 0, region, region, 5, 5, None, 1)
    assert fake.launched == [(0, "normalise")]
    with pytest.raises(AssertionError):
        queue.launch("normalise", 1, region, region, 1 << 31, 5, None, 1)


def test_errors_are_distinguished(install: Install) -> None:
    fake = install(FakeCupy(None))
    device = cupy_device.CudaDevice(0)
    with pytest.raises(DeviceMemoryError):
        device.allocate(1 << 33)
    queue, region = device.queue(), device.allocate(1)
    fake.fail("memsetAsync", status=ILLEGAL_ADDRESS)
    with pytest.raises(DeviceError, match="IllegalAddress") as caught:
        queue.clear(region)
    assert not isinstance(caught.value, DeviceMemoryError)
    with pytest.raises(DeviceError, match="IllegalAddress"):
        queue.wait()
    device.close()


def test_each_thread_finds_its_current_device_unchanged(install: Install) -> None:
    """Two threads on two devices, each step of one between two steps of the other."""
    fake = install(FakeCupy(None, devices=3))
    devices = [cupy_device.CudaDevice(index) for index in (1, 2)]
    turns = threading.Barrier(2)

    def work(index: int) -> int:
        device, array = devices[index - 1], np.arange(100)
        for _ in range(20):
            with device.on():
                turns.wait()
                region, queue = device.allocate(800), device.queue()
                assert region.address in fake.devices[index].memory
                queue.upload(region, array)
                queue.download(region, array)
                turns.wait()
            queue.wait()
            device.release(region)
        return fake.getDevice()

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(work, (1, 2))) == [0, 0]
    assert fake.allocated == 0


# --- opening


def test_a_machine_without_a_gpu_reports_why(install: Install) -> None:
    fake = install(FakeCupy(None))
    assert cuda_engine.available() is None
    fake.devices[0].capability = "52"
    assert "device 0: NVRTC does not compile for its compute capability, 5.2" in cuda_engine.available()
    fake.fail("getDeviceCount", status=35)
    with pytest.raises(EngineUnavailable, match=r"no usable CUDA driver: .*InsufficientDriver"):
        cuda_engine.CudaEngine()
    install(FakeCupy(None, devices=0))
    assert cuda_engine.available() == "there is no CUDA device"


def test_devices_that_no_kernel_can_be_compiled_for_are_left_out(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    fake = install(FakeCupy(None, devices=3))
    fake.devices[0].capability = "52"
    with cuda_engine.CudaEngine(windows=WINDOWS) as engine:
        assert engine.describe()["devices"] == ["Fake GPU (1)", "Fake GPU (2)"]
    assert "does not use device 0: NVRTC does not compile" in caplog.text
    with cuda_engine.CudaEngine(workers=1, windows=WINDOWS) as engine:
        assert engine.describe()["devices"] == ["Fake GPU (1)"]


@pytest.mark.parametrize("lasting", [True, False])
def test_an_engine_that_cannot_open_reports_why_and_keeps_nothing(install: Install, lasting: bool) -> None:
    """Every kind of call fails, at its first time, its second, its tenth and its last."""
    opened = install(FakeCupy(None, devices=2))
    with cuda_engine.CudaEngine(windows=WINDOWS):
        made = opened.calls.copy()
    made -= Counter(getDeviceCount=1, capability=2)  # as it looks for devices: see above
    assert made.keys() >= {
        "malloc",
        "free",
        "launch",
        "execute",
        "memcpyAsync",
        "memsetAsync",
        "load",
        "pinned",
    }
    for call, times in made.items():
        for after in sorted({0, 1, 9, times - 1} & set(range(times))):
            fake = install(FakeCupy(None, devices=2))
            fake.fail(call, after + 2 * (call == "capability"), lasting=lasting)
            with pytest.raises(EngineUnavailable, match="cudaErrorDevicesUnavailable"):
                cuda_engine.CudaEngine(windows=WINDOWS)
            assert not any(device.memory for device in fake.devices if not device.broken), (call, after)


def test_too_little_memory_for_tables_is_reported(install: Install) -> None:
    fake = install(FakeCupy(None, memory=1 << 20))
    with pytest.raises(EngineUnavailable, match="not enough device memory"):
        cuda_engine.CudaEngine()
    assert fake.allocated == 0


def test_without_cupy_it_reports_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gpu.cuda.cupy_device")
    monkeypatch.delattr("gpu.cuda.cupy_device")
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "pip install '.[cuda]'" in cuda_engine.available()


# --- working


Working = tuple[FakeCupy, cuda_engine.CudaEngine]


@contextlib.contextmanager
def _working(library: Kernels, devices: int) -> Iterator[Working]:
    """The engine with its kernels. Who uses it puts its FakeCupy in CuPy's place."""
    fake = FakeCupy(library, devices)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cupy_device, "cupy", fake)
        patch.setattr(cupy_device.nvrtc, "cached_cubin", lambda source, architecture: b"cubin")
        engine = cuda_engine.CudaEngine(windows=WINDOWS)
    yield fake, engine
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cupy_device, "cupy", fake)
        engine.close()
    assert fake.allocated == 0


@pytest.fixture(scope="module")
def opened_on_one(host_kernels: Kernels) -> Iterator[Working]:
    with _working(host_kernels, 1) as working:
        yield working


@pytest.fixture(scope="module")
def opened_on_two(host_kernels: Kernels) -> Iterator[Working]:
    with _working(host_kernels, 2) as working:
        yield working


@pytest.fixture
def one_device(opened_on_one: Working, install: Install) -> Working:
    install(opened_on_one[0])
    return opened_on_one


@pytest.fixture
def two_devices(opened_on_two: Working, install: Install) -> Working:
    install(opened_on_two[0])
    return opened_on_two


def test_every_operation_gives_the_bytes_of_ckzg(
    one_device: Working, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In chunks of two rows, so that two streams alternate."""
    _fake, engine = one_device
    monkeypatch.setattr(operations, "MOST_ROWS", 2)
    monkeypatch.setattr(operations, "MOST_CELLS", 8)
    assert (engine.commit(batch.blobs) == batch.commitments).all()
    cells, proofs = engine.prove(batch.blobs[4:])
    assert (cells == batch.cells[4:]).all()
    assert (proofs == batch.proofs[4:]).all()
    known = sorted({*range(1, 128, 2), 126})
    cells, proofs = engine.recover_with_proofs(known, batch.cells[6:, known])
    assert (cells == batch.cells[6:]).all()
    assert (proofs == batch.proofs[6:]).all()
    rows, columns = np.arange(18) // 2, np.arange(18) * 7
    given = batch.commitments[rows], columns, batch.cells[rows, columns], batch.proofs[rows, columns]
    assert engine.verify_cells(*given) is True
    given[2][11, 5] ^= 1
    assert engine.verify_cells(*given) is False
    derived = engine.parity_cells(batch.cells[:3, :5])
    assert (derived == parity.parity_cells(batch.cells[:3, :5])).all()
    assert (engine.parity_proofs(batch.proofs[:3, 9]) == parity.parity_proofs(batch.proofs[:3, 9])).all()


@pytest.mark.slow
def test_two_devices_divide_the_rows(two_devices: Working, batch: Batch) -> None:
    fake, engine = two_devices
    fake.launched.clear()
    cells, proofs = engine.prove(batch.blobs)
    assert (cells == batch.cells).all()
    assert (proofs == batch.proofs).all()
    assert {device for device, _ in fake.launched} == {0, 1}


@pytest.mark.slow
def test_threads_share_two_devices(two_devices: Working, batch: Batch) -> None:
    def work(row: int) -> bool:
        one = slice(row, row + 1)
        return bool(
            (two_devices[1].extend(batch.blobs[one]) == batch.cells[one]).all()
            and (two_devices[1].commit(batch.blobs[one]) == batch.commitments[one]).all()
        )

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(work, range(9)))


def test_memory_that_was_taken_halves_the_chunks(one_device: Working, batch: Batch) -> None:
    """Whichever call it is that finds no memory: of the device, of pinned memory, or a launch."""
    fake, engine = one_device
    for call, after in (("malloc", 0), ("malloc", 1), ("pinned", 2), ("launch", 3), ("launch", 7)):
        for worker in engine._workers:
            for slot in worker._slots:
                slot.release()
        fake.fail(call, after, status=MEMORY_ALLOCATION, lasting=False)
        assert (engine.extend(batch.blobs[5:]) == batch.cells[5:]).all(), call
        assert (engine.commit(batch.blobs[5:]) == batch.commitments[5:]).all(), call
    assert not any(device.broken for device in fake.devices)


def test_rows_go_one_by_one_where_no_more_fit_and_not_even_one_is_an_error(install: Install) -> None:
    fake = install(FakeCupy(None))
    device, blobs = fake.devices[0], np.zeros((3, 131072), np.uint8)
    with cuda_engine.CudaEngine(windows=WINDOWS) as engine:
        engine.prove(blobs[:1])
        of_one_row = max(
            size for size, _ in device.memory.values() if size < engine.describe()["table_bytes"]
        )
        slots = engine._workers[0]._slots
        for slot in slots:
            slot.release()
        device.size -= device.free - 3 * of_one_row // 2  # not two of them
        engine.prove(blobs)
        assert len(device.memory) == 2
        slots[0].release()
        device.size -= of_one_row
        with pytest.raises(EngineFailed, match="lacks memory for a single item"):
            engine.prove(blobs)
        device.size += of_one_row
        engine.prove(blobs)


# --- breaking down


def _work(engine: cuda_engine.CudaEngine) -> None:
    engine.prove(np.zeros((4, 131072), np.uint8))


def test_a_device_that_disappears_at_any_call_fails_that_batch(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a batch of two chunks; later calls fail too, and closing is quiet."""
    monkeypatch.setattr(operations, "MOST_ROWS", 2)
    fake = install(FakeCupy(None))
    with cuda_engine.CudaEngine(windows=WINDOWS) as engine:
        before = fake.calls.copy()
        _work(engine)
        made = fake.calls - before
    assert made.keys() >= {
        "malloc",
        "memcpyAsync",
        "memsetAsync",
        "launch",
        "execute",
        "synchronize",
        "pinned",
    }
    for call, times in made.items():
        for after in sorted({0, times // 2, times - 1}):
            fake = install(FakeCupy(None))
            engine = cuda_engine.CudaEngine(windows=WINDOWS)
            fake.fail(call, after)
            for _ in range(2):
                with pytest.raises(
                    EngineFailed, match=r"Fake GPU \(0\) failed: .*cudaErrorDevicesUnavailable"
                ):
                    _work(engine)
            engine.close()


def test_the_other_device_is_as_it_was(install: Install) -> None:
    fake = install(FakeCupy(None, devices=2))
    with cuda_engine.CudaEngine(windows=WINDOWS) as engine:
        fake.devices[1].broken = ILLEGAL_ADDRESS
        with pytest.raises(EngineFailed, match=r"Fake GPU \(1\) failed: .*IllegalAddress"):
            _work(engine)
        engine.commit(np.zeros((1, 131072), np.uint8))
    assert len(fake.devices[0].memory) == 0


def test_a_program_with_a_fallback_continues_without_the_device(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    fake = install(FakeCupy(None))
    second = types.SimpleNamespace(
        name="host", prove=len, describe=lambda: {"engine": "host"}, close=lambda: None
    )
    with FallbackEngine(cuda_engine.CudaEngine(windows=WINDOWS), lambda: second) as engine:
        _work(engine)
        fake.fail("execute", 5)
        assert engine.prove(np.zeros((4, 131072), np.uint8)) == 4
        assert (engine.name, engine.fallbacks) == ("host", 1)
        assert "cudaErrorDevicesUnavailable" in str(engine.describe()["fallback_reason"])
    assert "engine cuda failed" in caplog.text
