"""Messages and docs use plain words: errors, log lines, help texts, descriptions of settings, pages.

Operators search for these texts and rollups show them to their users, so this test keeps out words that
readers stumble over.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("da", "light_client", "kzg", "erasure", "gpu", "sampling")
COMMANDS = ("da/commands/", "da/cli.py", "light_client/cli.py")  # their docstrings are help texts
AVOIDED = {
    "anew": "again",
    "for ever": "permanently, indefinitely, or leave it out",
    "forever": "permanently, indefinitely, or leave it out",
    "tell": "report, log, read, serve or distinguish",
    "tells": "reports, logs, reads, serves or distinguishes",
    "told": "reported, logged, read, served or distinguished",
    "as it stands": "leave it out",
    "cannot be meant": "is invalid",
    "whole road": "end to end",
    "error of its own": "internal error",
    "nobody": "no peer, no member, or another named subject",
    "lest": "so that ... not",
    "whence": "from which",
    "thereof": "of it",
}
_AVOIDED = re.compile(rf"\b({'|'.join(map(re.escape, AVOIDED))})\b", re.IGNORECASE)

_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def messages(source: str, *, docstrings: bool) -> Iterator[tuple[int, str]]:
    """Line and text of each string literal of several words; an f-string's values are left out.

    Every literal counts, not only those in `raise`, log calls and `help=`: many messages are built elsewhere.
    """
    tree = ast.parse(source)
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, _Documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if " " in node.value.strip() and (docstrings or id(node) not in documentation):
            yield node.lineno, " ".join(node.value.split())


def found_in(name: str) -> list[str]:
    """The messages of a file that have a word to avoid, each with what to write instead."""
    source = (ROOT / name).read_text(encoding="utf-8")
    texts = (
        messages(source, docstrings=name.startswith(COMMANDS))
        if name.endswith(".py")
        else enumerate(source.splitlines(), 1)
    )
    return [
        f'{name}:{line}: write {AVOIDED[match[0].lower()]} for "{match[0]}": {text}'
        for line, text in texts
        for match in [_AVOIDED.search(text)]
        if match is not None
    ]


SOURCES = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
FILES = sorted(path.relative_to(ROOT).as_posix() for path in (*SOURCES, *PAGES))


@pytest.mark.parametrize("name", FILES)
def test_messages_use_plain_words(name: str) -> None:
    assert found_in(name) == []


@pytest.mark.parametrize(
    ("code", "texts"),
    [
        ('raise ValueError("the index is made anew")', ["the index is made anew"]),
        ('raise ValueError(f"{name} was told")', [" was told"]),
        ('log.warning("nobody has heights %d to %d", 1, 4)', ["nobody has heights %d to %d"]),
        ('Option(help="Wait for ever.")', ["Wait for ever."]),
        ('Field(description="Everything it\\nis told.")', ["Everything it is told."]),
        ('def f():\n    """Told apart."""', []),
        ('retold = "foretold"', []),
    ],
)
def test_the_walk_finds_each_kind_of_message(code: str, texts: list[str]) -> None:
    found = [text for _, text in messages(code, docstrings=False) if _AVOIDED.search(text)]
    assert found == [text.strip() for text in texts]
