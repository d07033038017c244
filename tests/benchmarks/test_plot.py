"""The picture is one that readers can open, and says what is in it."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import plot
from benchmarks.plot import Plot

LINES = {f"engine {i}": tuple((2**k, 1.0 + k * i) for k in range(9)) for i in range(6)}
PLOT = Plot("name", "Rows a second", "rows in a batch", "rows/s", "a machine & a <date>", LINES)


def test_the_svg_is_well_formed_small_and_complete() -> None:
    text = PLOT.svg()
    root = ElementTree.fromstring(text)  # noqa: S314 (our own)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(text) < 60 * 1024
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    for word in (PLOT.title, PLOT.x, PLOT.y, PLOT.caption, *LINES, "256"):
        assert word in words


def test_the_same_figures_give_the_same_svg() -> None:
    assert PLOT.svg() == PLOT.svg()


def test_results_of_two_machines_come_into_one_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Plot("name", "another title", "x", "y", "a GPU", {"cuda": ((1, 10), (2, 20)), "engine 0": ()})
    first, second, out = tmp_path / "a.json", tmp_path / "b.json", tmp_path / "out.svg"
    first.write_text(json.dumps({"sections": {"engine": [{"raw": PLOT.as_json()}, {"raw": None}]}}))
    second.write_text(json.dumps({"plot": other.as_json()}))
    monkeypatch.setattr("sys.argv", ["plot", str(out), str(first), str(second)])
    plot.main()
    text = out.read_text()
    for word in (PLOT.title, "cuda", "engine 0", "a machine", "a GPU"):
        assert word in text
    assert "another title" not in text


def test_results_without_a_plot_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = tmp_path / "a.json"
    result.write_text("[]")
    monkeypatch.setattr("sys.argv", ["plot", str(tmp_path / "out.svg"), str(result)])
    with pytest.raises(SystemExit):
        plot.main()
