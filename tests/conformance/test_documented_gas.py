"""The gas that docs/reference/settlement.md states is the gas that the contract uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.settlement import measure

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "settlement.md"
COLUMNS = {6: 0, 16: 1}


def documented(size: int) -> dict[str, int]:
    """The page's figures for a committee of this size, by the name of the transaction."""
    text = PAGE.read_text(encoding="utf-8").partition("## Gas")[2]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"
    ]
    found = {name: figures[COLUMNS[size]] for name, *figures in cells[2:]}
    return {name: int(figure.replace(",", "")) for name, figure in found.items() if figure != "-"}


@pytest.mark.parametrize("size", [6, pytest.param(16, marks=pytest.mark.slow)])
def test_the_page_states_the_gas_of_each_transaction(size: int) -> None:
    assert documented(size) == measure(size)
