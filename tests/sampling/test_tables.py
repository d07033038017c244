"""The tables in the documentation are the ones that the code computes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sampling import tables

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "soundness.md"


@pytest.mark.parametrize(
    "name", ["samples_table", "bytes_table", "clients_table", "rescue_table", "coalition_table"]
)
def test_the_documented_table_is_the_computed_one(name: str) -> None:
    page = _PAGE.read_text(encoding="utf-8")
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- end -->", page, re.DOTALL)
    assert found, f"{name} is not in {_PAGE.name}"
    assert found[1] == getattr(tables, name)(), f"run `python -m sampling.tables` and paste {name}"
