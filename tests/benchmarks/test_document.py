"""Tables find their places in the document, and pictures their folder."""

from __future__ import annotations

from pathlib import Path

from benchmarks import document
from benchmarks.measure import Table
from benchmarks.plot import Plot

PAGE = "head\n<!-- table: One -->\nold\n<!-- end -->\nmiddle\n<!-- table: Two -->\nstays\n<!-- end -->\n"


def test_a_table_replaces_what_its_place_held() -> None:
    filled = document.filled(PAGE, [Table("One", ("a",), [(r"\1",)]), Table("Three", ("b",), [("x",)])])
    assert filled == PAGE.replace("old", "\n| a  |\n|----|\n| \\1 |\n")
    again = document.filled(filled, [Table("One", ("a",), [], "old")])
    assert again == PAGE.replace("old", "\nold\n")


def test_a_plot_is_drawn_beside_the_document(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    plot = Plot("name", "title", "x", "y", "caption", {"line": ((1, 2), (2, 3))})
    document.write([Table("One", ("a",), [("1",)], plot=plot)], page)
    assert "| 1 |" in page.read_text()
    assert (tmp_path / "images" / "name.svg").read_text() == plot.svg()


def test_the_document_has_a_place_for_every_table_of_the_engines() -> None:
    text = document.DOCUMENT.read_text()
    for title in (
        "Targets",
        "One core",
        "All cores",
        "A column",
        "Rows a second",
        "Table sizes, set-up and memory",
        "Where the time goes",
    ):
        marked = document.filled(text, [Table(title, (), [], "a mark")])
        assert f"<!-- table: {title} -->\n\na mark\n\n<!-- end -->" in marked
