"""A dishonest node, for demonstrations and tests on a devnet only: `python -m da.devnet.adversary`.

A node like any other that has signed for its columns, with a layer in front of its app which then
- withholds: answers as if it did not hold the given columns (cells, folds, whole columns) and could not
  rebuild payloads; or
- corrupts: serves cells and folds of the given columns with one byte changed.
Batches and certificates stay honest, which is what makes the lie worth finding. From a height on, if asked.

Does not: touch the store; started again as `da node`, the node is honest.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from da import settings as node_settings
from da.console import logs
from da.console.output import CommandError, ask_password, fail, say
from da.errors import DaError
from da.wire import folds
from da.wire.cells import NOT_HELD, CellAnswer, Record, decode_answer, decode_query, encode_answer
from da.wire.errors import encode_bytes
from erasure.constants import BYTES_PER_CELL, CELLS_PER_EXT_BLOB

CELLS_MAX = 65_536  # the most that the setting records_per_read_max allows
_CELL = re.compile(r"/v1/batches/([^/]+)/cells/(\d+)/(\d+)")
_CELLS = re.compile(r"/v1/batches/([^/]+)/cells")
_FOLDS = re.compile(r"/v1/batches/([^/]+)/folds")
_COLUMN = re.compile(r"/v1/batches/([^/]+)/columns/(\d+)")
_PAYLOAD = re.compile(r"/v1/payloads/0x([0-9a-fA-F]{64})(?:/opening)?")


@dataclass(frozen=True)
class Lies:
    """What a dishonest node does: with these columns, in batches of at least this height."""

    withheld: frozenset[int] = frozenset()
    corrupted: frozenset[int] = frozenset()
    from_height: int = 1

    def answer(self, column: int, honest: CellAnswer) -> CellAnswer:
        """What it serves in place of the honest answer about a cell or a column."""
        if column in self.withheld:
            return NOT_HELD
        if isinstance(honest, Record) and column in self.corrupted:
            return Record(corrupted(honest.content))
        return honest


def corrupted(record: bytes) -> bytes:
    """A record, or the first of a column's, with the last byte of its cell changed.

    It stays a canonical field element (the least significant byte changes), so only the proof shows it.
    """
    position = BYTES_PER_CELL - 1
    return record[:position] + bytes([record[position] ^ 1]) + record[position + 1 :]


class Dishonest:
    """The layer in front of an honest app."""

    def __init__(self, app: Any, lies: Lies) -> None:
        self._app: ASGIApp = app
        self._node = app.state.api.node
        self._lies = lies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, method = scope["path"], scope["method"]
        if method == "GET" and (found := _PAYLOAD.fullmatch(path)) and await self._withholds(found[1]):
            await _refuse(send, 503, "NotReconstructable", "too few columns can be had")
        elif method == "GET" and (found := _CELL.fullmatch(path)) and await self._lies_about(found[1]):
            await self._one(int(found[3]), scope, receive, send)
        elif method == "GET" and (found := _COLUMN.fullmatch(path)) and await self._lies_about(found[1]):
            await self._one(int(found[2]), scope, receive, send)
        elif method == "POST" and (found := _CELLS.fullmatch(path)) and await self._lies_about(found[1]):
            await self._many(_columns_of_cells, scope, receive, send)
        elif method == "POST" and (found := _FOLDS.fullmatch(path)) and await self._lies_about(found[1]):
            await self._many(_columns_of_folds, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _lies_about(self, ref: str) -> bool:
        if self._lies.from_height <= 1:
            return True
        if ref.isdigit():
            return int(ref) >= self._lies.from_height
        try:
            record = await self._node.batch(bytes.fromhex(ref.removeprefix("0x")))
        except (DaError, ValueError):
            return False
        return bool(record.header.height >= self._lies.from_height)

    async def _withholds(self, payload_id: str) -> bool:
        if not self._lies.withheld:
            return False
        try:
            height = (await self._node.payload_status(bytes.fromhex(payload_id))).batch_height
        except DaError:
            return False
        return height is None or height >= self._lies.from_height

    async def _one(self, column: int, scope: Scope, receive: Receive, send: Send) -> None:
        """A cell or a column: the honest answer, corrupted or withheld."""
        status, headers, body = await self._honest(scope, receive)
        served = self._lies.answer(column, Record(body)) if status == 200 else Record(body)
        if isinstance(served, Record):
            await _answer(send, status, headers, served.content)
        else:
            await _refuse(send, 404, "ColumnNotHeld", f"no column {column}", column=column)

    async def _many(
        self, columns_of: Callable[[bytes], list[int]], scope: Scope, receive: Receive, send: Send
    ) -> None:
        """An answer to many cells or folds, each corrupted or withheld; `columns_of` reads the query."""
        asked = bytearray()
        more = True
        while more:
            message = await receive()
            asked += message.get("body", b"")
            more = message.get("more_body", False)
        messages: list[Message] = [{"type": "http.request", "body": bytes(asked), "more_body": False}]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        status, headers, body = await self._honest(scope, replay)
        if status == 200:
            columns = columns_of(bytes(asked))
            honest = decode_answer(body, len(columns))
            body = encode_answer(list(map(self._lies.answer, columns, honest)))
        await _answer(send, status, headers, body)

    async def _honest(self, scope: Scope, receive: Receive) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        start: Message = {}
        body = bytearray()

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                body.extend(message.get("body", b""))

        await self._app(scope, receive, keep)
        return start["status"], list(start["headers"]), bytes(body)


def _columns_of_cells(query: bytes) -> list[int]:
    return [column for _, column in decode_query(query, CELLS_MAX)]


def _columns_of_folds(query: bytes) -> list[int]:
    return list(folds.decode_query(query).columns)


async def _refuse(send: Send, status: int, error: str, message: str, **fields: object) -> None:
    body = encode_bytes(error, message, **fields)
    await _answer(send, status, [(b"content-type", b"application/json")], body)


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    kept = [(name, value) for name, value in headers if name.lower() != b"content-length"]
    kept.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": kept})
    await send({"type": "http.response.body", "body": body})


def columns_of_text(text: str) -> frozenset[int]:
    """Columns out of a text like "0-64,70": ranges include both ends. Raises CommandError."""
    columns: set[int] = set()
    for part in text.split(","):
        found = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", part.strip(), re.ASCII)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not 0 <= first <= last < CELLS_PER_EXT_BLOB:
            fail(f"columns are written like 0-64,70, each 0..{CELLS_PER_EXT_BLOB - 1}; not {text!r}", code=2)
        columns.update(range(first, last + 1))
    return frozenset(columns)


def run(
    config: Annotated[Path, typer.Option("--config", help="The node's TOML config file.")],
    withhold: Annotated[str | None, typer.Option(help="Columns to keep back, like 0-64,70.")] = None,
    corrupt: Annotated[str | None, typer.Option(help="Columns to serve with a wrong byte.")] = None,
    from_height: Annotated[int, typer.Option(min=1, help="Be honest about batches below this height.")] = 1,
    stop_with_stdin: Annotated[
        bool, typer.Option("--stop-with-stdin", help="Stop when input closes.")
    ] = False,
) -> None:
    """Run a devnet node that withholds or corrupts columns. For demonstrations only."""
    from da import bootstrap  # loads the engine and the server

    try:
        settings = node_settings.load(config)
    except node_settings.SettingsError as error:
        fail(str(error))
    logs.set_up(settings.log)
    lies = Lies(
        withheld=columns_of_text(withhold) if withhold else frozenset(),
        corrupted=columns_of_text(corrupt) if corrupt else frozenset(),
        from_height=from_height,
    )
    logging.getLogger("cellar.devnet").warning(
        "dishonest node: withholds %d columns, corrupts %d, from height %d",
        len(lies.withheld),
        len(lies.corrupted),
        from_height,
    )
    try:
        bootstrap.run(
            settings,
            ask_password(settings.password_file),
            wrap=lambda app: Dishonest(app, lies),
            stop_with_stdin=stop_with_stdin,
        )
    except bootstrap.StartupError as error:
        fail(str(error))


def main() -> None:
    """Run the command; ends the process with its exit code."""
    try:
        typer.run(run)
    except CommandError as error:
        say(f"error: {error}")
        sys.exit(error.code)


if __name__ == "__main__":
    main()
