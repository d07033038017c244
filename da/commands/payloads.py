"""`da post`, `get`, `status`, `certificate`, `proof`, `opening`, `batches`: calls of the API by hand."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from da.client import BatchDocument, PayloadInfo
from da.commands.reading import (
    DEFAULT_URL,
    Namespace,
    PayloadId,
    Timeout,
    Token,
    Url,
    connected,
    hash32,
    load_committee,
)
from da.console.output import EXIT_USAGE, AsJson, emit, emit_bytes, fail, read_input, say, stderr
from da.protocol import namespace as namespaces
from da.text import escaped

Out = Annotated[Path | None, typer.Option("--out", help="Write the bytes to this file.")]


def post(
    file: Annotated[Path, typer.Argument(help='File to post; "-" reads standard input.')],
    namespace: Annotated[str, typer.Option("--namespace", help="Namespace to post under.")],
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the certificate.")] = True,
    url: Url = DEFAULT_URL,
    token: Token = None,
    timeout: Timeout = 300.0,
    as_json: AsJson = False,
) -> None:
    """Post a file as one payload, and wait until it is certified."""
    payload = read_input(file)
    if not payload:
        fail(f"{file} is empty; a payload must have at least one byte")
    started_s = time.monotonic()
    with connected(url, token=token, timeout_s=timeout) as client:
        if not wait:
            info = client.post(namespace, payload)
        else:
            with stderr.status(f"posting {len(payload)} bytes to {url}, waiting for the certificate"):
                info = client.post_and_wait(namespace, payload)
    if info.certificate is not None:
        say(f"certified in {time.monotonic() - started_s:.2f} s at height {info.batch_height}")
    emit(_described(info), as_json=as_json)


def get(
    payload_id: PayloadId,
    out: Out = None,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Check the bytes; else take what the node sends.")
    ] = True,
    committee: Annotated[
        Path | None, typer.Option("--committee", "-c", help="Committee file; its certificate is checked too.")
    ] = None,
    others: Annotated[
        list[str] | None,
        typer.Option("--other-url", help="Another member to ask when this one does not have it; repeatable."),
    ] = None,
    url: Url = DEFAULT_URL,
    timeout: Timeout = 60.0,
) -> None:
    """Read a payload, checked, to a file or to a pipe."""
    id_bytes = hash32(payload_id, "payload id")
    if committee is not None and not verify:
        fail("--committee has no use with --no-verify", code=EXIT_USAGE)
    known = None if committee is None else load_committee(committee)
    with connected(url, timeout_s=timeout, committee=known, others=others or ()) as client:
        if not verify:
            content = client.payload(id_bytes, verify=False)
        else:
            read = client.read_payload(id_bytes)
            for member, text in read.said:
                say(f"{member}: {text}")
            content = read.content
    emit_bytes(content, out)


def status(
    payload_id: PayloadId,
    namespace: Namespace = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is certified.")] = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """Show the status of a payload: queued, encoding, dispersing, certified, failed or expired."""
    id_bytes = hash32(payload_id, "payload id")
    with connected(url, timeout_s=timeout) as client:
        info = client.wait(id_bytes, namespace) if wait else client.status(id_bytes, namespace)
    emit(_described(info), as_json=as_json)


def certificate(
    payload_id: PayloadId,
    namespace: Namespace = None,
    out: Out = None,
    url: Url = DEFAULT_URL,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """Fetch the certificate of a payload's batch, as bytes, or as hex with --json."""
    with connected(url, timeout_s=timeout) as client:
        content = client.certificate(hash32(payload_id, "payload id"), namespace)
    if as_json:
        emit({"certificate": content}, as_json=True)
    else:
        emit_bytes(content, out)


def proof(
    payload_id: PayloadId,
    namespace: Namespace = None,
    url: Url = DEFAULT_URL,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """Fetch the proof that a payload is in its batch."""
    with connected(url, timeout_s=timeout) as client:
        emit(client.proof(hash32(payload_id, "payload id"), namespace), as_json=as_json)


def opening(
    payload_id: PayloadId,
    z: Annotated[str | None, typer.Option(help="Point to open at: 0x followed by 64 hex digits.")] = None,
    index: Annotated[
        int | None, typer.Option(min=0, help="Index of the element in the payload's rows, from 0.")
    ] = None,
    row: Annotated[int, typer.Option(min=0, help="Row of the payload to open at --z, from 0.")] = 0,
    url: Url = DEFAULT_URL,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """Fetch a KZG opening at a point (--z) or an element (--index), with the 0x0A calldata."""
    if (z is None) == (index is None):
        fail("give exactly one of --z and --index", code=EXIT_USAGE)
    point = None if z is None else hash32(z, "--z")
    with connected(url, timeout_s=timeout) as client:
        found = client.opening(hash32(payload_id, "payload id"), z=point, index=index, row=row)
    emit(found, as_json=as_json)


def batches(
    from_height: Annotated[int, typer.Option("--from", min=1, help="First height.")] = 1,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of batches.")] = 20,
    disperser: Annotated[
        str | None,
        typer.Option(help="Member id (0x-hex) of the disperser whose log to list, if there are several."),
    ] = None,
    url: Url = DEFAULT_URL,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """List certified batches of the log."""
    disperser_id = None if disperser is None else hash32(disperser, "--disperser")
    with connected(url, timeout_s=timeout) as client:
        found = client.batches(from_height, limit, disperser_id)
    if as_json:
        emit({"batches": [_batch_row(batch) for batch in found]}, as_json=True)
        return
    table = Table("height", "time (UTC)", "rows", "payloads", "bytes", "state", "header hash", box=None)
    for batch in found:
        row = _batch_row(batch)
        table.add_row(
            *(str(row[key]) for key in ("height", "time", "rows", "payloads", "bytes")),
            Text(escaped(str(row["state"]))),  # the node's word
            "0x" + batch.header.hash.hex(),
        )
    Console(width=None if Console().is_terminal else 240).print(table)


def _batch_row(batch: BatchDocument) -> dict[str, Any]:
    header = batch.header
    return {
        "height": header.height,
        "header_hash": header.hash,
        "time": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(header.timestamp_ms / 1000)),
        "timestamp_ms": header.timestamp_ms,
        "rows": header.row_count,
        "payloads": len(batch.payload_list.entries),
        "payload_ids": [entry.payload_id for entry in batch.payload_list.entries],
        "bytes": sum(entry.length for entry in batch.payload_list.entries),
        "state": batch.state,
    }


def _described(info: PayloadInfo) -> dict[str, Any]:
    values = {name: value for name, value in dataclasses.asdict(info).items() if value is not None}
    values["namespace_label"] = namespaces.label(info.namespace)
    return values
