"""Pages of the chain of committees: what is encoded is decoded, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from da.protocol.committee_chain import CommitteeChain
from da.wire.committees import LINKS_PER_PAGE, LinkPage, decode_page, encode_page
from da.wire.errors import InvalidDocument
from tests.da.protocol.test_committee_chain import chain, parties

__all__ = ["chain", "parties"]


def encoded(chain: CommitteeChain, change: Callable[[dict[str, Any]], object] = lambda page: None) -> bytes:
    page: Any = json.loads(json.dumps(encode_page(chain.links, None)))
    change(page)
    return json.dumps(page).encode()


def test_a_page_is_read_back(chain: CommitteeChain) -> None:
    assert decode_page(encoded(chain), from_epoch=1) == LinkPage(chain.links, None)
    assert decode_page(encoded(chain, lambda page: page.update(next=3)), from_epoch=0).next_epoch == 3
    assert decode_page(b'{"links": [], "next": null}', from_epoch=7) == LinkPage((), None)


@pytest.mark.parametrize(
    "change",
    [
        lambda page: page.pop("next"),
        lambda page: page.update(next=2),
        lambda page: page.update(next=-1),
        lambda page: page.update(next=True),
        lambda page: page.update(more=1),
        lambda page: page.update(links=[], next=1),
        lambda page: page["links"].reverse(),
        lambda page: page["links"].append(page["links"][0]),
        lambda page: page.update(links=page["links"] * LINKS_PER_PAGE),
        lambda page: page["links"][0].pop("committee"),
        lambda page: page["links"][0].update(committee=[]),
        lambda page: page["links"][0]["committee"].update(epoch="2"),
        lambda page: page["links"][1].update(handover="0x00"),
    ],
)
def test_other_pages_are_refused(chain: CommitteeChain, change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(InvalidDocument):
        decode_page(encoded(chain, change), from_epoch=1)


def test_links_below_the_epoch_asked_for_are_refused(chain: CommitteeChain) -> None:
    with pytest.raises(InvalidDocument):
        decode_page(encoded(chain), from_epoch=2)
