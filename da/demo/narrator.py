"""Output of the demo on a terminal: titles, timed steps, facts.

Does not: decide anything about the demo.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

_LABEL_WIDTH = 20


class Step:
    """One running step; `done` sets the line to print, `drop` prints none."""

    def __init__(self) -> None:
        self._start_s = time.perf_counter()
        self.text: str | None = None
        self.good = True

    @property
    def elapsed_s(self) -> float:
        """Seconds since the step began."""
        return time.perf_counter() - self._start_s

    def done(self, text: str, *, good: bool = True) -> None:
        """End the step with its result; its duration is printed after it."""
        self.text, self.good = text, good

    def drop(self) -> None:
        """End the step without printing a line."""
        self.text = None


class Narrator:
    """Prints the demo's progress to a console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @property
    def stream(self) -> IO[str]:
        """The stream the output goes to, for a subprocess that writes a part of it."""
        self._console.file.flush()
        return self._console.file

    def title(self, text: str) -> None:
        """Begin a new part."""
        self._console.print()
        self._console.rule(f"[bold]{escape(text)}[/]", align="left")

    def note(self, text: str) -> None:
        """Print a dimmed line."""
        self._console.print(Text("  " + text, style="dim"))

    def fact(self, label: str, text: str, seconds: float | None = None) -> None:
        """Print a step that was measured elsewhere."""
        self._line(True, label, text, seconds)

    @contextmanager
    def step(self, label: str) -> Iterator[Step]:
        """Time a step; shows a spinner on a terminal meanwhile."""
        step = Step()
        with self._console.status(f"{label} ..."):
            yield step
        if step.text is not None:
            self._line(step.good, label, step.text, step.elapsed_s)

    def _line(self, good: bool, label: str, text: str, seconds: float | None) -> None:
        mark = ("  * ", "green") if good else ("  ! ", "bold red")
        head = Text.assemble(mark, (label.ljust(_LABEL_WIDTH), "bold"))
        body = Text(text)
        if seconds is not None:
            took = f"{seconds:.2f}" if seconds < 100 else f"{seconds:.0f}"
            gap = "\N{NO-BREAK SPACE}" if self._console.is_terminal else " "
            body.append(f"  {took}{gap}s", style="cyan")
        if not self._console.is_terminal:
            self._console.print(head + body, soft_wrap=True)
            return
        grid = Table.grid()
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(head, body)
        self._console.print(grid)
