from __future__ import annotations

import inspect

import pytest

import kzg
from kzg import errors

LEAVES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == "kzg.errors"
]


def test_public_names_are_listed_and_sorted() -> None:
    public = {
        name for name, value in vars(kzg).items() if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public - {"annotations"} == set(kzg.__all__)
    assert list(kzg.__all__) == sorted(kzg.__all__, key=lambda name: name)


@pytest.mark.parametrize("error", LEAVES)
def test_every_error_is_public_and_drawn_in_the_tree(error: type[Exception]) -> None:
    assert error.__name__ in kzg.__all__
    assert error.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize("error", LEAVES)
def test_errors_distinguish_caller_mistakes_from_engine_failures(error: type[Exception]) -> None:
    caller = issubclass(error, errors.KzgError)
    assert issubclass(error, ValueError) is caller
    assert issubclass(error, RuntimeError) is not caller
