"""Samples belong to the stage whose functions are on their stack."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.stages import ELSEWHERE, OUTSIDE, STAGES, stage_of

RULES = (("adding", ("Table::multiply", "accumulate")), ("the rest of it", ("Table::multiply",)))


@pytest.mark.parametrize(
    ("stack", "stage"),
    [
        (["mul(Fp)", "bool accumulate<Fp>()", "ns::Table::multiply(int) const"], "adding"),
        (["mul(Fp)", "ns::Table::multiply(int) const", "prove()"], "the rest of it"),
        (["bool accumulate<Fp>()", "prove()"], ELSEWHERE),
        ([], OUTSIDE),
    ],
)
def test_the_first_stage_with_all_functions_is_taken(stack: list[str], stage: str) -> None:
    assert stage_of(stack, RULES) == stage


def test_every_function_of_a_stage_is_one_of_the_engine() -> None:
    host = Path(__file__).parents[2] / "gpu"
    source = "".join(path.read_text() for path in [*host.glob("host/*.hpp"), *host.glob("kernels/*.cuh")])
    names = {name for rules in STAGES.values() for _, functions in rules for name in functions}
    for name in names:
        for part in name.split("::"):
            assert part in source, name
