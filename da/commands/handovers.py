"""`da committee next`, `sign-handover` and `rotate`: how a committee hands over to the next one.

Flow:
- the coordinator makes the next committee file from the present one (`next`, then `da committee add`)
- each member's operator compares its hash and signs the handover with the node's keystore, on any machine
- the coordinator adds the signatures up and appends the change to the chain file, which everybody gets

Nothing here needs a network or a running node.
"""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from da import keystore
from da.console.output import (
    EXIT_USAGE,
    AsJson,
    PasswordFile,
    ask_password,
    emit,
    fail,
    load_committee,
    read_input,
    write_new,
)
from da.protocol.committee import Committee
from da.protocol.committee_chain import CommitteeChain, Link
from da.protocol.errors import DecodeError, InvalidCommittee, InvalidHandover, ProtocolError
from da.protocol.handover import NO_CONTRACT, Handover, HandoverSignature, HandoverTerms
from da.runtime.signer import LocalSigner
from da.runtime.workers import Workers

app = typer.Typer()

CommitteeArgument = Annotated[Path, typer.Argument(help="File of the committee in office.")]
NextArgument = Annotated[Path, typer.Argument(help="File of the next committee.")]


@app.command("next", epilog="Example: da committee next committee.json next.json --remove beta")
def prepare_next(
    path: CommitteeArgument,
    next_path: Annotated[Path, typer.Argument(help="File of the next committee, to be created.")],
    remove: Annotated[list[str] | None, typer.Option(help="Name of a member that leaves.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create the file of the next epoch's committee, without some members; `da committee add` adds others."""
    committee, leaving = load_committee(path), set(remove or ())
    if unknown := leaving - {member.name for member in committee.members}:
        fail(f"no member of {path} has the name {', '.join(sorted(unknown))}", code=EXIT_USAGE)
    try:
        following = dataclasses.replace(
            committee,
            epoch=committee.epoch + 1,
            members=tuple(member for member in committee.members if member.name not in leaving),
        )
    except InvalidCommittee as error:
        fail(str(error), code=EXIT_USAGE)
    write_new(next_path, following.to_json() + "\n", force=force)
    emit(_names(following), as_json=as_json)


@app.command(
    "sign-handover",
    epilog="Example: da committee sign-handover committee.json next.json --keystore key.json "
    "--valid-until 1798761600 --out alpha.json",
)
def sign_handover(
    path: CommitteeArgument,
    next_path: NextArgument,
    key_path: Annotated[Path, typer.Option("--keystore", help="The member's keystore.")],
    valid_until: Annotated[
        int,
        typer.Option(
            "--valid-until",
            min=1,
            help="Unix seconds; certificates of the committee in office end then. The same for all signers.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="File for the signature, to be sent to the coordinator.")],
    contract: Annotated[
        str | None, typer.Option(help="Address of the settlement contract that follows the change, 0x-hex.")
    ] = None,
    settlement_chain_id: Annotated[
        int, typer.Option(min=0, help="EIP-155 id of the contract's chain; with --contract.")
    ] = 0,
    password_file: PasswordFile = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    as_json: AsJson = False,
) -> None:
    """Sign, as a member of the committee in office, that the next committee follows it."""
    committee, following = load_committee(path), load_committee(next_path)
    if (contract is None) != (settlement_chain_id == 0):
        fail("--contract and --settlement-chain-id go together", code=EXIT_USAGE)
    try:
        terms = HandoverTerms.between(
            committee,
            following,
            valid_until_s=valid_until,
            contract=NO_CONTRACT if contract is None else bytes.fromhex(contract.removeprefix("0x")),
            settlement_chain_id=settlement_chain_id,
        )
    except (InvalidHandover, DecodeError) as error:
        fail(str(error), code=EXIT_USAGE)
    except ValueError:
        fail("--contract must be 0x followed by 40 hex digits", code=EXIT_USAGE)
    try:
        secret = keystore.load(key_path, ask_password(password_file))
    except keystore.KeystoreError as error:
        fail(str(error))
    signature = asyncio.run(_sign(secret, terms))
    index = committee.member_index(signature.member_id)
    if index is None:
        fail(f"the key of {key_path} is no member of {path}; only members in office sign")
    write_new(out, signature.to_json() + "\n", force=force)
    emit({"member": committee.members[index].name, **_described(terms)}, as_json=as_json)


@app.command(
    "rotate", epilog="Example: da committee rotate committee.json next.json *.sig.json --chain chain.json"
)
def rotate(
    path: CommitteeArgument,
    next_path: NextArgument,
    signature_paths: Annotated[
        list[Path], typer.Argument(help="Files with members' signatures (`da committee sign-handover`).")
    ],
    chain_path: Annotated[
        Path,
        typer.Option(
            "--chain", help="Chain file to append the change to; created, from this committee on, if absent."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Add members' signatures up to a handover and append the change to the chain file."""
    committee, following = load_committee(path), load_committee(next_path)
    chain = _load_chain(chain_path, committee)
    signatures: dict[int, bytes] = {}
    terms: HandoverTerms | None = None
    for each in signature_paths:
        try:
            signed = HandoverSignature.from_json(read_input(each))
            signatures[signed.verify(committee)] = signed.signature
        except ProtocolError as error:
            fail(f"{each}: {error}")
        terms = terms or signed.terms
        if signed.terms != terms:
            fail(f"{each} and {signature_paths[0]} sign different terms; all members must sign the same")
    assert terms is not None, "the command takes at least one signature"
    try:
        link = Link(Handover.gather(terms, committee, signatures), following)
        extended = chain.extended(link)
    except InvalidHandover as error:
        absent = [each.name for index, each in enumerate(committee.members) if index not in signatures]
        fail(f"{error}; no signature of {', '.join(absent) or 'any other member'}")
    write_new(chain_path, extended.to_json() + "\n", force=True)
    signers = [committee.members[index].name for index in sorted(signatures)]
    emit({**_described(terms), "signers": signers, "links": len(extended.links)}, as_json=as_json)


async def _sign(secret: bytes, terms: HandoverTerms) -> HandoverSignature:
    workers = Workers(1, 1)
    try:
        return await LocalSigner(secret, workers).hand_over(terms)
    finally:
        await workers.close()


def _load_chain(path: Path, committee: Committee) -> CommitteeChain:
    """The chain that ends with the committee: that of the file, or a new one."""
    if not path.exists():
        return CommitteeChain(committee)
    try:
        chain = CommitteeChain.load(path)
    except OSError as error:
        fail(f"{path}: cannot be read: {error.strerror}")
    except ProtocolError as error:
        fail(f"{path}: {error}")
    if chain.latest.hash != committee.hash:
        fail(f"{path} ends with epoch {chain.latest.epoch}, not with the committee given, {committee.epoch}")
    return chain


def _names(committee: Committee) -> dict[str, object]:
    return {
        "committee_hash": committee.hash,
        "epoch": committee.epoch,
        "members": [member.name for member in committee.members],
    }


def _described(terms: HandoverTerms) -> dict[str, object]:
    return {
        "epoch": terms.epoch,
        "committee_hash": terms.committee_hash,
        "next_committee_hash": terms.next_committee_hash,
        "next_addresses_hash": terms.next_addresses_hash,
        "valid_until_s": terms.valid_until_s,
        "contract": None if terms.contract == NO_CONTRACT else terms.contract,
        "settlement_chain_id": terms.settlement_chain_id,
    }
