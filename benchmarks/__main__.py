"""`python -m benchmarks [SECTION ...]`: one document of tables, each with its peer from the same run.

Sections: engine, devnet, cells, light-client, reading, settlement; default: all. Takes about
twenty-five minutes on two idle cores, half of them for the engines.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import document
from benchmarks.measure import machine

SECTIONS = {
    "engine": "benchmarks.engine",
    "devnet": "benchmarks.devnet",
    "cells": "benchmarks.cells",
    "light-client": "benchmarks.light_client",
    "reading": "benchmarks.reading",
    "settlement": "benchmarks.settlement",
}


def main(
    sections: Annotated[
        list[str] | None, typer.Argument(help=f"Any of {', '.join(SECTIONS)}; default: all.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the tables to this file.")
    ] = None,
    docs: Annotated[
        bool, typer.Option("--docs", help="Write the tables and pictures into docs/benchmarks.md.")
    ] = False,
) -> None:
    """Measure, and print one document of tables."""
    chosen = sections or list(SECTIONS)
    unknown = [name for name in chosen if name not in SECTIONS]
    if unknown:
        raise typer.BadParameter(f"unknown section {', '.join(unknown)}; choose from {', '.join(SECTIONS)}")
    described = machine()
    print(f"{described}\n\n`python -m benchmarks {' '.join(chosen)}`", flush=True)
    found: dict[str, list[dict[str, object]]] = {}
    for name in chosen:
        # Imported when it runs: each needs different extras, and a worker process imports only its own.
        tables = importlib.import_module(SECTIONS[name]).run()
        found[name] = [table.as_json() for table in tables]
        for table in tables:
            print(f"\n{table.markdown()}", flush=True)
        if docs:
            document.write(tables)
    if json_file is not None:
        json_file.write_text(json.dumps({"machine": described, "sections": found}, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
