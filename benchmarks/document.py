"""Tables and pictures into docs/benchmarks.md, between the markers with their titles.

A table goes where the document says `<!-- table: TITLE -->` ... `<!-- end -->`; one without such a place is
left out.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from benchmarks.measure import Table

DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def filled(text: str, tables: Iterable[Table]) -> str:
    """The document with these tables in their places."""

    def put(text: str, table: Table) -> str:
        begin = f"<!-- table: {table.title} -->\n"
        place = re.compile(re.escape(begin) + ".*?(?=<!-- end -->)", re.DOTALL)
        return place.sub(lambda _: f"{begin}\n{table.markdown(heading=False)}\n\n", text)

    return functools.reduce(put, tables, text)


def write(tables: Iterable[Table], document: Path = DOCUMENT) -> None:
    """Fill the document, and draw each table's picture into the folder `images` beside it."""
    tables = list(tables)
    document.write_text(filled(document.read_text(), tables))
    images = document.parent / "images"
    for table in tables:
        if table.plot is not None:
            images.mkdir(exist_ok=True)
            (images / f"{table.plot.name}.svg").write_text(table.plot.svg())
