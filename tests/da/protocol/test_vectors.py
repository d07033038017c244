"""The published vectors: encodings, hashes and signatures for fixed keys, and encodings that are refused.

They serve other implementations. `python tests/da/protocol/test_vectors.py` writes the file anew; a change
of it is a change of the protocol.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from da import bls
from da.protocol import (
    ZERO_HASH,
    Attestation,
    Certificate,
    ColumnPush,
    Committee,
    Header,
    InclusionProof,
    Member,
    NamespaceProof,
    PayloadEntry,
    PayloadList,
    Proposal,
    attestation_message,
    check_proposer,
    columns_of,
    commitments_root,
    encode_prelude,
    finality,
    namespace,
    payload_id,
    proposal_message,
    sign_header,
    sign_push,
    verify_inclusion,
    verify_namespace,
)
from da.protocol import errors as protocol_errors
from da.protocol.certificate import MAX_CERTIFICATE_BYTES
from da.protocol.push import MAX_PRELUDE_BYTES, MAX_PUSH_BYTES

HERE = Path(__file__).resolve().parent
VECTORS = HERE / "vectors.json"
DOCUMENT = HERE.parents[2] / "docs" / "reference" / "wire-formats.md"
STAKES = (100, 100, 100, 250)
SECRETS = tuple((1 + number).to_bytes(32, "big") for number in range(len(STAKES)))
# (namespace name, length, rows): ids and commitments follow.
PAYLOADS = (("arbitrum", 1, 1), ("op-sepolia", 126_945, 1), ("op-sepolia", 126_946, 2))
KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        Header,
        PayloadEntry,
        PayloadList,
        InclusionProof,
        NamespaceProof,
        Attestation,
        Certificate,
        ColumnPush,
    )
}


def build_committee() -> Committee:
    return Committee(
        chain_id=901,
        epoch=3,
        replication=2,
        members=tuple(
            Member(
                name=f"member-{number}",
                url=f"http://127.0.0.1:{9100 + number}",
                public_key=bls.public_key(secret),
                proof_of_possession=bls.prove_possession(secret),
                stake=stake,
                disperser=number == 0,
            )
            for number, (secret, stake) in enumerate(zip(SECRETS, STAKES, strict=True))
        ),
    )


def build_batch(committee: Committee) -> tuple[Header, PayloadList, np.ndarray]:
    # Row k's commitment is the k+1-th multiple of the generator of G1.
    keys = [np.frombuffer(bls.public_key((1 + row).to_bytes(32, "big")), np.uint8) for row in range(4)]
    pieces, row = [], 0
    for name, length, rows in PAYLOADS:
        own = np.stack(keys[row : row + rows])
        row += rows
        pieces.append((namespace.parse(name), payload_id(length, own), length, own))
    pieces.sort(key=lambda piece: piece[:2])
    entries, row = [], 0
    for space, identity, length, own in pieces:
        entries.append(PayloadEntry(space, identity, row, len(own), length))
        row += len(own)
    commitments = np.concatenate([own for *_, own in pieces])
    payload_list = PayloadList(tuple(entries))
    header = Header(
        chain_id=committee.chain_id,
        disperser_id=committee.dispersers[0].id,
        height=1,
        timestamp_ms=1_735_689_600_000,
        parent=ZERO_HASH,
        committee_hash=committee.hash,
        row_count=payload_list.row_count,
        payloads_root=payload_list.root,
        commitments_root=commitments_root(commitments),
    )
    return header, payload_list, commitments


def build() -> dict[str, Any]:
    committee = build_committee()
    header, payload_list, commitments = build_batch(committee)
    secret_of = {bls.public_key(secret): secret for secret in SECRETS}
    secrets = [secret_of[member.public_key] for member in committee.members]
    disperser = committee.member_index(header.disperser_id)
    assert disperser is not None
    attestations = [Attestation.sign(secret, header) for secret in secrets]
    certificate = Certificate.gather(header, committee, {i: a.signature for i, a in enumerate(attestations)})
    signature = sign_header(secrets[disperser], header)
    push_signature = sign_push(secrets[disperser], header, committee.members[1].id)
    prelude = encode_prelude(Proposal(header, signature, payload_list, commitments), push_signature, ())
    names = ("arbitrum", "base", "op-sepolia", "zora")
    return {
        "about": "Cellar protocol v1; docs/reference/wire-formats.md. All bytes in hex.",
        "secret_keys": [secret.hex() for secret in secrets],
        "committee": json.loads(committee.to_json()),
        "committee_hash": committee.hash.hex(),
        "member_ids": [member.id.hex() for member in committee.members],
        "columns_of": [list(columns_of(committee, index)) for index in range(len(STAKES))],
        "finality": [
            {
                "signers": signers,
                "stake_ok": result.stake_ok,
                "adversary_slots": result.adversary_slots,
                "least_held_slots": result.least_held_slots,
                "final": result.final,
            }
            for signers in ([0], [0, 1, 2], [0, 1, 3], [0, 2, 3], [0, 1, 2, 3])
            for result in (finality(committee, signers),)
        ],
        "commitments": [row.tobytes().hex() for row in commitments],
        "commitments_root": header.commitments_root.hex(),
        "payloads_root": header.payloads_root.hex(),
        "header_hash": header.hash.hex(),
        "proposal_message": proposal_message(header).hex(),
        "proposal_signature": signature.hex(),
        "attestation_message": attestation_message(committee.chain_id, committee.hash, header.hash).hex(),
        "encodings": {
            "Header": [header.encode().hex()],
            "PayloadEntry": [entry.encode().hex() for entry in payload_list.entries],
            "PayloadList": [payload_list.encode().hex()],
            "InclusionProof": [payload_list.prove(index).encode().hex() for index in range(3)],
            "NamespaceProof": [
                payload_list.prove_namespace(namespace.parse(name)).encode().hex() for name in names
            ],
            "Attestation": [attestation.encode().hex() for attestation in attestations],
            "Certificate": [certificate.encode().hex()],
            "ColumnPush": [prelude.hex()],
        },
        "refused": build_refused(header, payload_list, certificate, prelude),
    }


def build_refused(
    header: Header, payload_list: PayloadList, certificate: Certificate, prelude: bytes
) -> list[dict[str, str]]:
    """Encodings that a decoder must not take, each with the error it gives here."""
    head, entry = header.encode(), payload_list.entries[0].encode()
    listed, certified = payload_list.encode(), certificate.encode()
    inclusion = payload_list.prove(0).encode()
    ranged = payload_list.prove_namespace(namespace.parse("base")).encode()

    def put(encoding: bytes, at: int, value: str) -> bytes:
        new = bytes.fromhex(value)
        return encoding[:at] + new + encoding[at + len(new) :]

    cases = [
        ("Header", "DecodeError", "one byte short", head[:-1]),
        ("Header", "DecodeError", "one byte more", head + b"\0"),
        ("Header", "InvalidHeader", "version 2", put(head, 0, "0002")),
        ("Header", "InvalidHeader", "height 0", put(head, 42, "00" * 8)),
        ("Header", "InvalidHeader", "height 2 without a parent", put(head, 42, "0000000000000002")),
        ("Header", "InvalidHeader", "height 1 with a parent", put(head, 58, "01")),
        ("Header", "InvalidHeader", "no rows", put(head, 122, "0000")),
        ("Header", "InvalidHeader", "257 rows", put(head, 122, "0101")),
        ("PayloadEntry", "InvalidPayloadList", "empty payload", put(entry, 68, "00000000")),
        ("PayloadEntry", "InvalidPayloadList", "over 16 MiB", put(entry, 66, "008501000001")),
        ("PayloadEntry", "InvalidPayloadList", "a row too many", put(entry, 66, "0002")),
        ("PayloadEntry", "InvalidPayloadList", "rows past the batch", put(entry, 64, "0100")),
        ("PayloadList", "InvalidPayloadList", "no entries", bytes(2)),
        ("PayloadList", "InvalidPayloadList", "257 entries", put(listed, 0, "0101")),
        ("PayloadList", "DecodeError", "an entry fewer than counted", listed[:-72]),
        ("PayloadList", "InvalidPayloadList", "the first entry twice", b"\0\2" + listed[2:74] * 2),
        ("PayloadList", "InvalidPayloadList", "begins at row 1", put(listed, 2 + 64, "0001")),
        ("InclusionProof", "InvalidProof", "index past the count", put(inclusion, 72, "0003")),
        ("InclusionProof", "InvalidProof", "count 0", put(inclusion, 74, "0000")),
        ("InclusionProof", "DecodeError", "a sibling short", inclusion[:-32]),
        ("NamespaceProof", "InvalidProof", "no entries", put(ranged, 36, "0000")),
        ("NamespaceProof", "InvalidProof", "entries past the count", put(ranged, 36, "0004")),
        ("NamespaceProof", "DecodeError", "a sibling more", ranged + bytes(32)),
        ("Attestation", "DecodeError", "159 bytes", bytes(159)),
        ("Attestation", "DecodeError", "161 bytes", bytes(161)),
        ("Certificate", "DecodeError", "a committee of none", put(certified, 188, "0000")),
        ("Certificate", "DecodeError", "a committee of 1025", put(certified, 188, "0401")),
        ("Certificate", "DecodeError", "a bit past the committee", put(certified, 190, "1f")),
        ("Certificate", "DecodeError", "signature short", certified[:-1]),
        ("ColumnPush", "InvalidPush", "column 128", prelude[:-1] + b"\x01\x80"),
        ("ColumnPush", "InvalidPush", "a column twice", prelude[:-1] + b"\x02\x05\x05"),
        ("ColumnPush", "InvalidPush", "a column without records", prelude[:-1] + b"\x01\x05"),
    ]
    return [
        {"kind": kind, "error": error, "why": why, "encoding": encoding.hex()}
        for kind, error, why, encoding in cases
    ]


@pytest.fixture(scope="module")
def vectors() -> dict[str, Any]:
    return json.loads(VECTORS.read_text())


def test_the_file_is_what_the_code_makes(vectors: dict[str, Any]):
    assert build() == vectors


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_encodings_decode(vectors: dict[str, Any], kind: str):
    encodings = vectors["encodings"][kind]
    assert encodings
    for encoding in encodings:
        assert KINDS[kind].decode(bytes.fromhex(encoding)).encode().hex() == encoding


def test_refused_encodings_are_refused_as_said(vectors: dict[str, Any]):
    assert len(vectors["refused"]) >= 32
    assert {case["kind"] for case in vectors["refused"]} == set(KINDS)
    for case in vectors["refused"]:
        error = getattr(protocol_errors, case["error"])
        with pytest.raises(error) as caught:
            KINDS[case["kind"]].decode(bytes.fromhex(case["encoding"]))
        assert type(caught.value) is error, case["why"]


def test_what_the_vectors_state_verifies(vectors: dict[str, Any]):
    committee = Committee.from_json(json.dumps(vectors["committee"]))
    encodings = vectors["encodings"]
    header = Header.decode(bytes.fromhex(encodings["Header"][0]))
    assert header.hash.hex() == vectors["header_hash"]
    check_proposer(committee, header, bytes.fromhex(vectors["proposal_signature"]))
    for index, encoding in enumerate(encodings["Attestation"]):
        assert Attestation.decode(bytes.fromhex(encoding)).verify(committee, header) == index
    assert Certificate.decode(bytes.fromhex(encodings["Certificate"][0])).verify(committee).final
    for encoding in encodings["InclusionProof"]:
        assert verify_inclusion(header.payloads_root, InclusionProof.decode(bytes.fromhex(encoding)))
    found = []
    for encoding in encodings["NamespaceProof"]:
        proof = NamespaceProof.decode(bytes.fromhex(encoding))
        assert verify_namespace(header.payloads_root, proof.namespace, proof)
        found.append(len(proof.matches))
    assert found == [1, 0, 2, 0]


def worked_examples() -> dict[str, bytes]:
    """The hex blocks of the document: ```hex NAME, then lines of hex, each with a comment after #."""
    blocks = re.findall(r"```hex (\w+)\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return {
        name: bytes.fromhex("".join(line.split("#")[0] for line in body.splitlines()))
        for name, body in blocks
    }


def test_the_worked_examples_of_the_document_are_the_vectors(vectors: dict[str, Any]):
    examples = worked_examples()
    assert sorted(examples) == ["Attestation", "Certificate", "Header", "PayloadEntry"]
    for name, encoding in examples.items():
        assert encoding.hex() == vectors["encodings"][name][0]
    assert vectors["header_hash"] in DOCUMENT.read_text()


def test_the_layouts_of_the_document_add_up():
    """In every layout table the offsets are the sums of the sizes, as far as both are numbers."""
    tables = re.findall(r"\| offset \| size \|.*?\n\|[-|]+\n((?:\|.*\n)+)", DOCUMENT.read_text())
    assert len(tables) >= 8
    for table in tables:
        expected = 0
        for row in table.splitlines():
            offset, size = (cell.strip() for cell in row.split("|")[1:3])
            if not offset.isdigit():
                break
            assert int(offset) == expected, row
            if not size.isdigit():
                break
            expected += int(size)


def test_the_limits_of_the_document_are_the_code_s():
    text = DOCUMENT.read_text()
    for limit in (MAX_PRELUDE_BYTES, MAX_PUSH_BYTES, MAX_CERTIFICATE_BYTES):
        assert f"{limit:,}" in text


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(build(), indent=1) + "\n")
