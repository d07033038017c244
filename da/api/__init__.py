"""The HTTP API of a node: routes, wire models, body limits and the table of errors."""

from da.api.app import STATUS, create_app, status_of

__all__ = ["STATUS", "create_app", "status_of"]
