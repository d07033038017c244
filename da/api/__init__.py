"""The HTTP API of a node: routes, wire models, body limits and the table of errors."""
