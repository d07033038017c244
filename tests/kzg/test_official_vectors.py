"""The 344 official cases of EIP-4844 and EIP-7594. `output: null` means a KzgError, nothing else.

Source: https://github.com/ethereum/c-kzg-4844/tree/b7e40988/tests
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from erasure.field import elements_to_array
from kzg.engine import Engine
from kzg.errors import InvalidArray, KzgError, LengthMismatch
from kzg.openings import open_point, verify_kzg_proof
from kzg.points import decode_points
from kzg.transcript import compute_challenge, compute_verify_cell_kzg_proof_batch_challenge
from kzg.types import Bytes
from kzg.verification import verify_matrix_cells

Case = dict[str, Any]


def _raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _matrix(name: str, texts: list[str], width: int) -> Bytes:
    """u8[n, width] of hexadecimal strings; one of another length is refused, as a codec at the edge does."""
    parts = [_raw(text) for text in texts]
    for part in parts:
        if len(part) != width:
            raise InvalidArray(name, f"u8[{width}]", f"u8[{len(part)}]")
    return np.frombuffer(b"".join(parts), dtype=np.uint8).reshape(-1, width)


def _hex(array: Bytes | bytes) -> str:
    return "0x" + bytes(array).hex()


def _hex_rows(cells: Bytes, proofs: Bytes | None = None) -> list[Any]:
    listed = [_hex(cell) for cell in cells[0]]
    return listed if proofs is None else [listed, [_hex(proof) for proof in proofs[0]]]


def _blob(case: Case) -> Bytes:
    return _matrix("blob", [case["blob"]], 131072)


# --- one adapter a handler: from the case's input to what its output should be


def blob_to_kzg_commitment(engine: Engine, case: Case) -> object:
    return _hex(engine.commit(_blob(case))[0])


def compute_cells(engine: Engine, case: Case) -> object:
    return _hex_rows(engine.extend(_blob(case)))


def compute_cells_and_kzg_proofs(engine: Engine, case: Case) -> object:
    return _hex_rows(*engine.prove(_blob(case)))


def recover_cells_and_kzg_proofs(engine: Engine, case: Case) -> object:
    known = _matrix("cells", case["cells"], 2048)[np.newaxis]
    cells, proofs = engine.recover_with_proofs(case["cell_indices"], known)
    assert (engine.recover(case["cell_indices"], known) == cells).all()
    return _hex_rows(cells, proofs)


def verify_cell_kzg_proof_batch(engine: Engine, case: Case) -> object:
    return engine.verify_cells(
        _matrix("commitments", case["commitments"], 48),
        case["cell_indices"],
        _matrix("cells", case["cells"], 2048),
        _matrix("proofs", case["proofs"], 48),
    )


def compute_kzg_proof(engine: Engine, case: Case) -> object:
    opening = open_point(_blob(case)[0], _raw(case["z"]))
    return [_hex(opening.proof), _hex(opening.y)]


def verify_kzg_proof_(engine: Engine, case: Case) -> object:
    return verify_kzg_proof(*(_raw(case[name]) for name in ("commitment", "z", "y", "proof")))


def compute_blob_kzg_proof(engine: Engine, case: Case) -> object:
    commitment = _raw(case["commitment"])
    decode_points("commitment", [commitment])
    blob = _blob(case)[0]
    challenge = compute_challenge(blob.tobytes(), commitment)
    return _hex(open_point(blob, challenge, commitment=commitment).proof)


def verify_blob_kzg_proof(engine: Engine, case: Case) -> object:
    commitment, proof, blob = _raw(case["commitment"]), _raw(case["proof"]), _blob(case)[0]
    decode_points("point", [commitment, proof])
    opening = open_point(blob, compute_challenge(blob.tobytes(), commitment), commitment=commitment)
    return verify_kzg_proof(commitment, opening.z, opening.y, proof)


def verify_blob_kzg_proof_batch(engine: Engine, case: Case) -> object:
    counts = {name: len(case[name]) for name in ("blobs", "commitments", "proofs")}
    for name, count in counts.items():
        if count != counts["blobs"]:
            raise LengthMismatch(name, count, counts["blobs"])
    names = ("blob", "commitment", "proof")
    parts = zip(*(case[name + "s"] for name in names), strict=True)
    # every case is looked at: a malformed one is an error even where another is wrong
    answers = [verify_blob_kzg_proof(engine, dict(zip(names, part, strict=True))) for part in parts]
    return all(answers)


def compute_challenge_(engine: Engine, case: Case) -> object:
    return _hex(compute_challenge(_raw(case["blob"]), _raw(case["commitment"])).to_bytes(32, "big"))


def compute_verify_cell_kzg_proof_batch_challenge_(engine: Engine, case: Case) -> object:
    challenge = compute_verify_cell_kzg_proof_batch_challenge(
        [_raw(commitment) for commitment in case["commitments"]],
        case["commitment_indices"],
        case["cell_indices"],
        [
            elements_to_array([int(element, 16) for element in cell]).tobytes()
            for cell in case["cosets_evals"]
        ],
        [_raw(proof) for proof in case["proofs"]],
    )
    return _hex(challenge.to_bytes(32, "big"))


HANDLERS: list[tuple[Callable[[Engine, Case], object], int]] = [
    (blob_to_kzg_commitment, 11),
    (compute_blob_kzg_proof, 15),
    (compute_cells, 11),
    (compute_cells_and_kzg_proofs, 11),
    (compute_challenge_, 9),
    (compute_kzg_proof, 52),
    (compute_verify_cell_kzg_proof_batch_challenge_, 10),
    (recover_cells_and_kzg_proofs, 18),
    (verify_blob_kzg_proof, 29),
    (verify_blob_kzg_proof_batch, 24),
    (verify_cell_kzg_proof_batch, 32),
    (verify_kzg_proof_, 122),
]


def _cases(directory: Path) -> Iterator[tuple[str, Case, object]]:
    for path in sorted(directory.glob("kzg-mainnet/*/data.yaml")):
        with path.open("rb") as file:
            data = yaml.load(file, Loader=yaml.CSafeLoader)
        yield path.parent.name, data["input"], data["output"]


def test_the_list_of_handlers_is_complete(official_vectors: Path) -> None:
    folders = {path.name for path in official_vectors.iterdir() if path.is_dir()}
    assert folders == {handler.__name__.removesuffix("_") for handler, _ in HANDLERS}
    assert sum(count for _, count in HANDLERS) == 344


@pytest.mark.parametrize(
    ("handler", "count"), HANDLERS, ids=[handler.__name__.removesuffix("_") for handler, _ in HANDLERS]
)
def test_official_cases(
    engine, official_vectors: Path, handler: Callable[[Engine, Case], object], count: int
) -> None:
    check(engine, official_vectors / handler.__name__.removesuffix("_"), handler, count)


def test_official_cells_without_an_engine(official_vectors: Path) -> None:
    """Each cell's commitment as a data row of its own."""

    def folded(engine: object, case: Case) -> object:
        commitments = _matrix("commitments", case["commitments"], 48)
        cells, proofs = _matrix("cells", case["cells"], 2048), _matrix("proofs", case["proofs"], 48)
        return verify_matrix_cells(
            None, commitments, range(len(commitments)), case["cell_indices"], cells, proofs
        )

    check(None, official_vectors / "verify_cell_kzg_proof_batch", folded, 32)


def check(engine: object, folder: Path, handler: Callable[..., object], count: int) -> None:
    """Every case of the folder gives its output, or a KzgError where that is null."""
    wrong = []
    found = 0
    for name, case, expected in _cases(folder):
        found += 1
        try:
            answer = handler(engine, case)
        except KzgError as error:
            if expected is not None:
                wrong.append(f"{name}: {error!r}")
        else:
            if answer != expected or expected is None:
                wrong.append(f"{name}: answered {str(answer)[:80]}, expected {str(expected)[:80]}")
    assert not wrong, "\n".join(wrong)
    assert found == count
