"""A small picture of the matrix: the positions and states of the samples.

The idea: a grid of at most `WIDTH` x `HEIGHT` blocks, each standing for some rows and columns of the 2R x 128
matrix. A block shows the worst state among the samples in it, or else the quarter of the matrix it is in:
data, row extension, parity rows. Two grid rows share one line of text, as the upper and lower half of a
block character. Without colour, one letter stands for one block.

Does not: print. It returns rich Text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import ceil

from rich.text import Text

from erasure.constants import CELLS_PER_BLOB, CELLS_PER_EXT_BLOB
from sampling import Coordinates, SampleState

WIDTH = 64
HEIGHT = 32

_COLUMNS_PER_BLOCK = CELLS_PER_EXT_BLOB // WIDTH
_HALF_BLOCK = "▀"

# Worst first: a block with several samples shows the first of these states that occurs.
_STATES = (
    (SampleState.WITHHELD, "red", "x"),
    (SampleState.UNREACHED, "yellow", "?"),
    (SampleState.WAITING, "yellow", "?"),
    (SampleState.IN_FLIGHT, "bright_blue", "-"),
    (SampleState.RECEIVED, "cyan", "+"),
    (SampleState.VALID, "green", "o"),
)
# Three greys that differ on a terminal with 16 colours.
_DATA, _EXTENSION, _PARITY = ("grey58", "."), ("grey35", ":"), ("grey15", ",")


def draw_matrix(rows: int, cells: Iterable[tuple[Coordinates, SampleState]], *, colour: bool = True) -> Text:
    """The picture, one line of text for two rows of blocks (or for one, without colour).

    Args:
        rows: data rows R; the matrix has 2R.
        cells: the sampled cells and their states.
    """
    blocks = list(_blocks(rows, cells))
    text = Text()
    if not colour:
        for line in blocks:
            text.append("".join(letter for _, letter in line) + "\n")
        return text
    for upper, lower in zip(blocks[::2], blocks[1::2], strict=True):
        for (foreground, _), (background, _) in zip(upper, lower, strict=True):
            text.append(_HALF_BLOCK, style=f"{foreground} on {background}")
        text.append("\n")
    return text


def draw_columns(known: Mapping[int, SampleState], *, colour: bool = True) -> Text:
    """The 128 columns in two lines of 64: the data, then the rows' extension.

    Args:
        known: by column, what is known of it; the others were not asked for.
    """
    styles = {state: (style, letter) for state, style, letter in _STATES}
    text = Text()
    for first, blank in ((0, _DATA), (CELLS_PER_BLOB, _EXTENSION)):
        for column in range(first, first + CELLS_PER_BLOB):
            style, letter = styles[known[column]] if column in known else blank
            text.append("█" if colour else letter, style=style if colour else "")
        text.append("\n")
    return text


def legend(mode: str = "cells", *, colour: bool = True) -> Text:
    """The legend of the picture's colours or letters."""
    text = Text()
    blanks = [(_DATA, "data"), (_EXTENSION, "row extension"), (_PARITY, "parity rows")]
    if mode == "folds":
        blanks = [(_DATA, "data columns, not asked for"), (_EXTENSION, "extension, not asked for")]
    shown = [
        *blanks,
        *(((style, letter), state) for state, style, letter in _STATES if state in _LEGEND_STATES),
    ]
    for (style, letter), meaning in shown:
        if colour:
            text.append("■ ", style=style)
        else:
            text.append(f"{letter} ")
        text.append(f"{meaning}  ")
    text.rstrip()
    return text


_LEGEND_STATES = (SampleState.VALID, SampleState.WITHHELD, SampleState.UNREACHED)


def _blocks(rows: int, cells: Iterable[tuple[Coordinates, SampleState]]) -> Iterator[list[tuple[str, str]]]:
    """Rows of blocks as (style, letter); an even number of rows, the upper half of them data."""
    rows_per_block = ceil(2 * rows / HEIGHT)
    rank = {state: (place, style, letter) for place, (state, style, letter) in enumerate(_STATES)}
    worst: dict[tuple[int, int], tuple[int, str, str]] = {}
    half = ceil(rows / rows_per_block)
    for cell, state in cells:
        # Data and parity rows are grouped separately, so that no block contains both.
        parity, row = divmod(cell.row, rows)
        block = (parity * half + row // rows_per_block, cell.column // _COLUMNS_PER_BLOCK)
        worst[block] = min(worst.get(block, rank[state]), rank[state])
    for block_row in range(2 * half):
        line = []
        for block_column in range(WIDTH):
            found = worst.get((block_row, block_column))
            if found is not None:
                line.append(found[1:])
            elif block_row >= half:
                line.append(_PARITY)
            else:
                data = block_column * _COLUMNS_PER_BLOCK < CELLS_PER_BLOB
                line.append(_DATA if data else _EXTENSION)
        yield line
