from __future__ import annotations

import hashlib
import runpy
from importlib import resources
from pathlib import Path

import pytest
from py_arkworks_bls12381 import G1Point, G2Point

from kzg import trusted_setup
from kzg.errors import TrustedSetupError
from kzg.points import linear_combination

ROOT = Path(__file__).resolve().parents[2]


def test_its_text_is_the_ceremonys_file() -> None:
    text = trusted_setup.load().to_text()
    assert hashlib.sha256(text).hexdigest() == trusted_setup.TRUSTED_SETUP_TEXT_SHA256


def test_one_changed_byte_is_refused() -> None:
    data = bytearray(resources.files("kzg").joinpath("data", "trusted_setup.bin").read_bytes())
    assert trusted_setup.from_bytes(bytes(data)).g1_lagrange.shape == (4096, 48)
    data[-1] ^= 1
    with pytest.raises(TrustedSetupError, match="sha256"):
        trusted_setup.from_bytes(bytes(data))
    with pytest.raises(TrustedSetupError, match="bytes, got"):
        trusted_setup.from_bytes(bytes(data[:-1]))


def test_a_missing_file_is_a_typed_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(trusted_setup.resources, "files", lambda package: tmp_path)
    with pytest.raises(TrustedSetupError, match="cannot be read"):
        trusted_setup.load.__wrapped__()


def test_points_are_the_powers_and_the_basis() -> None:
    setup = trusted_setup.load()
    assert setup.g1_monomial.shape == (4096, 48)
    assert setup.g2_monomial.shape == (65, 96)
    assert setup.g1_monomial[0].tobytes() == G1Point().to_compressed_bytes()
    assert setup.g2_monomial[0].tobytes() == G2Point().to_compressed_bytes()
    # the Lagrange polynomials sum to 1
    basis = [G1Point.from_compressed_bytes_unchecked(point.tobytes()) for point in setup.g1_lagrange]
    assert linear_combination(basis, [1] * 4096) == G1Point()


def test_bit_reversed_order() -> None:
    setup = trusted_setup.load()
    assert (setup.g1_lagrange_brp[1] == setup.g1_lagrange[2048]).all()
    assert (setup.g1_lagrange_brp[6] == setup.g1_lagrange[0b011000000000]).all()


def test_arrays_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        trusted_setup.load().g1_lagrange[0, 0] = 1


def test_the_script_makes_the_packaged_file() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "make_trusted_setup.py"))
    text = trusted_setup.load().to_text()
    packaged = (ROOT / "kzg" / "data" / "trusted_setup.bin").read_bytes()
    assert script["convert"](text) == packaged
    with pytest.raises(SystemExit, match="sha256"):
        script["convert"](text.replace(b"4096", b"4095", 1))
