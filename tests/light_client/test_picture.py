"""The picture: size, place and colour of what is drawn."""

from __future__ import annotations

import pytest

from light_client.picture import HEIGHT, WIDTH, draw_matrix, legend
from sampling import Coordinates, SampleState


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 15, 16, 17, 31, 100, 255, 256])
def test_the_picture_fits_a_terminal_and_shows_both_halves(rows: int) -> None:
    lines = draw_matrix(rows, [], colour=False).plain.splitlines()
    assert len(lines) <= HEIGHT
    assert len(lines) % 2 == 0
    assert {len(line) for line in lines} == {WIDTH}
    half = len(lines) // 2
    assert set(lines[:half]) == {"." * (WIDTH // 2) + ":" * (WIDTH // 2)}
    assert set(lines[half:]) == {"," * WIDTH}
    assert len(draw_matrix(rows, []).plain.splitlines()) == half


@pytest.mark.parametrize("rows", [1, 3, 16, 17, 256])
def test_each_corner_is_where_it_belongs(rows: int) -> None:
    corners = [Coordinates(row, column) for row in (0, rows - 1, rows, 2 * rows - 1) for column in (0, 127)]
    lines = draw_matrix(
        rows, [(cell, SampleState.VALID) for cell in corners], colour=False
    ).plain.splitlines()
    half = len(lines) // 2
    for line in (0, half - 1, half, 2 * half - 1):
        assert (lines[line][0], lines[line][-1]) == ("o", "o")


def test_the_worst_state_of_a_block_shows() -> None:
    block = [(Coordinates(0, 0), SampleState.VALID), (Coordinates(0, 1), SampleState.WITHHELD)]
    assert draw_matrix(5, block, colour=False).plain[0] == "x"
    assert draw_matrix(5, block[::-1], colour=False).plain[0] == "x"
    assert draw_matrix(5, block[:1], colour=False).plain[0] == "o"
    styles = [str(span.style) for span in draw_matrix(5, block).spans]
    assert styles[0].startswith("red on ")


def test_every_state_has_a_mark() -> None:
    for state in SampleState:
        assert draw_matrix(1, [(Coordinates(0, 0), state)], colour=False).plain[0] in "ox?-+"


def test_the_legend_names_what_is_drawn() -> None:
    for colour in (True, False):
        for word in ("data", "row extension", "parity rows", "valid", "withheld", "unreached"):
            assert word in legend(colour=colour).plain
