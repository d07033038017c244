"""The catalogue's file: opened and verified, set aside when it is damaged, replaced by a new one.

The idea: everything in the catalogue can be read from the objects again, so a damaged file is moved to
quarantine, and a new one is filled from the objects.

Invariant: the machine's failures (no room, no access) are not taken for damage.

Does not: fill a catalogue (see da.store.recovery).
"""

from __future__ import annotations

from pathlib import Path

from da.store import sqlite
from da.store.base import ScrubFinding
from da.store.catalogue import Catalogue
from da.store.filesystem import Filesystem, set_aside
from da.store.objects.port import QUARANTINE

INDEX_NAME = "index.db"
_FRESH_NAME = "index.db.new"


def open_catalogue(fs: Filesystem, directory: Path) -> tuple[Catalogue, list[ScrubFinding]]:
    """A verified catalogue; a new and empty one, and a finding, when the one there cannot be trusted.

    Raises sqlite3.Error for the machine's failures (no room, no access).
    """
    path = directory / INDEX_NAME
    _remove(fs, directory / _FRESH_NAME)
    try:
        return _verified(path), []
    except sqlite.FAILURES as error:
        if not sqlite.is_damage(error):
            raise
        finding = ScrubFinding("index", INDEX_NAME, f"made again from the objects: {error}")
    for suffix in sqlite.FILE_SUFFIXES:
        damaged = path.with_name(path.name + suffix)
        if damaged.exists():
            fs.make_directory(directory / QUARANTINE)
            set_aside(fs, damaged, directory / QUARANTINE)
    return _verified(path), [finding]


def fresh_catalogue(fs: Filesystem, directory: Path) -> Catalogue:
    """A new, empty catalogue beside the one in use, for swap_catalogue once it is filled and closed."""
    path = directory / _FRESH_NAME
    _remove(fs, path)
    return Catalogue(path)


def swap_catalogue(fs: Filesystem, directory: Path) -> None:
    """Puts the fresh, closed catalogue in the place of the old, closed one, durably."""
    path = directory / INDEX_NAME
    for suffix in sqlite.FILE_SUFFIXES[1:]:
        fs.unlink(path.with_name(path.name + suffix))
    fs.rename(directory / _FRESH_NAME, path)
    fs.sync_directory(directory)


def _remove(fs: Filesystem, path: Path) -> None:
    for suffix in sqlite.FILE_SUFFIXES:
        fs.unlink(path.with_name(path.name + suffix))


def _verified(path: Path) -> Catalogue:
    catalogue = Catalogue(path)
    try:
        catalogue.verify()
    except BaseException:
        catalogue.close()
        raise
    return catalogue
