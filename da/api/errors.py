"""Errors that belong to HTTP itself: what the request was, not what the node knows.

ApiError
├── InvalidParameter(parameter)      a path or query parameter, or a JSON body, that cannot be read
├── UnsupportedMediaType             a body of another type, or a compressed one
├── InvalidContentLength             a Content-Length that is no number
├── BodyTooLarge(limit_bytes)        more bytes than the route takes, said or sent
├── BodyTooSlow(received_bytes)      the sender is slower than the settings allow
├── TruncatedBody(received_bytes)    the sender stopped before the end
├── Overloaded(retry_after_s)        no memory, no connection or no stream free for this request
├── TooManyFromAddress(retry_after_s)  one address has all that one address may
├── RouteNotFound                    no such route
└── MethodNotAllowed                 the route exists, the method does not

da/api/app.py gives each its status. Fields become members of the JSON body.
"""

from __future__ import annotations


class ApiError(Exception):
    """Base of the errors that HTTP handling itself raises."""


class InvalidParameter(ApiError):
    """A parameter of the request cannot be read."""

    def __init__(self, message: str, *, parameter: str) -> None:
        super().__init__(message)
        self.parameter = parameter


class UnsupportedMediaType(ApiError):
    """The body has a content type that the route does not take."""


class InvalidContentLength(ApiError):
    """The Content-Length header is no non-negative integer."""


class BodyTooLarge(ApiError):
    """The body is longer than the route takes."""

    def __init__(self, message: str, *, limit_bytes: int) -> None:
        super().__init__(message)
        self.limit_bytes = limit_bytes


class BodyTooSlow(ApiError):
    """The body came more slowly than the settings allow."""

    def __init__(self, message: str, *, received_bytes: int) -> None:
        super().__init__(message)
        self.received_bytes = received_bytes


class TruncatedBody(ApiError):
    """The body ended before its declared length."""

    def __init__(self, message: str, *, received_bytes: int) -> None:
        super().__init__(message)
        self.received_bytes = received_bytes


class Overloaded(ApiError):
    """A bounded resource of the node is in use; the same request may succeed later."""

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooManyFromAddress(ApiError):
    """The sender's address has all that one address may have of something; others are served."""

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RouteNotFound(ApiError):
    """No route has this path."""


class MethodNotAllowed(ApiError):
    """The route exists, but not with this method."""
