"""The files of a devnet: one directory for the committee, one below it for each node.

    DIR/committee.json      DIR/token            the API token for posting, mode 0600
    DIR/node-0/node.toml    DIR/node-0/key.json  DIR/node-0/password  DIR/node-0/data/  DIR/node-0/node.log

Each node has its own key, password, store and config and shares nothing with the others, as on separate
machines. Node 0 is the disperser. Files that exist already are kept.

Does not: start anything.
"""

from __future__ import annotations

import json
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from da import bls, keystore, tokens
from da.protocol.committee import Committee, Member
from da.section import MIB

HOST = "127.0.0.1"
CHAIN_ID = 1337
STAKE = 100
# scrypt with its standard cost takes a second and 256 MiB; these keys protect nothing.
SCRYPT_ITERATIONS = 2**10
RESERVE_BYTES = 16 * MIB
DISPERSER = 0
TOKEN_BYTES_PER_SECOND = 64 * MIB
TOKEN_BURST_BYTES = 256 * MIB


@dataclass(frozen=True)
class NodeFiles:
    """Where one node's files are, and its address."""

    name: str
    directory: Path
    url: str

    @property
    def config(self) -> Path:
        """The node's TOML file."""
        return self.directory / "node.toml"

    @property
    def log(self) -> Path:
        """Where the devnet writes what the node logs."""
        return self.directory / "node.log"


def free_ports(count: int) -> list[int]:
    """Different TCP ports on loopback that nothing is listening on."""
    held = [socket.socket() for _ in range(count)]
    try:
        for holder in held:
            holder.bind((HOST, 0))
        return [int(holder.getsockname()[1]) for holder in held]
    finally:
        for holder in held:
            holder.close()


def make(
    directory: Path, node_count: int, *, base_port: int | None, batch_interval_ms: int
) -> list[NodeFiles]:
    """Create the files of a committee, unless they exist; returns the nodes in order of their names.

    Args:
        base_port: node i listens on base_port + i; None takes free ports.
    """
    committee_file = directory / "committee.json"
    if committee_file.exists():
        return read(directory)
    directory.mkdir(parents=True, exist_ok=True)
    ports = free_ports(node_count) if base_port is None else [base_port + i for i in range(node_count)]
    token = tokens.new_token()
    nodes, members = [], []
    for index, port in enumerate(ports):
        node = NodeFiles(f"node-{index}", directory / f"node-{index}", f"http://{HOST}:{port}")
        secret = _make_key(node)
        _write_config(node, port, index == DISPERSER, token, batch_interval_ms)
        nodes.append(node)
        members.append(
            Member(
                name=node.name,
                url=node.url,
                public_key=bls.public_key(secret),
                proof_of_possession=bls.prove_possession(secret),
                stake=STAKE,
                disperser=index == DISPERSER,
            )
        )
    _write_private(directory / "token", token + "\n")
    committee = Committee(chain_id=CHAIN_ID, epoch=1, members=tuple(members))
    committee_file.write_text(
        committee.to_json() + "\n", encoding="utf-8"
    )  # last: it marks the others as complete
    return nodes


def read(directory: Path) -> list[NodeFiles]:
    """The nodes of a directory that `make` created. Raises OSError, InvalidCommittee."""
    committee = Committee.load(directory / "committee.json")
    nodes = [NodeFiles(member.name, directory / member.name, member.url) for member in committee.members]
    return sorted(nodes, key=lambda node: int(node.name.removeprefix("node-")))


def _make_key(node: NodeFiles) -> bytes:
    node.directory.mkdir(mode=0o700, exist_ok=True)
    secret, password = bls.generate_secret(), secrets.token_urlsafe(16)
    key_file = node.directory / "key.json"
    key_file.unlink(missing_ok=True)  # left by a `make` that was interrupted before it wrote the committee
    keystore.create(key_file, secret, password, iterations=SCRYPT_ITERATIONS)
    _write_private(node.directory / "password", password + "\n")
    return secret


def _write_config(node: NodeFiles, port: int, disperser: bool, token: str, batch_interval_ms: int) -> None:
    values: dict[str, object] = {
        "data_dir": "data",
        "committee_file": "../committee.json",
        "keystore_file": "key.json",
        "password_file": "password",
        "roles": ["member", "disperser"] if disperser else ["member"],
    }
    tables: dict[str, dict[str, object]] = {
        "http": {"host": HOST, "port": port},
        "store": {"reserve_bytes": RESERVE_BYTES},
        "disperser": {"batch_interval_ms": batch_interval_ms},
    }
    if not disperser:
        tables["engine"] = {"workers": 1}  # it only verifies, and six nodes share one machine
    text = f"# {node.name} of a devnet; its keys protect nothing\n" + _toml(values)
    for name, table in tables.items():
        text += f"\n[{name}]\n" + _toml(table)
    if disperser:
        text += "\n" + tokens.settings_block(
            token, "devnet", ["*"], TOKEN_BYTES_PER_SECOND, TOKEN_BURST_BYTES
        )
    node.config.write_text(text, encoding="utf-8")


def _toml(values: dict[str, object]) -> str:
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
