"""The `da` command: files it makes, what it prints, how it ends, and that the docs know all of it."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer

from da import bls, keystore, outgoing
from da.cli import app, main
from da.protocol.committee import Committee
from da.settings import Settings, sections
from da.tokens import TokenConfig, token_digest

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md"


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def da(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run `da` in this process."""
    for name in ("DA_NODE_URL", "DA_API_TOKEN", "DA_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    # Standard keystores take a second and 256 MiB each; the cost is not what is tested here.
    create = keystore.create
    monkeypatch.setattr(keystore, "create", lambda *args: create(*args, iterations=2))

    def run(*arguments: object) -> Result:
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        captured = capsysbinary.readouterr()
        return Result(code, captured.out.decode("utf-8", "replace"), captured.err.decode("utf-8", "replace"))

    return run


@pytest.fixture
def password(tmp_path: Path) -> Path:
    """A file with a password."""
    return private(tmp_path / "password", "correct horse\nsecond line\n")


def private(path: Path, text: str) -> Path:
    """A file that only its owner can read."""
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def test_a_key_is_made_shown_and_never_overwritten(
    da: Callable[..., Result], tmp_path: Path, password: Path
) -> None:
    path = tmp_path / "key.json"
    made = da("key", "new", path, "--password-file", password, "--json")
    assert made.code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret = keystore.load(path, "correct horse")
    assert made.json()["public_key"] == "0x" + bls.public_key(secret).hex()
    assert secret.hex() not in made.out + made.err
    shown = da("key", "show", path, "--json")
    assert shown.json() == made.json()
    with_proof = da("key", "show", path, "--proof", "--password-file", password, "--json").json()
    proof = bytes.fromhex(with_proof["proof_of_possession"][2:])
    assert bls.verify_possession(bls.public_key(secret), proof)
    again = da("key", "new", path, "--password-file", password)
    assert (again.code, again.out) == (1, "")
    assert "never overwritten" in again.err


def test_a_key_comes_back_from_its_backup_with_mistakes_counted(
    da: Callable[..., Result], tmp_path: Path, password: Path
) -> None:
    path, copy, text_file = tmp_path / "key.json", tmp_path / "copy.json", tmp_path / "backup"
    da("key", "new", path, "--password-file", password)
    text = da("key", "backup", path, "--password-file", password).out
    position = next(i for i in range(len(text) // 2, len(text)) if text[i].isalnum())
    wrong = "X" if text[position] != "X" else "Y"
    private(text_file, text[:position] + wrong + text[position + 1 :])
    restored = da("key", "restore", copy, "--from", text_file, "--password-file", password, "--json")
    assert restored.code == 0, restored.err
    assert restored.json()["corrected"] >= 1
    assert keystore.load(copy, "correct horse") == keystore.load(path, "correct horse")


def test_a_backup_that_is_lost_is_refused(da: Callable[..., Result], tmp_path: Path, password: Path) -> None:
    text_file = tmp_path / "backup"
    private(text_file, "nothing like a backup")
    restored = da("key", "restore", tmp_path / "key.json", "--from", text_file, "--password-file", password)
    assert restored.code == 1
    assert restored.err.count("invalid backup text") == 1
    assert "more mistakes than can be corrected" in restored.err
    assert not (tmp_path / "key.json").exists()


def test_wrong_passwords_and_absent_files_are_reported_without_a_traceback(
    da: Callable[..., Result], tmp_path: Path, password: Path
) -> None:
    path = tmp_path / "key.json"
    da("key", "new", path, "--password-file", password)
    other = private(tmp_path / "other", "wrong\n")
    for arguments in (
        ("key", "backup", path, "--password-file", other),
        ("key", "backup", path, "--password-file", tmp_path / "absent"),
        ("key", "backup", tmp_path / "absent", "--password-file", password),
        ("key", "show", tmp_path / "absent"),
        ("key", "show", password),
    ):
        result = da(*arguments)
        assert result.code == 1, arguments
        assert result.out == ""
        assert result.err.startswith("error: ")
        assert "Traceback" not in result.err


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_secrets_that_others_can_access_are_refused_with_a_remedy(
    da: Callable[..., Result], tmp_path: Path, password: Path, mode: int
) -> None:
    path = tmp_path / "key.json"
    da("key", "new", path, "--password-file", password)
    backup = private(tmp_path / "backup", da("key", "backup", path, "--password-file", password).out)
    copy = tmp_path / "copy.json"
    for shared, arguments in (
        (password, ("key", "show", path, "--proof", "--password-file", password)),
        (password, ("key", "restore", copy, "--from", backup, "--password-file", password)),
        (backup, ("key", "restore", copy, "--from", backup, "--password-file", password)),
        (path, ("key", "show", path)),
    ):
        shared.chmod(mode)
        result = da(*arguments)
        assert (result.code, result.out) == (1, "")
        assert f"mode {mode:04o}" in result.err
        assert f"run: chmod 600 {shared}" in result.err
        shared.chmod(0o600)
        assert da(*arguments).code == 0
        copy.unlink(missing_ok=True)


def test_a_password_comes_from_a_pipe_whatever_its_mode(
    da: Callable[..., Result], tmp_path: Path, password: Path
) -> None:
    path = tmp_path / "key.json"
    da("key", "new", path, "--password-file", password)
    reading, writing = os.pipe()
    os.write(writing, b"correct horse\n")
    os.close(writing)
    os.fchmod(reading, 0o644)
    try:
        assert da("key", "backup", path, "--password-file", f"/dev/fd/{reading}").code == 0
    finally:
        os.close(reading)


def member_options(da: Callable[..., Result], tmp_path: Path, password: Path, name: str) -> list[str]:
    """What `da committee new` and `add` take of a fresh key."""
    path = tmp_path / f"{name}.json"
    da("key", "new", path, "--password-file", password)
    shown = da("key", "show", path, "--proof", "--password-file", password, "--json").json()
    return [
        "--name", name, "--url", "http://127.0.0.1:4560", "--public-key", shown["public_key"],
        "--proof-of-possession", shown["proof_of_possession"],
    ]  # fmt: skip


def test_a_committee_is_made_and_grows(da: Callable[..., Result], tmp_path: Path, password: Path) -> None:
    path = tmp_path / "committee.json"
    made = da(
        "committee", "new", path, *member_options(da, tmp_path, password, "a"), "--chain-id", 5, "--json"
    )
    assert made.code == 0, made.err
    for name in ("b", "c", "d"):
        added = da("committee", "add", path, *member_options(da, tmp_path, password, name), "--json")
        assert added.code == 0, added.err
    committee = Committee.load(path)
    assert sorted(member.name for member in committee.members) == ["a", "b", "c", "d"]
    assert [member.name for member in committee.dispersers] == ["a"]
    assert committee.chain_id == 5
    checked = da("committee", "check", path, "--json").json()
    assert checked["committee_hash"] == "0x" + committee.hash.hex() == added.json()["committee_hash"]
    assert (checked["final_when_all_sign"], checked["any_absent_tolerated"]) == (True, 1)
    shown = da("committee", "show", path, "--json").json()
    assert {row["name"]: row["columns"] for row in shown["members"]} == dict.fromkeys("abcd", 128)
    assert "127.0.0.1" in da("committee", "show", path).out


def test_a_committee_refuses_what_does_not_fit(
    da: Callable[..., Result], tmp_path: Path, password: Path
) -> None:
    path = tmp_path / "committee.json"
    options = member_options(da, tmp_path, password, "a")
    others = member_options(da, tmp_path, password, "b")
    assert da("committee", "new", path, *options, "--chain-id", 5).code == 0
    before = path.read_text()
    twice = da("committee", "add", path, *options)
    assert (twice.code, "two members have the same" in twice.err) == (2, True)
    foreign = da("committee", "add", path, *others[:-1], options[-1])
    assert (foreign.code, "proof of possession does not match" in foreign.err) == (1, True)
    assert da("committee", "add", path, *others[:-3], "zz", *others[-2:]).code == 2
    assert da("committee", "add", tmp_path / "absent", *others).code == 1
    again = da("committee", "new", path, *options, "--chain-id", 6)
    assert (again.code, "exists" in again.err) == (1, True)
    assert path.read_text() == before
    assert da("committee", "new", path, *options, "--chain-id", 6, "--force").code == 0


def test_a_bad_committee_file_is_told(da: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "committee.json"
    path.write_text('{"chain_id": [1]}')
    for command in ("check", "show"):
        result = da("committee", command, path)
        assert (result.code, result.out) == (1, "")
        assert str(path) in result.err


def test_a_token_and_its_block_fit(da: Callable[..., Result]) -> None:
    made = da("token", "new", "rollup", "--namespace", "rollup-*", "--namespace", "b", "--json").json()
    (table,) = tomllib.loads(made["settings"])["tokens"]
    assert TokenConfig(**table).sha256 == token_digest(made["token"])
    assert table["namespaces"] == ["rollup-*", "b"]
    text = da("token", "new", "rollup", "--namespace", "b")
    assert text.out.splitlines()[0].startswith("cellar_")


@pytest.mark.parametrize(
    "arguments",
    [
        ("rollup",),
        ("", "--namespace", "b"),
        ('a"b', "--namespace", "b"),
        ("a", "--namespace", "UPPER"),
        ("a", "--namespace", "a*b"),
    ],
)
def test_a_bad_token_is_a_wrong_command_line(da: Callable[..., Result], arguments: tuple[str, ...]) -> None:
    result = da("token", "new", *arguments)
    assert (result.code, result.out) == (2, "")


def test_the_example_config_is_complete_and_loads(da: Callable[..., Result], tmp_path: Path) -> None:
    text = da("config", "example").out
    for name in (*Settings.model_fields, *(field for s in sections().values() for field in s.model_fields)):
        assert re.search(rf"^(?:# )?\[{{0,2}}{name}\b", text, re.MULTILINE), name
    path = tmp_path / "node.toml"
    path.write_text(text)
    shown = da("config", "show", "--config", path, "--json").json()
    assert shown["http"]["port"] == 4560
    uncommented = re.sub(r"^# (\w+ = )(?!.*unset)", r"\1", text, flags=re.MULTILINE)
    path.write_text(uncommented)
    assert da("config", "show", "--config", path, "--json").json() == shown


def test_a_bad_config_is_told_in_one_line(da: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text("prot = 1\n")
    for command in (("config", "show"), ("node",)):
        result = da(*command, "--config", path)
        assert (result.code, result.out) == (1, "")
        assert 'did you mean "http.port"' in result.err.replace("\n", " ")


def test_a_node_that_cannot_start_says_what_to_do(
    da: Callable[..., Result], tmp_path: Path, password: Path
) -> None:
    config = tmp_path / "node.toml"
    config.write_text(
        'data_dir = "data"\ncommittee_file = "committee.json"\n'
        'keystore_file = "key.json"\npassword_file = "password"\n'
    )
    absent = da("node", "--config", config)
    assert (absent.code, "da committee new" in absent.err) == (1, True)
    options = member_options(da, tmp_path, password, "a")
    da("committee", "new", tmp_path / "committee.json", *options, "--chain-id", 5)
    no_key = da("node", "--config", config)
    assert (no_key.code, "da key new" in no_key.err) == (1, True)
    da("key", "new", tmp_path / "key.json", "--password-file", password)
    stranger = da("node", "--config", config)
    assert (stranger.code, "is no member of" in stranger.err) == (1, True)
    config.write_text(config.read_text().replace('password_file = "password"\n', ""))
    silent = da("node", "--config", config)
    assert (silent.code, "set password_file in the config file" in silent.err) == (2, True)
    config.write_text(config.read_text() + 'password_file = "password"\n')
    (tmp_path / "password").write_text("wrong\n")
    wrong = da("node", "--config", config)
    assert (wrong.code, "wrong password" in wrong.err) == (1, True)
    assert not (tmp_path / "data").exists(), "nothing is made before key and committee are right"


@pytest.fixture
def node_answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[httpx.Response], list[httpx.Request]]:
    """Let every request of the client commands be answered with this; gives the requests seen."""

    def answering(response: httpx.Response) -> list[httpx.Request]:
        seen: list[httpx.Request] = []

        def handle(request: httpx.Request) -> httpx.Response:
            request.read()
            seen.append(request)
            stream = httpx.ByteStream(response.content)
            return httpx.Response(response.status_code, headers=response.headers, stream=stream)

        real = outgoing.client
        monkeypatch.setattr(
            "da.client.blocking.outgoing.client",
            lambda transport=None, **options: real(httpx.MockTransport(handle), **options),
        )
        return seen

    return answering


INFO = {"payload_id": "0x" + "11" * 32, "namespace": "0x61" + "00" * 31, "status": "certified", "length": 3,
        "rows": 1, "created": True, "batch_height": 4, "certificate": "0x1234"}  # fmt: skip
ID = "0x" + "11" * 32


def test_posting_a_file(
    da: Callable[..., Result], node_answers: Callable[..., list[httpx.Request]], tmp_path: Path
) -> None:
    seen = node_answers(httpx.Response(200, json=INFO))
    file = tmp_path / "payload"
    file.write_bytes(b"abc")
    result = da("post", file, "--namespace", "a", "--token", "secret", "--url", "http://x", "--json")
    assert result.code == 0, result.err
    assert result.json()["payload_id"] == ID
    assert result.json()["namespace_label"] == "a"
    assert "certified in" in result.err
    assert (seen[0].content, seen[0].url.host) == (b"abc", "x")
    assert seen[0].headers["authorization"] == "Bearer secret"
    file.write_bytes(b"")
    empty = da("post", file, "--namespace", "a")
    assert (empty.code, "is empty" in empty.err) == (1, True)


def test_reading_a_payload(
    da: Callable[..., Result], node_answers: Callable[..., list[httpx.Request]], tmp_path: Path
) -> None:
    node_answers(httpx.Response(200, content=b"abc"))
    assert da("get", ID, "--no-verify").out == "abc"
    assert da("get", ID, "--no-verify", "--out", tmp_path / "copy").out == ""
    assert (tmp_path / "copy").read_bytes() == b"abc"
    assert da("get", ID, "--no-verify", "--out", tmp_path / "no" / "copy").code == 1
    unproven = da("get", ID)
    assert (unproven.code, unproven.out) == (1, ""), "bytes without a proof are not written"
    assert da("get", ID, "--no-verify", "--committee", tmp_path / "committee.json").code == 2
    assert da("get", ID, "--committee", tmp_path / "missing.json").code == 2
    assert da("get", "0x12").code == 2
    assert da("certificate", ID, "--json").json() == {"certificate": "0x616263"}


@pytest.mark.parametrize(
    ("status", "name", "code"),
    [(404, "NotFound", 1), (410, "Expired", 1), (401, "MissingToken", 1), (409, "NotCertified", 1)],
)
def test_definite_answers_end_with_1(
    da: Callable[..., Result],
    node_answers: Callable[..., list[httpx.Request]],
    status: int,
    name: str,
    code: int,
) -> None:
    node_answers(httpx.Response(status, json={"error": name, "message": "because [of] that"}))
    for command in (("status", ID), ("get", ID), ("proof", ID), ("opening", ID, "--index", 0), ("batches",)):
        result = da(*command)
        assert (result.code, result.out) == (code, "")
        assert f"{name}: because [of] that" in result.err


def test_not_now_ends_with_3(
    da: Callable[..., Result], node_answers: Callable[..., list[httpx.Request]]
) -> None:
    node_answers(
        httpx.Response(503, json={"error": "ReadOnly", "message": "full"}, headers={"retry-after": "60"})
    )
    result = da("status", ID, "--timeout", "0.5")
    assert (result.code, "try again" in result.err) == (3, True)


def test_a_node_that_is_not_there_ends_with_3(da: Callable[..., Result]) -> None:
    result = da("batches", "--url", "http://127.0.0.1:9", "--timeout", "0.1")
    assert (result.code, result.out) == (3, "")
    assert "is the node running?" in result.err.replace("\n", " ")


@pytest.mark.parametrize("url", ["localhost:4560", "notaurl", "http://", "ftp://127.0.0.1", "http://[::1"])
def test_an_address_that_is_none_is_a_wrong_command_line(da: Callable[..., Result], url: str) -> None:
    result = da("batches", "--url", url)
    assert (result.code, result.out) == (2, "")
    assert "http(s)://host[:port]" in result.err


@pytest.mark.parametrize(
    ("name", "cure"), [("NotADisperser", "DA_NODE_URL"), ("NamespaceForbidden", "DA_API_TOKEN")]
)
def test_the_cure_fits_the_refusal(
    da: Callable[..., Result],
    node_answers: Callable[..., list[httpx.Request]],
    tmp_path: Path,
    name: str,
    cure: str,
) -> None:
    file = tmp_path / "payload"
    file.write_bytes(b"x")
    node_answers(httpx.Response(403, json={"error": name, "message": "no"}))
    result = da("post", file, "--namespace", "a")
    assert (result.code, cure in result.err) == (1, True), result.err


def test_openings_need_one_place(da: Callable[..., Result]) -> None:
    assert da("opening", ID).code == 2
    assert da("opening", ID, "--index", 1, "--z", ID).code == 2


def test_a_wrong_command_line_ends_with_2(da: Callable[..., Result]) -> None:
    for arguments in (
        ("nothing",),
        ("post",),
        ("post", "x"),
        ("devnet", "--nodes", "0"),
        ("status", ID, "--no"),
    ):
        assert da(*arguments).code == 2, arguments


def test_the_version(da: Callable[..., Result]) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", da("--version").out)


def _commands(group: Any, prefix: str = "da") -> dict[str, Any]:
    found = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found.update(_commands(command, f"{prefix} {name}"))
        else:
            found[f"{prefix} {name}"] = command
    return found


def test_every_command_shows_an_example_that_is_right() -> None:
    for name, command in _commands(typer.main.get_command(app)).items():
        example = (command.epilog or "").partition(" > ")[0]
        assert example.startswith(f"Example: {name}"), name
        command.make_context(name, shlex.split(example.removeprefix(f"Example: {name}")))


def test_every_command_and_option_is_in_the_docs() -> None:
    text = DOCS.read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### `(da [^`]+?)(?: [A-Z[][^`]*)?`\n(.*?)(?=^##|\Z)", text, re.M | re.S))
    commands = _commands(typer.main.get_command(app))
    assert sorted(sections) == sorted(commands)
    for name, command in commands.items():
        documented = set(re.findall(r"`(--[\w-]+)", sections[name]))
        spellings = [(*parameter.opts, *parameter.secondary_opts) for parameter in command.params]
        real = {option for options in spellings for option in options if option.startswith("--")}
        assert documented == real - {"--help"}, name


def test_the_docs_tell_every_exit_code() -> None:
    from da.console import output

    text = DOCS.read_text(encoding="utf-8")
    for value in (0, output.EXIT_REFUSED, output.EXIT_USAGE, output.EXIT_NOT_NOW):
        assert f"| {value} |" in text
