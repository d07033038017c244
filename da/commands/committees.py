"""`da committee`: create, extend, check and show the file that all members and readers share."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from da import bls
from da.commands import handovers
from da.console.output import EXIT_USAGE, AsJson, emit, fail, load_committee, stderr, write_new
from da.protocol.committee import DEFAULT_REPLICATION, DEFAULT_RETENTION_S, Committee, Member
from da.protocol.custody import columns_of, finality
from da.protocol.errors import InvalidCommittee
from da.text import escaped

app = typer.Typer(no_args_is_help=True, help="Create, check, show and change a committee.")
app.registered_commands += handovers.app.registered_commands

ABSENCE_TRIALS_MAX = 2_000

CommitteeArgument = Annotated[Path, typer.Argument(help="The committee's JSON file.")]
Name = Annotated[str, typer.Option(help="The member's name.")]
Url = Annotated[str, typer.Option(help="URL of the member's node: http(s)://host[:port].")]
PublicKey = Annotated[str, typer.Option(help="BLS public key, 0x-hex (`da key show`).")]
Proof = Annotated[str, typer.Option(help="Proof of possession of the key, 0x-hex (`da key show --proof`).")]
Stake = Annotated[int, typer.Option(min=1, help="The member's stake.")]
IsDisperser = Annotated[bool, typer.Option("--disperser", help="The member may propose batches.")]


@app.command(
    "new",
    epilog="Example: da committee new committee.json --chain-id 7 --name alpha --url https://alpha.example "
    "--public-key 0x8f1c... --proof-of-possession 0xa27b...",
)
def new(
    path: CommitteeArgument,
    name: Name,
    url: Url,
    public_key: PublicKey,
    proof_of_possession: Proof,
    chain_id: Annotated[
        int, typer.Option(min=0, help="Number of the network; every signature is bound to it.")
    ],
    stake: Stake = 100,
    epoch: Annotated[int, typer.Option(min=0, help="Number of this committee in its network.")] = 1,
    replication: Annotated[
        int, typer.Option(min=1, help="Members that hold each column.")
    ] = DEFAULT_REPLICATION,
    retention_s: Annotated[
        int, typer.Option(min=1, help="Seconds for which data is served.")
    ] = DEFAULT_RETENTION_S,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create a committee with one member, its disperser; add others with `da committee add`."""
    member = _member(name, url, public_key, proof_of_possession, stake, disperser=True)
    try:
        committee = Committee(
            chain_id=chain_id,
            epoch=epoch,
            replication=replication,
            retention_s=retention_s,
            members=(member,),
        )
    except InvalidCommittee as error:
        fail(str(error), code=EXIT_USAGE)
    write_new(path, committee.to_json() + "\n", force=force)
    emit(_summary(committee), as_json=as_json)


@app.command(
    "add",
    epilog="Example: da committee add committee.json --name beta --url https://beta.example "
    "--public-key 0x8f1c... --proof-of-possession 0xa27b...",
)
def add(
    path: CommitteeArgument,
    name: Name,
    url: Url,
    public_key: PublicKey,
    proof_of_possession: Proof,
    stake: Stake = 100,
    disperser: IsDisperser = False,
    as_json: AsJson = False,
) -> None:
    """Add a member. This changes the committee's hash: all members must switch to the new file together."""
    committee = load_committee(path)
    member = _member(name, url, public_key, proof_of_possession, stake, disperser=disperser)
    try:
        grown = dataclasses.replace(committee, members=(*committee.members, member))
    except InvalidCommittee as error:
        fail(str(error), code=EXIT_USAGE)
    write_new(path, grown.to_json() + "\n", force=True)
    emit(_summary(grown), as_json=as_json)


@app.command("check", epilog="Example: da committee check committee.json")
def check(path: CommitteeArgument, as_json: AsJson = False) -> None:
    """Check a committee file: values, keys, proofs of possession, and how many members may be absent."""
    committee = load_committee(path)
    values = _summary(committee)
    values["final_when_all_sign"] = finality(committee, range(len(committee.members))).final
    values["any_absent_tolerated"] = absences_tolerated(committee)
    if not committee.dispersers:
        stderr.print(
            "[yellow]no member is a disperser, so no payload can be posted; add one with --disperser[/]"
        )
    if len(committee.members) < committee.replication:
        stderr.print(
            f"[yellow]fewer members than replication {committee.replication}: each holds all columns[/]"
        )
    emit(values, as_json=as_json)


@app.command("show", epilog="Example: da committee show committee.json --json")
def show(path: CommitteeArgument, as_json: AsJson = False) -> None:
    """Show the members of a committee, their stakes and columns."""
    committee = load_committee(path)
    rows = [
        {
            "index": index,
            "name": member.name,
            "member_id": member.id,
            "url": member.url,
            "stake": member.stake,
            "disperser": member.disperser,
            "columns": len(columns_of(committee, index)),
        }
        for index, member in enumerate(committee.members)
    ]
    if as_json:
        emit({**_summary(committee), "members": rows}, as_json=True)
        return
    emit(_summary(committee), as_json=False)
    table = Table("index", "name", "member id", "url", "stake", "columns", "disperser", box=None)
    for row in rows:
        member_hex = committee.members[int(str(row["index"]))].id.hex()
        role = "yes" if row["disperser"] else ""
        table.add_row(
            str(row["index"]),
            str(row["name"]),
            "0x" + member_hex,
            Text(escaped(str(row["url"]))),  # each member chose its own
            str(row["stake"]),
            str(row["columns"]),
            role,
        )
    Console(width=None if Console().is_terminal else 240).print(table)


def absences_tolerated(committee: Committee) -> int:
    """The largest number n such that any n members may be absent and a batch still becomes final.

    Tries every subset of a size, up to ABSENCE_TRIALS_MAX of them; beyond that the result is a lower bound.
    """
    everybody = range(len(committee.members))
    tolerated = 0
    while math.comb(len(everybody), tolerated + 1) <= ABSENCE_TRIALS_MAX:
        for absent in itertools.combinations(everybody, tolerated + 1):
            if not finality(committee, set(everybody) - set(absent)).final:
                return tolerated
        tolerated += 1
    return tolerated


def _summary(committee: Committee) -> dict[str, object]:
    return {
        "committee_hash": committee.hash,
        "addresses_hash": committee.addresses_hash,
        "chain_id": committee.chain_id,
        "epoch": committee.epoch,
        "members": len(committee.members),
        "dispersers": [member.name for member in committee.dispersers],
        "total_stake": committee.total_stake,
        "threshold": f"{committee.threshold_numerator}/{committee.threshold_denominator}",
        "replication": committee.replication,
        "retention_s": committee.retention_s,
    }


def _member(name: str, url: str, public_key: str, proof: str, stake: int, *, disperser: bool) -> Member:
    try:
        key = bytes.fromhex(public_key.removeprefix("0x"))
        possession = bytes.fromhex(proof.removeprefix("0x"))
    except ValueError:
        fail(
            "public key and proof of possession must be 0x-hex, as printed by `da key show --proof`",
            code=EXIT_USAGE,
        )
    try:
        member = Member(
            name=name,
            url=url.rstrip("/"),
            public_key=key,
            proof_of_possession=possession,
            stake=stake,
            disperser=disperser,
        )
    except InvalidCommittee as error:
        fail(str(error), code=EXIT_USAGE)
    if not bls.verify_possession(key, possession):
        fail(
            "the proof of possession does not match the public key; its owner can create one with: "
            "da key show --proof"
        )
    return member
