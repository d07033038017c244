"""JSON from outside, in every program: one decoder, and documents that would overrun the stack are refused.

The walk is over the source: no module parses JSON or TOML by itself. The attack is on each public entry, in a
process of its own whose recursion limit is as high as the packages that raise it leave it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import da

SOURCES = Path(da.__file__).parents[1]
PROGRAMS = ("da", "erasure", "gpu", "kzg", "light_client", "sampling")

# Modules that take text or bytes apart, and functions of others that do.
PARSING_MODULES = frozenset(
    {"tomllib", "orjson", "ujson", "simplejson", "yaml", "pickle", "marshal", "shelve", "plistlib", "xml"}
)
PARSING_CALLS = frozenset(
    {"model_validate_json", "validate_json", "parse_raw", "raw_decode", "literal_eval", "eval", "exec"}
)
WRITING = frozenset({"dumps", "dump"})
ALLOWED = {
    ("da/protocol/strict_json.py", "json.JSONDecoder"): "the decoder itself",
    ("da/protocol/strict_json.py", "json.JSONDecodeError"): "its error",
    ("da/settings.py", "tomllib"): "the config file: bounded, and the parser recurses in Python alone",
}


def parsers_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in PARSING_MODULES)
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".")[0]
            if module in PARSING_MODULES | {"json"}:
                yield str(node.module)
        elif isinstance(node, ast.Attribute):
            if ast.unparse(node.value) == "json" and node.attr not in WRITING:
                yield f"json.{node.attr}"
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func).rsplit(".", 1)[-1]
            takes_no_value = isinstance(node.func, ast.Attribute) and not node.args
            if name in PARSING_CALLS or (name == "json" and takes_no_value):  # response.json()
                yield ast.unparse(node.func)


def test_nothing_but_the_strict_decoder_parses_documents() -> None:
    found = {
        (path.relative_to(SOURCES).as_posix(), name)
        for program in PROGRAMS
        for path in (SOURCES / program).rglob("*.py")
        for name in parsers_in(ast.parse(path.read_bytes()))
    }
    assert found == set(ALLOWED)


# Each defines a coroutine `attack` that meets the document DEEP; beside it, the error that must come of it.
PEER = """
import httpx
from da import bls
from da.errors import DaError
from da.transport.http import HttpTransport
from da.protocol.committee import Member
from aiohttp import web

async def ask(status, question):
    async def handler(request):
        return web.Response(status=status, body=DEEP, content_type="application/json")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    secret = bytes(31) + bytes([5])
    member = Member(
        name="peer",
        url=f"http://127.0.0.1:{runner.addresses[0][1]}",
        public_key=bls.public_key(secret),
        proof_of_possession=bls.prove_possession(secret),
        stake=1,
    )
    try:
        async with HttpTransport() as transport:
            await question(transport, member)
    finally:
        await runner.cleanup()
"""
CLIENT = """
import httpx
from da.client import CellarClient

def client(status):
    transport = httpx.MockTransport(lambda request: httpx.Response(status, stream=httpx.ByteStream(DEEP)))
    return CellarClient("http://node", transport=transport, timeout_s=1)
"""
LIGHT_CLIENT = (
    PEER
    + """
from light_client.peers import MemberClient

def member_client(status):
    secret = bytes(31) + bytes([5])
    member = Member(name="peer", url="http://peer", public_key=bls.public_key(secret),
                    proof_of_possession=bls.prove_possession(secret), stake=1)
    async def body():
        yield DEEP
    transport = httpx.MockTransport(lambda request: httpx.Response(status, content=body()))
    return MemberClient(0, member, transport)
"""
)
LOG = """
import random, sqlite3
from pathlib import Path
from light_client.log import HeaderLog

def damaged():
    log = HeaderLog(Path(f"state-{len(DEEP)}"))
    log.plan(HASH, 5, 26, random.Random(1), 0)
    log.put_verdict(HASH, 1, "available", "available", 0, DEEP.decode(), keep=1)
    with sqlite3.connect(log.directory / "light-client.sqlite3") as db:
        db.execute("UPDATE plans SET cells = ?", (DEEP.decode(),))
    return log
"""
ATTACKS = {
    "a member's time": (
        PEER + "attack = lambda: ask(200, lambda t, m: t.get_time(m, 30))",
        "PeerMisbehaved",
    ),
    "a member's page": (
        PEER + "attack = lambda: ask(200, lambda t, m: t.get_batches(m, HASH, 1, 9, 30))",
        "PeerMisbehaved",
    ),
    "a member's refusal": (
        PEER + "attack = lambda: ask(403, lambda t, m: t.put_certificate(m, HASH, bytes(9), 30))",
        "PeerMisbehaved",
    ),
    "a node's answer": (CLIENT + "async def attack(): client(200).status(HASH)", "InvalidAnswer"),
    "a node's batches": (CLIENT + "async def attack(): list(client(200).batches(1))", "InvalidAnswer"),
    "a node's refusal": (CLIENT + "async def attack(): client(404).status(HASH)", "InvalidAnswer"),
    "a light client's batch": (
        LIGHT_CLIENT + "attack = lambda: member_client(200).batch('1', None, 30)",
        "PeerMisbehaved",
    ),
    "a light client's page": (
        LIGHT_CLIENT + "attack = lambda: member_client(200).batches(1, 9, HASH, 30)",
        "PeerMisbehaved",
    ),
    "a light client's payload": (
        LIGHT_CLIENT + "attack = lambda: member_client(200).batch_of_payload(HASH, 30)",
        "PeerMisbehaved",
    ),
    "a light client's refusal": (
        LIGHT_CLIENT + "attack = lambda: member_client(404).batch('1', None, 30)",
        "PeerUnreachable",
    ),
    "chosen coordinates": (
        LOG + "async def attack(): damaged().plan(HASH, 5, 26, random.Random(1), 0)",
        "StateError",
    ),
    "a report": (
        LOG + "from light_client import cli\nasync def attack(): cli._read_report(damaged().verdict(1))",
        "StateError",
    ),
    "cells asked for": (
        "from da.api import batches\nasync def attack(): batches._pairs(DEEP, 2**16)",
        "InvalidParameter",
    ),
    "a committee file": (
        "from da.protocol.committee import Committee\nasync def attack(): Committee.load(FILE)",
        "InvalidCommittee",
    ),
    "a keystore": (
        "from da import keystore\nasync def attack(): keystore.load(SMALL_FILE, 'password')",
        "InvalidKeystore",
    ),
    "a keystore's public key": (
        "from da import keystore\nasync def attack(): keystore.read_public_key(SMALL_FILE)",
        "InvalidKeystore",
    ),
    "arrays in a config file": (
        "from da import settings\nfrom pathlib import Path\n"
        "Path('a.toml').write_text('port = ' + '[' * COUNT)\n"
        "async def attack(): settings.load(Path('a.toml'))",
        "SettingsError",
    ),
    "dotted keys in a config file": (
        "from da import settings\nfrom pathlib import Path\n"
        "Path('a.toml').write_text('port = [{' + '.'.join(['a'] * COUNT) + ' = 1}]')\n"
        "async def attack(): settings.load(Path('a.toml'))",
        "SettingsError",
    ),
}
HARNESS = """
import asyncio, os, sys
from pathlib import Path
COUNT = 200_000
HASH = bytes(range(32))
FILE, SMALL_FILE = Path("deep.json"), Path("small.json")
{case}
sys.setrecursionlimit(100_000)
for opening in (b'[', b'{"a":'):
    DEEP = opening * COUNT
    FILE.write_bytes(DEEP)
    SMALL_FILE.write_bytes(DEEP[:65_000])
    SMALL_FILE.chmod(0o600)
    try:
        asyncio.run(attack())
    except Exception as error:
        print(type(error).__name__, flush=True)
"""


@pytest.mark.parametrize("case", ATTACKS)
def test_a_deep_document_is_an_error_of_its_kind(case: str, tmp_path: Path) -> None:
    code, error = ATTACKS[case]
    done = subprocess.run(
        [sys.executable, "-c", HARNESS.replace("{case}", code)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (0, [error, error]), done.stderr
