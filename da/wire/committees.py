"""Pages of the chain of committees: links as they travel, each a handover with the committee it leads to.

Invariants: `decode_page` is total: a page or an InvalidDocument for any JSON; a page has at most
LINKS_PER_PAGE links, whose old epochs ascend by one from the first.

Does not: verify anything (see da.protocol.committee_chain).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from da.protocol.codec import U64_MAX
from da.protocol.committee import MAX_COMMITTEE_JSON_BYTES
from da.protocol.committee_chain import Link
from da.protocol.fields import parse_object
from da.wire.errors import InvalidDocument

LINKS_PER_PAGE = 4
PAGE_BYTES_MAX = LINKS_PER_PAGE * MAX_COMMITTEE_JSON_BYTES


@dataclass(frozen=True, slots=True)
class LinkPage:
    """Consecutive links; `next_epoch` continues them, None at the end of the chain."""

    links: tuple[Link, ...]
    next_epoch: int | None


def encode_page(links: Sequence[Link], next_epoch: int | None) -> dict[str, object]:
    """The JSON-ready page."""
    return {"links": [link.to_value() for link in links], "next": next_epoch}


def decode_page(body: bytes, *, from_epoch: int) -> LinkPage:
    """The page that answers a question for links from an epoch on. Raises InvalidDocument."""
    fields = parse_object(body, PAGE_BYTES_MAX, InvalidDocument)
    links = tuple(Link.from_fields(each) for each in fields.objects("links", LINKS_PER_PAGE))
    next_epoch = fields.take("next", _next_epoch)
    fields.finish()
    for position, link in enumerate(links):
        expected = links[0].handover.terms.epoch + position
        if link.handover.terms.epoch != expected or expected < from_epoch:
            raise InvalidDocument(f"links[{position}]", f"is not of an epoch from {from_epoch} on, in order")
    if next_epoch is not None and (not links or next_epoch != links[-1].handover.terms.epoch + 1):
        raise InvalidDocument("next", "is not the epoch after the last link's")
    return LinkPage(links, next_epoch)


def _next_epoch(value: object) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= U64_MAX:
        raise ValueError("is not an epoch or null")
    return value
