"""The commands by which a committee hands over to the next one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from da import keystore
from da.protocol.committee import Committee
from da.protocol.committee_chain import CommitteeChain
from da.protocol.handover import HandoverSignature
from tests.da.protocol.conftest import Party, build_party
from tests.da.test_cli import Result, da, password

__all__ = ["da", "password"]

VALID_UNTIL_S = 1_900_000_000


@pytest.fixture
def office(da: Callable[..., Result], tmp_path: Path) -> Party:
    """A committee of four in committee.json, each member's key in a keystore of its name."""
    party = build_party([100] * 4)
    (tmp_path / "committee.json").write_text(party.committee.to_json())
    for member, secret in zip(party.committee.members, party.secrets, strict=True):
        keystore.create(tmp_path / f"{member.name}.key", secret, "correct horse")
    return party


@pytest.fixture
def sign(da: Callable[..., Result], tmp_path: Path, password: Path, office: Party) -> Callable[..., Result]:
    def run(name: str, *options: object, valid_until_s: int = VALID_UNTIL_S) -> Result:
        return da(
            *("committee", "sign-handover", tmp_path / "committee.json", tmp_path / "next.json"),
            *("--keystore", tmp_path / f"{name}.key", "--password-file", password),
            *("--valid-until", valid_until_s, "--out", tmp_path / f"{name}.json", "--json", *options),
        )

    return run


def rotate(da: Callable[..., Result], directory: Path, *names: str) -> Result:
    signatures = [directory / f"{name}.json" for name in names]
    return da(
        *("committee", "rotate", directory / "committee.json", directory / "next.json", *signatures),
        *("--chain", directory / "chain.json", "--json"),
    )


def test_a_committee_hands_over(
    da: Callable[..., Result], sign: Callable[..., Result], tmp_path: Path, office: Party
) -> None:
    committee_path, next_path = tmp_path / "committee.json", tmp_path / "next.json"
    prepared = da("committee", "next", committee_path, next_path, "--remove", "node-3", "--json").json()
    assert (prepared["epoch"], sorted(prepared["members"])) == (2, ["node-0", "node-1", "node-2"])
    following = Committee.load(next_path)
    for name in ("node-1", "node-2", "node-3"):  # one that leaves signs too
        signed = sign(name)
        assert signed.code == 0, signed.err
        assert signed.json()["next_committee_hash"] == "0x" + following.hash.hex()
        assert signed.json()["next_addresses_hash"] == "0x" + following.addresses_hash.hex()
    done = rotate(da, tmp_path, "node-1", "node-2", "node-3")
    assert done.code == 0, done.err
    assert (done.json()["links"], sorted(done.json()["signers"])) == (1, ["node-1", "node-2", "node-3"])
    chain = CommitteeChain.load(tmp_path / "chain.json")
    assert chain.committees == (office.committee, following)
    assert chain.links[0].handover.terms.valid_until_s == VALID_UNTIL_S
    again = rotate(da, tmp_path, "node-1", "node-2", "node-3")
    assert (again.code, "ends with epoch 2" in again.err) == (1, True)


def test_too_few_signatures_are_refused_with_the_names_that_lack(
    da: Callable[..., Result], sign: Callable[..., Result], tmp_path: Path
) -> None:
    da("committee", "next", tmp_path / "committee.json", tmp_path / "next.json")
    sign("node-1"), sign("node-2")
    refused = rotate(da, tmp_path, "node-1", "node-2")
    assert refused.code == 1
    assert "below the old committee's threshold" in refused.err
    assert "node-0" in refused.err
    assert "node-3" in refused.err
    assert not (tmp_path / "chain.json").exists()


def test_all_members_sign_the_same_terms(
    da: Callable[..., Result], sign: Callable[..., Result], tmp_path: Path
) -> None:
    da("committee", "next", tmp_path / "committee.json", tmp_path / "next.json")
    sign("node-1"), sign("node-2"), sign("node-3", valid_until_s=VALID_UNTIL_S + 1)
    refused = rotate(da, tmp_path, "node-1", "node-2", "node-3")
    assert (refused.code, "different terms" in refused.err) == (1, True)
    (tmp_path / "node-3.json").write_text(json.dumps({"handover_signature": "0x"}))
    assert rotate(da, tmp_path, "node-1", "node-3").code == 1


def test_a_contract_is_bound_by_address_and_chain(
    da: Callable[..., Result], sign: Callable[..., Result], tmp_path: Path
) -> None:
    da("committee", "next", tmp_path / "committee.json", tmp_path / "next.json")
    address = "0x" + "ab" * 20
    assert sign("node-1", "--contract", address).code == 2
    assert sign("node-1", "--contract", "0xab", "--settlement-chain-id", 1).code == 2
    assert sign("node-1", "--contract", "zz", "--settlement-chain-id", 1).code == 2
    assert sign("node-1", "--contract", address, "--settlement-chain-id", 11155111).code == 0
    terms = HandoverSignature.from_json((tmp_path / "node-1.json").read_bytes()).terms
    assert (terms.contract.hex(), terms.settlement_chain_id) == ("ab" * 20, 11155111)
    assert sign("node-1").code == 1  # the file exists


def test_only_members_in_office_sign_and_only_the_next_epoch(
    da: Callable[..., Result], sign: Callable[..., Result], tmp_path: Path
) -> None:
    committee_path, next_path = tmp_path / "committee.json", tmp_path / "next.json"
    da("committee", "next", committee_path, next_path)
    keystore.create(tmp_path / "stranger.key", (77).to_bytes(32, "big"), "correct horse")
    assert "only members in office sign" in sign("stranger").err
    next_path.write_text(committee_path.read_text())
    assert (sign("node-1").code, "must be 2" in sign("node-1").err) == (2, True)
    assert da("committee", "next", committee_path, tmp_path / "x.json", "--remove", "absent").code == 2
