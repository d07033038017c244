"""What stays on a device while an engine is open: roots, digits, the combs' tables, the blinding.

All of it is made on the device, from the packaged trusted setup and a few thousand integers. The kernels
describe what each array holds (`kernels/*.cu`), `host/setup.hpp` the columns of FK20, `kernels/comb.cuh` a
comb.

Elements are in Montgomery form with R = 2^256 (Fr) or 2^384 (Fp), little-endian words.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gpu.constants import CELL_ELEMENTS, CELLS, EXTENDED_ELEMENTS, ROOT_OF_UNITY, SCALAR_MODULUS
from gpu.convolution import convolution_digits, proof_transform
from gpu.cuda.device import Arena, Argument, Device, Queue, Region, as_words
from gpu.cuda.source import kernels
from kzg import trusted_setup
from kzg.types import Bytes

FR_BYTES: Final = 32
AFFINE_BYTES: Final = 96
XYZZ_BYTES: Final = 192
POINT_BYTES: Final = 48

SCALAR_BITS: Final = 256
POINTS_PER_INVERSION: Final = 64
"""How many points share an inversion, when there are enough to keep the device busy nevertheless."""

LEAST_INVERTING_THREADS: Final = 256
_ENTRY_RUN: Final = 32

_R: Final = SCALAR_MODULUS
_R256: Final = pow(2, 256, _R)


class CollisionError(RuntimeError):
    """Independent points coincided: a chance of 2^-240, or a damaged setup."""


@dataclass(frozen=True, slots=True)
class Comb:
    """The shape of a comb (kernels/comb.cuh): sums of `points` points, t positions, windows of at most b."""

    columns: int
    points: int
    t: int
    b: int

    @property
    def expanded(self) -> int:
        return self.points * (SCALAR_BITS // self.t)

    @property
    def chunks(self) -> int:
        """32-bit words for the bits of one position."""
        return -(-self.expanded // 32)

    @property
    def windows(self) -> int:
        return -(-self.expanded // self.b)

    @property
    def smallest(self) -> int:
        """Entries of the smallest window."""
        return 1 << (self.expanded // self.windows - 1)

    @property
    def entries(self) -> int:
        """Entries of a column's table."""
        return self.smallest * (self.windows + self.expanded % self.windows)

    @property
    def table_bytes(self) -> int:
        return self.columns * self.entries * AFFINE_BYTES


def proof_comb(b: int) -> Comb:
    return Comb(CELLS, CELL_ELEMENTS, 64, b)


def commitment_comb(b: int) -> Comb:
    return Comb(64, 64, 64, b)


@dataclass(frozen=True, slots=True)
class Scales:
    """Constant elements on the device, one each."""

    load: Region  # R^2 / 64: integers to values divided by 64
    combine: Region  # R^3 / 64: products of two integers to values divided by 64
    one: Region  # the integers 1, 1/2, 1/64 and 1/128
    half: Region
    inverse64: Region
    half_inverse64: Region


@dataclass(frozen=True, slots=True)
class Combs:
    """The shapes of the combs of a prover."""

    proof: Comb
    commitment: Comb


@dataclass(frozen=True, slots=True)
class ProverTables:
    """The resident arrays that commitments and proofs need.

    blinding, blinding_image: affine points for each column; None leaves the convolution unblinded (tests do).
    """

    proof: Comb
    commitment: Comb
    proof_table: Region
    commitment_table: Region
    digits: Region
    blinding: Region | None
    blinding_image: Region | None


@dataclass(frozen=True, slots=True)
class Tables:
    """The resident arrays; `prover` is None in an engine that only verifies."""

    zeta: Region
    zeta_inverse: Region
    scales: Scales
    places: Region  # i32[128]: 0, 1, 2, ...
    monomial: Region  # the first 64 powers of the setup
    prover: ProverTables | None

    @property
    def proving(self) -> ProverTables:
        """A prover's tables, where the operation is only a prover's."""
        assert self.prover is not None, "an engine that only verifies has no operation that proves"
        return self.prover

    @property
    def bytes(self) -> int:
        """Of the combs."""
        if self.prover is None:
            return 0
        return self.prover.proof.table_bytes + self.prover.commitment.table_bytes


def resident_bytes(combs: Combs | None) -> int:
    """Memory that `build` keeps, in bytes."""
    arena = Arena()
    _take(arena, combs)
    return arena.used


def cell_root(cell: int) -> int:
    """z of X^64 - z, by which the polynomial of a row is divided for a cell."""
    return pow(ROOT_OF_UNITY, CELL_ELEMENTS * int(f"{cell:07b}"[::-1], 2), _R)


def powers_brp(base: int, log2_n: int) -> list[int]:
    """base^i for i < 2^log2_n, in bit-reversed order."""
    powers = [1]
    while len(powers) < 1 << log2_n:
        powers.append(powers[-1] * base % _R)
    return [powers[int(f"{i:0{log2_n}b}"[::-1], 2)] for i in range(1 << log2_n)]


def blocks_for(kernel: str, items: int) -> int:
    """Blocks that give each of `items` a thread."""
    return -(-items // kernels()[kernel].threads)


def each(queue: Queue, kernel: str, items: int, *arguments: Argument) -> None:
    """Launches a kernel with a thread for each item."""
    queue.launch(kernel, blocks_for(kernel, items), *arguments)


def normalise(
    queue: Queue, points: Region, out: Region, count: int, failed: Region | None = None, per_row: int = 1
) -> None:
    """Xyzz to affine points; `failed` gets a mark for each row of `per_row` points with infinity in it."""
    threads = min(count, max(LEAST_INVERTING_THREADS, -(-count // POINTS_PER_INVERSION)))
    each(queue, "normalise", threads, points, out, count, threads, failed, per_row)


def fill_entries(
    queue: Queue, shape: Comb, single: Region, twice: Region, entries: Region, columns: int
) -> None:
    """The Xyzz entries of `columns` columns, from their expanded points."""
    run = min(shape.smallest, _ENTRY_RUN)
    runs = columns * (shape.entries // run)
    each(queue, "comb_entries", runs, single, twice, entries, shape.expanded, shape.b, run, runs)


def build(
    device: Device, queue: Queue, region: Region, combs: Combs | None = None, blinding: Sequence[int] = ()
) -> Tables:
    """Builds everything; returns when it is there.

    Args:
        region: `resident_bytes` of memory.
        combs: of a prover; None for an engine that only verifies.
        blinding: of a prover, a random scalar for each of the 128 roots, in natural order.

    Raises:
        CollisionError: the setup's points are not independent.
        DeviceError: the device broke down, or has no memory for the work.
    """
    tables = _take(Arena(region), combs)
    _upload_constants(queue, tables)
    builder = _Builder(device, queue)
    builder.decompress(trusted_setup.load().g1_monomial[:CELL_ELEMENTS], tables.monomial)
    if tables.prover is not None:
        _build_prover(queue, builder, tables.prover, list(blinding))
    queue.wait()
    return tables


def _build_prover(queue: Queue, builder: _Builder, tables: ProverTables, blinding: list[int]) -> None:
    queue.upload(tables.digits, np.ascontiguousarray(convolution_digits()))
    setup = trusted_setup.load()
    with builder.memory(4096 * XYZZ_BYTES, CELLS * CELL_ELEMENTS * XYZZ_BYTES) as (points, columns):
        builder.decompress(setup.g1_lagrange_brp, points)
        builder.comb(points, tables.commitment, tables.commitment_table)
        builder.decompress(setup.g1_monomial, points)
        builder.columns(points, columns)
        builder.comb(columns, tables.proof, tables.proof_table)
    assert tables.blinding is not None
    assert tables.blinding_image is not None
    generator = np.tile(setup.g1_monomial[:1], (CELLS, 1))
    builder.multiples(generator, in_column_order(blinding), tables.blinding)
    builder.multiples(generator, in_column_order(proof_transform(blinding)), tables.blinding_image)


def in_column_order(values: list[int]) -> list[int]:
    """Scalars of the 128 roots as the kernels order columns: even powers first."""
    return values[::2] + values[1::2]


def _take(arena: Arena, combs: Combs | None) -> Tables:
    return Tables(
        zeta=arena.take(EXTENDED_ELEMENTS // 2 * FR_BYTES),
        zeta_inverse=arena.take(EXTENDED_ELEMENTS // 2 * FR_BYTES),
        scales=Scales(*(arena.take(FR_BYTES) for _ in range(6))),
        places=arena.take(CELLS * 4),
        monomial=arena.take(CELL_ELEMENTS * XYZZ_BYTES),
        prover=None if combs is None else _take_prover(arena, combs),
    )


def _take_prover(arena: Arena, combs: Combs) -> ProverTables:
    return ProverTables(
        proof=combs.proof,
        commitment=combs.commitment,
        proof_table=arena.take(combs.proof.table_bytes),
        commitment_table=arena.take(combs.commitment.table_bytes),
        digits=arena.take(2 * 64 * 2 * 16 * 2),
        blinding=arena.take(CELLS * AFFINE_BYTES),
        blinding_image=arena.take(CELLS * AFFINE_BYTES),
    )


def _upload_constants(queue: Queue, tables: Tables) -> None:
    for region, base in ((tables.zeta, ROOT_OF_UNITY), (tables.zeta_inverse, pow(ROOT_OF_UNITY, -1, _R))):
        roots = powers_brp(base, EXTENDED_ELEMENTS.bit_length() - 2)
        queue.upload(region, as_words([root * _R256 % _R for root in roots]))
    half, inverse64 = pow(2, -1, _R), pow(CELL_ELEMENTS, -1, _R)
    for region, value in (
        (tables.scales.load, _R256**2 * inverse64),
        (tables.scales.combine, _R256**3 * inverse64),
        (tables.scales.one, 1),
        (tables.scales.half, half),
        (tables.scales.inverse64, inverse64),
        (tables.scales.half_inverse64, half * inverse64),
    ):
        queue.upload(region, as_words([value % _R]))
    queue.upload(tables.places, np.arange(CELLS, dtype=np.int32))


class _Builder:
    """The steps of `build`."""

    def __init__(self, device: Device, queue: Queue) -> None:
        self._device, self._queue = device, queue

    @contextlib.contextmanager
    def memory(self, *sizes: int) -> Iterator[list[Region]]:
        """Scratch regions, freed when the work on them is done."""
        regions: list[Region] = []
        try:
            for size in sizes:
                regions.append(self._device.allocate(size))
            yield regions
            self._queue.wait()
        finally:
            for region in regions:
                self._device.release(region)

    def decompress(self, compressed: Bytes, out: Region) -> None:
        """Points of the setup: its hash was checked, so they are points of G1."""
        count = len(compressed)
        with self.memory(count * POINT_BYTES, count * 4) as (data, bad):
            self._queue.upload(data, np.ascontiguousarray(compressed))
            each(self._queue, "decompress_points", count, data, out, bad, 0, count)

    def multiples(self, points: Bytes, scalars: list[int], out: Region) -> None:
        """Affine scalar multiples of compressed points."""
        count = len(scalars)
        size = count * XYZZ_BYTES
        with self.memory(size, size, count * FR_BYTES) as (bases, products, words):
            self.decompress(points, bases)
            self._queue.upload(words, as_words(scalars))
            each(self._queue, "multiply_points", count, bases, words, products, SCALAR_BITS, count, count)
            normalise(self._queue, products, out, count)

    def columns(self, monomial: Region, out: Region) -> None:
        """The 128 x 64 points of FK20's columns, from powers of the setup's secret."""
        row, tree = CELL_ELEMENTS * XYZZ_BYTES, CELLS // 2 * CELL_ELEMENTS * XYZZ_BYTES
        with self.memory(2 * tree, CELL_ELEMENTS * FR_BYTES) as (values, roots):
            self._queue.upload(roots, as_words(powers_brp(ROOT_OF_UNITY, 12)[:CELL_ELEMENTS]))
            self._queue.clear(values)
            for half in range(2):
                self._queue.copy(values.part(half * tree + row, tree - row), monomial.part(0, tree - row))
            half = CELLS // 4
            while half:
                items = CELLS // 2 * CELL_ELEMENTS
                each(self._queue, "transform_points", items, values, roots, half, CELL_ELEMENTS, items)
                half //= 2
            for i in range(CELLS):
                power = (CELLS - int(f"{i:07b}"[::-1], 2)) % CELLS
                column = power % 2 * (CELLS // 2) + power // 2
                self._queue.copy(out.part(column * row, row), values.part(i * row, row))

    def comb(self, points: Region, shape: Comb, table: Region) -> None:
        """The table of a comb, a column at a time: there is room for the Xyzz entries of one."""
        count = shape.columns * shape.expanded
        teeth = SCALAR_BITS // shape.t
        size, affine, entries = count * XYZZ_BYTES, count * AFFINE_BYTES, shape.entries * XYZZ_BYTES
        collided = np.zeros(1, dtype=np.int32)
        with self.memory(size, size, affine, affine, entries, 4) as (
            walk,
            walk2,
            single,
            twice,
            sums,
            failed,
        ):
            self._queue.clear(failed)
            items = shape.columns * shape.points
            each(
                self._queue, "expand_points", items, points, walk, walk2, shape.points, teeth, shape.t, items
            )
            normalise(self._queue, walk, single, count, failed, count)
            normalise(self._queue, walk2, twice, count, failed, count)
            expanded = shape.expanded * AFFINE_BYTES
            for column in range(shape.columns):
                of_column = [region.part(column * expanded, expanded) for region in (single, twice)]
                fill_entries(self._queue, shape, of_column[0], of_column[1], sums, 1)
                entry_bytes = shape.entries * AFFINE_BYTES
                out = table.part(column * entry_bytes, entry_bytes)
                normalise(self._queue, sums, out, shape.entries, failed, shape.entries)
            self._queue.download(failed, collided)
            self._queue.wait()
        if collided[0]:
            raise CollisionError("points of the trusted setup are not independent")
