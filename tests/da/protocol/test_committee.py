from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from da import bls
from da.protocol import Committee, InvalidCommittee, Member, ProtocolError, member_id
from da.protocol.committee import MAX_COMMITTEE_JSON_BYTES
from tests.da.protocol.conftest import build_party


@pytest.fixture
def document(party: Any) -> dict[str, Any]:
    return json.loads(party.committee.to_json())


def refused(document: Any) -> InvalidCommittee:
    text = document if isinstance(document, (str, bytes)) else json.dumps(document)
    with pytest.raises(InvalidCommittee) as caught:
        Committee.from_json(text)
    return caught.value


def test_json_round_trip(party: Any):
    read = Committee.from_json(party.committee.to_json())
    assert read == party.committee
    assert read.hash == party.committee.hash
    assert Committee.from_json(party.committee.to_json().encode()) == read


def test_defaults(document: dict[str, Any]):
    for name in ("replication", "threshold", "retention_s"):
        del document[name]
    committee = Committee.from_json(json.dumps(document))
    assert committee.replication == 4
    assert (committee.threshold_numerator, committee.threshold_denominator) == (2, 3)
    assert committee.retention_s == 15 * 86400


def test_members_are_sorted_whatever_the_file_says(document: dict[str, Any], party: Any):
    document["members"].reverse()
    assert Committee.from_json(json.dumps(document)) == party.committee
    keys = [member.public_key for member in party.committee.members]
    assert keys == sorted(keys)


def test_lookups(party: Any):
    committee = party.committee
    for index, member in enumerate(committee.members):
        assert member.id == member_id(member.public_key)
        assert committee.member_index(member.id) == index
        assert committee.member(member.id) is member
    assert committee.member_index(bytes(32)) is None
    assert committee.member(bytes(32)) is None
    assert [member.name for member in committee.dispersers] == ["node-0"]
    assert committee.total_stake == 600


def test_hash_is_the_documented_encoding(party: Any):
    committee = party.committee
    encoding = b"cellar/committee/v1" + (7).to_bytes(8, "big") + (1).to_bytes(8, "big") + b"\x00\x04"
    encoding += (
        (2).to_bytes(4, "big") + (3).to_bytes(4, "big") + (15 * 86400).to_bytes(4, "big") + b"\x00\x06"
    )
    for member in committee.members:
        encoding += member.public_key + (100).to_bytes(8, "big") + bytes([member.disperser])
    assert committee.hash == sha256(encoding).digest()


def test_names_and_urls_are_not_in_the_hash(document: dict[str, Any], party: Any):
    document["members"][0]["name"] = "renamed"
    document["members"][0]["url"] = "https://elsewhere.example:8443/da"
    assert Committee.from_json(json.dumps(document)).hash == party.committee.hash


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("chain_id", 8),
        ("epoch", 2),
        ("replication", 3),
        ("threshold", {"numerator": 3, "denominator": 4}),
        ("threshold", {"numerator": 4, "denominator": 6}),
        ("retention_s", 60),
    ],
)
def test_what_decides_anything_is_in_the_hash(document: dict[str, Any], party: Any, field: str, value: Any):
    document[field] = value
    assert Committee.from_json(json.dumps(document)).hash != party.committee.hash


def test_stakes_roles_and_members_are_in_the_hash(document: dict[str, Any], party: Any):
    hashes = {party.committee.hash}
    for change in (
        lambda members: members[1].update(stake=101),
        lambda members: members[1].update(disperser=not members[1]["disperser"]),
        lambda members: members.pop(),
    ):
        copy = json.loads(json.dumps(document))
        change(copy["members"])
        hashes.add(Committee.from_json(json.dumps(copy)).hash)
    assert len(hashes) == 4


def test_trailing_slashes_of_urls_are_dropped(document: dict[str, Any]):
    document["members"][0]["url"] += "/"
    assert not Committee.from_json(json.dumps(document)).members[0].url.endswith("/")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("chain_id", -1),
        ("chain_id", 2**64),
        ("chain_id", "7"),
        ("chain_id", True),
        ("chain_id", 7.0),
        ("chain_id", None),
        ("epoch", 2**64),
        ("replication", 0),
        ("replication", 129),
        ("retention_s", 0),
        ("retention_s", 2**32),
        ("threshold", {"numerator": 1, "denominator": 2}),
        ("threshold", {"numerator": 4, "denominator": 3}),
        ("threshold", {"numerator": -2, "denominator": -3}),
        ("threshold", {"numerator": 0, "denominator": 0}),
        ("threshold", {"numerator": 2**32, "denominator": 2**32}),
        ("threshold", {"numerator": 2}),
        ("threshold", {"numerator": 2, "denominator": 3, "extra": 1}),
        ("threshold", [2, 3]),
        ("members", []),
        ("members", {}),
        ("members", [1]),
        ("members", [{}] * 1025),
        ("surprise", 1),
    ],
)
def test_bad_values_are_refused_by_field(document: dict[str, Any], field: str, value: Any):
    document[field] = value
    assert refused(document).field.startswith(field)


def test_threshold_of_all_is_taken(document: dict[str, Any]):
    document["threshold"] = {"numerator": 1, "denominator": 1}
    assert Committee.from_json(json.dumps(document)).threshold_numerator == 1


@pytest.mark.parametrize("field", ["chain_id", "epoch", "members"])
def test_missing_fields_are_refused(document: dict[str, Any], field: str):
    del document[field]
    error = refused(document)
    assert (error.field, error.reason) == (field, "is missing")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "x" * 65),
        ("name", "a b"),
        ("name", "a\n"),
        ("name", "é"),
        ("name", 5),
        ("stake", 0),
        ("stake", -1),
        ("stake", 2**64),
        ("stake", 1.5),
        ("stake", True),
        ("disperser", 1),
        ("disperser", "true"),
        ("public_key", "0x00"),
        ("public_key", "00" * 48),
        ("public_key", "0x" + "AA" * 48),
        ("public_key", "0x" + "zz" * 48),
        ("proof_of_possession", "0x" + "00" * 95),
        ("url", ""),
        ("url", "localhost:9000"),
        ("url", "ftp://localhost"),
        ("url", "file:///etc/passwd"),
        ("url", "http://"),
        ("url", "http://:80"),
        ("url", "http://host:0"),
        ("url", "http://host:99999"),
        ("url", "http://host:port"),
        ("url", "http://[::1"),
        ("url", "http://user:secret@host"),
        ("url", "http://host?x=1"),
        ("url", "http://host?"),
        ("url", "http://host#"),
        ("url", "http://ho st"),
        ("url", "http://host\\evil"),
        ("url", "http://host\n"),
        ("url", "http://hôst"),
        ("url", "http://" + "h" * 256),
        ("surprise", 1),
    ],
)
def test_bad_members_are_refused_by_path(document: dict[str, Any], field: str, value: Any):
    document["members"][2][field] = value
    assert refused(document).field == f"members[2].{field}"


@pytest.mark.parametrize("field", ["name", "url", "public_key", "proof_of_possession", "stake"])
def test_members_with_missing_fields_are_refused(document: dict[str, Any], field: str):
    del document["members"][1][field]
    assert refused(document).field == f"members[1].{field}"


def test_disperser_defaults_to_false(document: dict[str, Any]):
    for member in document["members"]:
        del member["disperser"]
    assert Committee.from_json(json.dumps(document)).dispersers == ()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000", "https://da.example", "http://[::1]:9000", "https://h.example/cellar/v1"]
)
def test_good_urls_are_taken(document: dict[str, Any], url: str):
    document["members"][0]["url"] = url
    assert Committee.from_json(json.dumps(document)).members[0].url == url


def test_duplicates_are_refused_by_name_and_by_key(document: dict[str, Any]):
    document["members"][1]["name"] = document["members"][0]["name"]
    assert "name" in refused(document).reason
    document["members"][1] = {**document["members"][0], "name": "other"}
    assert "public_key" in refused(document).reason


def test_proof_of_possession_of_another_is_refused(document: dict[str, Any]):
    first, second = document["members"][:2]
    first["proof_of_possession"] = second["proof_of_possession"]
    error = refused(document)
    assert first["name"] in error.field
    assert "proof_of_possession" in error.reason


@pytest.mark.parametrize("key", ["c0" + "00" * 47, "80" + "00" * 46 + "04", "ff" * 48, "00" * 48])
def test_identity_and_malformed_keys_are_refused(document: dict[str, Any], key: str):
    document["members"][0]["public_key"] = "0x" + key
    assert "public_key" in refused(document).reason


def test_identity_proof_is_refused(document: dict[str, Any]):
    document["members"][0]["proof_of_possession"] = "0xc0" + "00" * 95
    assert "proof_of_possession" in refused(document).reason


def test_rogue_key_has_no_proof(document: dict[str, Any]):
    """A key made of the victim's, with which one could sign alone for both, has no proof of possession."""
    victim = document["members"][0]
    rogue_secret = (99).to_bytes(32, "big")
    document["members"][1]["public_key"] = victim["public_key"].replace("0x8", "0xa", 1)
    document["members"][1]["proof_of_possession"] = "0x" + bls.prove_possession(rogue_secret).hex()
    refused(document)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        "{}x",
        '{"chain_id": NaN}',
        '{"chain_id": Infinity}',
        '{"chain_id": 1, "chain_id": 1}',
        '{"chain_id": ' + "9" * 5000 + "}",
        "[" * 100_000,
        '{"a":' * 50_000,
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        "\ud800",
        " " * (MAX_COMMITTEE_JSON_BYTES + 1),
    ],
)
def test_documents_that_are_no_committee_are_refused(text: str | bytes):
    refused(text)


def test_depth_is_bounded_whatever_the_interpreter_allows():
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10**6)  # as py-evm does when it is imported
    try:
        for text in ("[" * 100_000, '{"a":' * 50_000, "]" * 1_000 + "[" * 100_000):
            refused(text)
    finally:
        sys.setrecursionlimit(before)


def test_brackets_in_strings_are_no_depth(party: Any):
    document = json.loads(party.committee.to_json())
    document["members"][0]["name"] = "[" * 40
    with pytest.raises(InvalidCommittee) as caught:
        Committee.from_json(json.dumps(document))
    assert "name" in caught.value.field


def test_repeated_keys_in_members_are_refused(party: Any):
    text = party.committee.to_json().replace('"stake": 100', '"stake": 100, "stake": 100', 1)
    assert "duplicate" in refused(text).reason


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_read(content: bytes):
    with pytest.raises(ProtocolError):
        Committee.from_json(content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data(), json_values)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_in_any_place_is_refused_or_read(document: dict[str, Any], data: st.DataObject, value: Any):
    changed = json.loads(json.dumps(document))
    place = changed if data.draw(st.booleans()) else changed["members"][data.draw(st.integers(0, 5))]
    place[data.draw(st.sampled_from(sorted(place)))] = value
    try:
        committee = Committee.from_json(json.dumps(changed))
    except InvalidCommittee:
        return
    assert Committee.from_json(committee.to_json()) == committee


def test_load_reads_a_file(tmp_path: Path, party: Any):
    path = tmp_path / "committee.json"
    path.write_text(party.committee.to_json())
    assert Committee.load(path) == party.committee
    path.write_bytes(b" " * (MAX_COMMITTEE_JSON_BYTES + 10))
    with pytest.raises(InvalidCommittee, match="longer"):
        Committee.load(path)
    with pytest.raises(FileNotFoundError):
        Committee.load(tmp_path / "none.json")


def test_largest_stakes_and_committees_fit(make_committee: Callable[..., Committee]):
    committee = make_committee([2**64 - 1] * 1024)
    assert committee.total_stake == 1024 * (2**64 - 1)
    assert len(committee.hash) == 32
    with pytest.raises(InvalidCommittee, match="1025"):
        make_committee([1] * 1025)


def test_the_largest_committee_fits_the_size_limit(make_committee: Callable[..., Committee]):
    committee = make_committee([2**64 - 1] * 1024)
    longest = [
        Member(
            name=f"{i:064d}",
            url="http://" + "h" * 249,
            public_key=member.public_key,
            proof_of_possession=member.proof_of_possession,
            stake=member.stake,
        )
        for i, member in enumerate(committee.members)
    ]
    text = Committee(chain_id=1, epoch=1, members=tuple(longest)).to_json()
    assert len(text) < MAX_COMMITTEE_JSON_BYTES


def test_the_addresses_hash_binds_names_and_urls_and_the_committee() -> None:
    committee = build_party([1, 1]).committee
    seen = {committee.addresses_hash}
    first, second = committee.members
    for changed in (
        replace(committee, members=(replace(first, name="other"), second)),
        replace(committee, members=(first, replace(second, url="http://other.test"))),
        replace(committee, epoch=2),
    ):
        assert changed.addresses_hash not in seen
        seen.add(changed.addresses_hash)
