"""How the demonstration's lines look on terminals of several widths, and in a pipe."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from da.demo.narrator import Narrator

_TEXT = "5 x 128 cells with 640 KZG proofs, 1,341,440 bytes; 5 parity rows below it, never stored"


def _printed(width: int, *, terminal: bool) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, color_system=None)
    Narrator(console).fact("matrix extended", _TEXT, 0.44)
    return [line.rstrip() for line in file.getvalue().replace("\N{NO-BREAK SPACE}", " ").splitlines()]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_narrow_terminal_breaks_between_words_and_indents(width: int) -> None:
    lines = _printed(width, terminal=True)
    assert len(lines) > 1
    assert all(len(line) <= width for line in lines)
    assert all(line.startswith(" " * 24) for line in lines[1:])
    assert " ".join(" ".join(lines).split()) == f"* matrix extended {_TEXT} 0.44 s"


@pytest.mark.parametrize(("width", "terminal"), [(160, True), (40, False)])
def test_a_wide_terminal_and_a_pipe_get_one_line(width: int, terminal: bool) -> None:
    assert _printed(width, terminal=terminal) == [f"  * matrix extended     {_TEXT}  0.44 s"]
