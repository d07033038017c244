"""Posting rights: who, where, how fast."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from da.protocol import namespace as namespaces
from da.tokens import (
    BurstTooSmall,
    ByteBucket,
    Grant,
    MissingToken,
    NamespaceForbidden,
    PostingClosed,
    PostingRights,
    RateExceeded,
    TokenConfig,
    UnknownToken,
    covers,
    new_token,
    settings_block,
    token_digest,
)

NAMESPACE = namespaces.parse("rollup-a")


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def entry(token: str, **changes: object) -> TokenConfig:
    values: dict[str, object] = {
        "name": "a",
        "sha256": token_digest(token),
        "namespaces": ("rollup-a",),
        "bytes_per_second": 10,
        "burst_bytes": 100,
    }
    return TokenConfig(**{**values, **changes})  # type: ignore[arg-type]


def test_a_token_is_known_by_its_hash_alone() -> None:
    token = new_token()
    settings = entry(token)
    assert token not in repr(settings)
    assert PostingRights([settings]).grant(token, NAMESPACE).token_name == "a"
    with pytest.raises(UnknownToken):
        PostingRights([settings]).grant(token[:-1], NAMESPACE)
    with pytest.raises(UnknownToken):
        PostingRights([settings]).grant("\udcff", NAMESPACE)


def test_each_token_has_rights_of_its_own() -> None:
    rights = PostingRights([entry("one"), entry("two", name="b", namespaces=("rollup-b",))])
    assert rights.grant("one", NAMESPACE).token_name == "a"
    with pytest.raises(NamespaceForbidden) as caught:
        rights.grant("two", NAMESPACE)
    assert (caught.value.token_name, caught.value.namespace) == ("b", "rollup-a")


def test_without_a_token() -> None:
    with pytest.raises(MissingToken):
        PostingRights([entry("one")]).grant(None, NAMESPACE)
    with pytest.raises(PostingClosed):
        PostingRights([]).grant(None, NAMESPACE)
    assert PostingRights([], open_posting=True).grant(None, NAMESPACE) == Grant(None, None)


def test_a_wrong_token_is_told_so_on_an_open_node_too() -> None:
    with pytest.raises(UnknownToken):
        PostingRights([], open_posting=True).grant("wrong", NAMESPACE)


@pytest.mark.parametrize(
    ("pattern", "name", "covered"),
    [
        ("rollup-a", "rollup-a", True),
        ("rollup-a", "rollup-ab", False),
        ("rollup-*", "rollup-ab", True),
        ("rollup-*", "rollup", False),
        ("*", "anything", True),
        ("*", "0x" + "11" * 32, True),
        ("0*", "0-rollup", True),
        ("0*", "anything", False),
        ("0*", "0x" + "11" * 32, False),
        ("0x*", "anything", True),
        ("0x" + "11" * 32, "0x" + "11" * 32, True),
        ("0x" + "11" * 32, "0x" + "12" * 32, False),
        ("0x11*", "0x" + "11" * 32, True),
        ("0x726f6c6c75702d61" + "00" * 24, "rollup-a", True),
        ("", "rollup-a", False),
        ("r?llup-a", "rollup-a", False),
    ],
)
def test_patterns_cover_exact_labels_and_prefixes(pattern: str, name: str, covered: bool) -> None:
    assert covers(pattern, namespaces.parse(name)) is covered


def test_the_rate_is_a_bucket_that_names_the_time_to_wait() -> None:
    clock = Clock()
    rights = PostingRights([entry("one")], clock=clock)
    grant = rights.grant("one", NAMESPACE)
    rights.meter(grant)(100)
    for refuse in (rights.check, lambda grant, length: rights.meter(grant)(length)):
        with pytest.raises(RateExceeded) as caught:
            refuse(grant, 50)
        assert caught.value.retry_after_s == 5
    clock.now_s += 4.9
    with pytest.raises(RateExceeded):
        rights.check(grant, 50)
    clock.now_s += 0.1
    rights.check(grant, 50)
    rights.meter(grant)(50)
    with pytest.raises(RateExceeded):
        rights.meter(grant)(1)


def test_a_post_is_charged_piece_by_piece_and_only_what_came() -> None:
    clock = Clock()
    rights = PostingRights([entry("one")], clock=clock)
    grant = rights.grant("one", NAMESPACE)
    rights.check(grant, 100)  # what is announced costs nothing
    meter = rights.meter(grant)
    meter(30)
    meter(30)
    rights.check(grant, 40)
    with pytest.raises(RateExceeded):
        rights.check(grant, 41)
    clock.now_s += 10.0
    meter(40)
    with pytest.raises(BurstTooSmall):
        meter(1)


def test_the_bucket_is_the_tokens_not_the_requests() -> None:
    clock = Clock()
    rights = PostingRights([entry("one"), entry("two", name="b")], clock=clock)
    rights.meter(rights.grant("one", NAMESPACE))(100)
    with pytest.raises(RateExceeded):
        rights.check(rights.grant("one", NAMESPACE), 100)
    rights.check(rights.grant("two", NAMESPACE), 100)


def test_more_than_the_burst_is_never_taken() -> None:
    rights = PostingRights([entry("one")], clock=Clock())
    with pytest.raises(BurstTooSmall) as caught:
        rights.check(rights.grant("one", NAMESPACE), 101)
    assert (caught.value.length, caught.value.burst_bytes) == (101, 100)
    rights.check(rights.grant("one", NAMESPACE), 100)


def test_a_clock_that_steps_back_drains_nothing() -> None:
    bucket = ByteBucket(100, 10, 1000.0)
    assert bucket.take(40, 1000.0) == 0.0
    assert bucket.take(60, 900.0) == 0.0


@given(
    st.integers(1, 1000),
    st.integers(1, 1000),
    st.lists(st.tuples(st.floats(0, 20), st.integers(0, 1500)), max_size=50),
)
def test_no_window_passes_more_than_burst_and_rate(
    capacity: int, rate: int, posts: list[tuple[float, int]]
) -> None:
    """In any stretch of time at most the burst and the rate times its length are taken."""
    bucket = ByteBucket(capacity, rate, 0.0)
    now_s, taken = 0.0, []
    for pause_s, amount in posts:
        now_s += pause_s
        wait_s = bucket.take(amount, now_s)
        if wait_s == 0.0:
            taken.append((now_s, amount))
        else:
            assert wait_s > 0
    for first in range(len(taken)):
        total = 0
        for at_s, amount in taken[first:]:
            total += amount
            assert total <= capacity + rate * (at_s - taken[first][0]) + 1e-6


def test_the_printed_block_admits_the_token() -> None:
    token = new_token()
    block = settings_block(token, "rollup", ["rollup-*", "other"], 5, 6)
    assert token not in block
    (table,) = tomllib.loads(block)["tokens"]
    settings = TokenConfig(**table)
    assert (settings.bytes_per_second, settings.burst_bytes) == (5, 6)
    assert PostingRights([settings]).grant(token, namespaces.parse("rollup-z")).token_name == "rollup"


def test_tokens_differ() -> None:
    assert len({new_token() for _ in range(100)}) == 100
