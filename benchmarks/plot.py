"""Pictures for the document: `python -m benchmarks.plot OUT.svg RESULT.json ...` draws one again.

A result is what `python -m benchmarks --json` or `benchmarks/gpu.sh` wrote; lines of several machines come
into one picture.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

Points = Sequence[tuple[float, float]]

BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Rows of the batches whose speed is drawn."""

# Distinct without colours, too (Okabe and Ito): https://jfly.uni-koeln.de/color/
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P")


@dataclass(frozen=True)
class Plot:
    """Lines over a batch's rows, both axes logarithmic. `caption` says where and when it was measured."""

    name: str
    title: str
    x: str
    y: str
    caption: str
    series: dict[str, Points]

    def joined(self, other: Plot) -> Plot:
        """Both plots' lines; this one's where both have one of that name."""
        caption = "\n".join(dict.fromkeys((self.caption, other.caption)))
        return Plot(self.name, self.title, self.x, self.y, caption, {**other.series, **self.series})

    def as_json(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, object]) -> Self:
        return cls(**value)  # type: ignore[arg-type]

    def svg(self) -> str:
        """On a white ground of its own, so that it reads on dark pages, too; letters stay letters."""
        import matplotlib as mpl
        from matplotlib.figure import Figure
        from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, StrMethodFormatter

        settings: dict[Any, Any] = {
            "svg.fonttype": "none",
            "svg.hashsalt": self.name,
            "font.family": "sans-serif",
        }
        with mpl.rc_context(settings):
            figure = Figure(figsize=(7.2, 4.8), layout="constrained", facecolor="white")
            axes = figure.add_subplot(xscale="log", yscale="log")
            axes.set_title(self.title, fontsize=11, loc="left")
            axes.set_xlabel(self.x)
            axes.set_ylabel(self.y)
            for i, (label, points) in enumerate(self.series.items()):
                colour, marker = _COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)]
                x, y = zip(*points, strict=True)
                axes.plot(x, y, label=label, color=colour, marker=marker, markersize=5, linewidth=1.6)
            ticks = sorted({x for points in self.series.values() for x, _ in points})
            axes.xaxis.set_major_locator(FixedLocator(ticks))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_minor_locator(NullLocator())
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
            axes.grid(visible=True, color="#dddddd", linewidth=0.8)
            axes.set_axisbelow(True)
            for side in ("top", "right"):
                axes.spines[side].set_visible(False)
            figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=9)
            figure.supxlabel(self.caption, fontsize=7.5, color="#555555", x=0.01, ha="left")
            out = io.StringIO()
            figure.savefig(out, format="svg", metadata={"Date": None, "Title": self.title})
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def rows_per_second(series: dict[str, Points], caption: str) -> Plot:
    """The speed of proving, of each engine."""
    return Plot(
        "engine_rows_per_second",
        "Cells and proofs: rows a second",
        "rows in a batch",
        "rows a second",
        caption,
        series,
    )


def plots_in(value: object) -> Iterator[Plot]:
    """All plots of a result, wherever they are in it."""
    if isinstance(value, dict):
        if "series" in value:
            yield Plot.from_json(value)
        else:
            for part in value.values():
                yield from plots_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from plots_in(part)


def main() -> None:
    """Draw the lines of all results in one picture."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("output", type=Path, help="SVG file to write")
    parser.add_argument(
        "results", type=Path, nargs="+", help="JSON files with results; the first has precedence"
    )
    arguments = parser.parse_args()
    plots = [plot for path in arguments.results for plot in plots_in(json.loads(path.read_text()))]
    if not plots:
        parser.error("none of these results has a plot")
    arguments.output.write_text(functools.reduce(Plot.joined, plots).svg())


if __name__ == "__main__":
    main()
