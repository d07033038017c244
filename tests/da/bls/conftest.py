"""The scheme on each library that is installed; the same tests run on all of them."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from da.bls.scheme import Scheme

LIBRARIES = {
    "blspy": ("da.bls.blspy_library", "BlspyLibrary"),
    "pyblst": ("da.bls.pyblst_library", "PyblstLibrary"),
}


def scheme_on(library: str) -> Scheme[Any, Any]:
    """The scheme on one library; the test is skipped, by name, where it is not installed."""
    pytest.importorskip(library, reason=f"{library} is not installed (blspy has no wheels for this Python)")
    module, name = LIBRARIES[library]
    return Scheme(getattr(importlib.import_module(module), name)())


@pytest.fixture(params=LIBRARIES, scope="session")
def bls(request: pytest.FixtureRequest) -> Scheme[Any, Any]:
    """The scheme, once on each library."""
    return scheme_on(request.param)
