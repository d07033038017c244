"""The package's public names and its errors."""

from __future__ import annotations

import inspect
from types import ModuleType

import erasure
from erasure import errors


def test_all_names_what_is_imported_and_is_sorted() -> None:
    public = {
        name
        for name, value in vars(erasure).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public == set(erasure.__all__)
    assert list(erasure.__all__) == sorted(erasure.__all__)


def test_every_error_is_public_and_drawn_in_the_tree() -> None:
    classes = [cls for _, cls in inspect.getmembers(errors, inspect.isclass)]
    assert errors.__doc__ is not None
    assert len(classes) == 9
    for cls in classes:
        assert issubclass(cls, ValueError)
        assert cls.__name__ in errors.__doc__
        assert getattr(erasure, cls.__name__) is cls


def test_unrecoverable_matrix_names_a_few_and_keeps_all() -> None:
    error = errors.UnrecoverableMatrix(tuple(range(20)), (5, 7))
    assert error.rows == tuple(range(20))
    assert error.columns == (5, 7)
    assert "20 rows (0, 1, 2, 3, 4, 5, 6, 7, ...) and 2 columns (5, 7)" in str(error)
