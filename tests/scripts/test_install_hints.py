"""What the programs and the docs say about installing works as printed: Cellar is on no package index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("da", "erasure", "gpu", "kzg", "light_client", "sampling", "docs", "scripts")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def texts() -> dict[Path, str]:
    files = [ROOT / "README.md"]
    for folder in PRODUCT:
        files += [path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".md", ".sh")]
    return {path: path.read_text() for path in files}


def test_each_hint_names_the_checkout_and_an_extra_that_exists():
    found = 0
    for path, text in texts().items():
        for hint in re.findall(r'pip install ((?:-[\w-]+ )*[^\s`;,")]+)', text):
            *_, target = hint.split()
            target = target.strip("'\"")
            match = re.fullmatch(r"\.(?:\[(\w+)\])?", target)
            assert match, f"{path}: pip install {hint}"
            assert match[1] is None or match[1] in EXTRAS, f"{path}: {target}"
            found += 1
    assert found >= 5


def test_nothing_names_the_package_as_if_an_index_had_it():
    for path, text in texts().items():
        assert not re.search(r"install ['\"]?cellar|cellar-da\[", text), path
