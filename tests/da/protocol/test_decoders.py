"""Every decoder is total and canonical: any bytes give a typed error, or a value that encodes to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from da.protocol import (
    Attestation,
    Certificate,
    ColumnPush,
    Header,
    InclusionProof,
    NamespaceProof,
    PayloadEntry,
    PayloadList,
    Proposal,
    ProtocolError,
    encode_prelude,
    namespace,
)

DECODERS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        Attestation,
        Certificate,
        ColumnPush,
        Header,
        InclusionProof,
        NamespaceProof,
        PayloadEntry,
        PayloadList,
    )
}


@pytest.fixture(scope="module")
def valid(
    party: Any, batch: Any, make_list: Callable[..., Any], make_certificate: Any
) -> dict[str, list[bytes]]:
    """Valid encodings of every kind."""
    lists = [
        batch.payload_list,
        make_list([("a", 1)])[0],
        make_list([("a", 1), ("a", 2), ("b", 3), ("c", 4), ("d", 5), ("d", 6), ("e", 200_000)])[0],
    ]
    names = [namespace.parse(name) for name in ("0", "a", "ab", "d", "z")]
    proposal = Proposal(batch.header, bytes(96), batch.payload_list, batch.commitments)
    prelude = encode_prelude(proposal, bytes(96), ())
    push = encode_prelude(proposal, bytes(96), (5,))
    return {
        "Attestation": [Attestation.sign(party.secrets[0], batch.header).encode()],
        "Certificate": [make_certificate(party, batch.header, range(6)).encode()],
        "ColumnPush": [prelude, push + bytes(batch.header.row_count * 2096)],
        "Header": [batch.header.encode()],
        "InclusionProof": [each.prove(i).encode() for each in lists for i in range(len(each.entries))],
        "NamespaceProof": [each.prove_namespace(name).encode() for each in lists for name in names],
        "PayloadEntry": [entry.encode() for each in lists for entry in each.entries],
        "PayloadList": [each.encode() for each in lists],
    }


def check(kind: str, encoding: bytes) -> bool:
    """Whether the decoder took the bytes; fails if it did anything but take them whole or refuse them."""
    try:
        value = DECODERS[kind].decode(encoding)
    except ProtocolError:
        return False
    assert value.encode() == encoding
    return True


@pytest.mark.parametrize("kind", sorted(DECODERS))
def test_valid_encodings_are_taken(valid: dict[str, list[bytes]], kind: str):
    assert valid[kind]
    assert all(check(kind, encoding) for encoding in valid[kind])


@pytest.mark.parametrize("kind", sorted(DECODERS))
def test_no_prefix_and_no_longer_encoding_is_taken(valid: dict[str, list[bytes]], kind: str):
    for encoding in valid[kind]:
        step = max(1, len(encoding) // 500)
        assert not any(check(kind, encoding[:size]) for size in range(0, len(encoding), step))
        assert not check(kind, encoding + b"\0")


@pytest.mark.parametrize("kind", sorted(DECODERS))
@given(content=st.binary(max_size=600))
def test_any_bytes(kind: str, content: bytes):
    check(kind, content)


@st.composite
def mutations(draw: st.DrawFn) -> Callable[[bytes, bytes], bytes]:
    """A change of a valid encoding, perhaps with a piece of another."""
    action = draw(st.sampled_from(["flip", "set", "cut", "insert", "splice", "swap"]))
    where, length = draw(st.floats(0, 1)), draw(st.integers(1, 80))
    content = draw(st.binary(min_size=1, max_size=8))

    def apply(encoding: bytes, other: bytes) -> bytes:
        # Heads hold the counts, so half of the changes fall into the first 400 bytes.
        at = int(where * 2 * min(400, len(encoding))) if where < 0.5 else int((2 * where - 1) * len(encoding))
        changed = bytearray(encoding)
        if action == "flip":
            changed[min(at, len(changed) - 1)] ^= content[0] or 1
        elif action == "set":
            changed[at : at + len(content)] = content
        elif action == "cut":
            del changed[at : at + length]
        elif action == "insert":
            changed[at:at] = content
        elif action == "splice":
            changed[at:] = other[at:]
        else:
            changed[at : at + length] = other[at : at + length]
        return bytes(changed)

    return apply


@pytest.mark.parametrize("kind", sorted(DECODERS))
@given(data=st.data(), mutate=mutations())
@settings(max_examples=200)
def test_changed_encodings(
    valid: dict[str, list[bytes]], kind: str, data: st.DataObject, mutate: Callable[[bytes, bytes], bytes]
):
    encoding, other = (data.draw(st.sampled_from(valid[kind])) for _ in range(2))
    check(kind, mutate(encoding, other))


@pytest.mark.parametrize("kind", sorted(DECODERS))
def test_one_kind_is_not_taken_for_another(valid: dict[str, list[bytes]], kind: str):
    for other, encodings in valid.items():
        if other != kind:
            assert not any(check(kind, encoding) for encoding in encodings)
