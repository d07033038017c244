"""Text that others chose, made safe to log, print and keep: no control characters, one line, bounded.

A peer's words reach logs, terminals, error messages and reports. There a line feed forges a line, an escape
sequence drives the terminal, a bidirectional control reorders what is read, and a megabyte hides the rest. So
whatever is not printable (Unicode categories C and Z, except the space) is written as its Python escape.
"""

from __future__ import annotations

_CUT = "..."


def escaped(text: str, keep: str = "") -> str:
    """The text with `\\n`, `\\x1b`, `\\u202e` and the like in place of what is not printable.

    Args:
        keep: characters that stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in keep else _escape(character)
        for character in text
    )


def printable(text: str, limit: int) -> str:
    """One line of at most `limit` characters: escaped, and cut with "..." where it is longer.

    Args:
        limit: characters, at least 4.
    """
    if len(text) <= limit and text.isprintable():
        return text
    parts: list[str] = []
    size = 0  # of all parts
    fitting = 0  # parts that leave room for the mark of a cut
    for character in text:
        part = character if character.isprintable() else _escape(character)
        size += len(part)
        if size > limit:
            return "".join(parts[:fitting]) + _CUT
        parts.append(part)
        if size <= limit - len(_CUT):
            fitting = len(parts)
    return "".join(parts)


def block(text: str) -> str:
    """Several lines of our own making, such as a traceback: escaped except for line feeds and tabs."""
    return escaped(text, keep="\n\t")


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
