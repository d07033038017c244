"""The gas and the size that docs/reference/settlement.md states are those of the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.settlement import measure
from da.settlement.contract import SettlementContract
from da.settlement.evm import Chain
from tests.da.settlement.support import make_committee

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


def test_the_page_states_the_size_of_the_code() -> None:
    chain = Chain()
    contract = SettlementContract.create(chain, make_committee(1))
    stated = f"The code is {len(chain.code(contract.address)):,} bytes of the 24,576"
    assert stated in " ".join(PAGE.read_text(encoding="utf-8").split())


@pytest.mark.parametrize("size", [6, pytest.param(16, marks=pytest.mark.slow)])
def test_the_page_states_the_gas_of_each_transaction(size: int) -> None:
    assert documented(size) == measure(size)
