"""The reference pages against the code: every route, every error with its status."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from starlette.routing import Route

from da.api import browsing
from da.api.app import STATUS, create_app
from da.protocol import errors as protocol_errors
from da.settings import Settings

REFERENCE = Path(__file__).resolve().parents[3] / "docs" / "reference"
# Error names that no exception class has.
NAMES_ON_THE_WIRE_ONLY = {"HeadTooSlow", "HeadTooLarge", "InvalidHttp", "InternalError"}


def test_every_route_is_in_the_docs(node, make_settings: Callable[..., Settings]) -> None:
    documented = set(
        re.findall(r"^### `(\w+ /[^`]*)`", (REFERENCE / "http.md").read_text("utf-8"), re.MULTILINE)
    )
    settings = make_settings()
    node.config = settings.node
    app = create_app(node, settings.http, settings.tokens)
    schema = app.openapi()["paths"]
    real = {f"{method.upper()} {path}" for path, methods in schema.items() for method in methods}
    # Routes that the schema leaves out: plain ones, and those of the page that shows it.
    left_out = [route for route in app.router.routes if type(route) is Route] + browsing.router.routes
    real |= {f"GET {route.path}" for route in left_out if isinstance(route, Route)}
    assert documented == real


def test_every_error_is_in_the_docs_with_its_status() -> None:
    text = (REFERENCE / "errors.md").read_text("utf-8")
    rows: dict[str, str] = {}
    for names, status in re.findall(r"^\| (`[A-Z].+?) \| (\d+[^|]*) \|", text, re.MULTILINE):
        rows |= dict.fromkeys(re.findall(r"`(\w+)`", names), status)
    for cls, status in STATUS.items():
        if cls is protocol_errors.ProtocolError:
            continue
        assert cls.__name__ in rows, cls.__name__
        assert rows[cls.__name__].startswith(str(status)), cls.__name__
    assert set(rows) - {cls.__name__ for cls in STATUS} == NAMES_ON_THE_WIRE_ONLY


def test_every_protocol_error_is_in_the_docs() -> None:
    text = (REFERENCE / "errors.md").read_text("utf-8")
    for name, cls in vars(protocol_errors).items():
        if (
            isinstance(cls, type)
            and issubclass(cls, protocol_errors.ProtocolError)
            and not name.startswith("_")
        ):
            assert f"`{name}`" in text, name
