"""What a node refuses to start with, and its log lines."""

from __future__ import annotations

import json
import logging
import resource
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from da import bls, bootstrap, keystore
from da.bootstrap import (
    EARLIEST_CLOCK_MS,
    OPEN_FILES_WANTED,
    StartupError,
    bind,
    check_surroundings,
    count_fallbacks,
    identify,
    open_node_engine,
    open_store,
    raise_file_limit,
)
from da.console.logs import JsonFormatter
from da.protocol.committee import Committee, Member
from da.protocol.committee_chain import CommitteeChain, Link
from da.protocol.handover import Handover, HandoverTerms
from da.settings import Settings
from gpu import EngineOptions, FallbackVerifier
from kzg.engine import Prover
from tests.da.support import nested

SECRET = bytes([0] * 31 + [7])


def committee(secret: bytes = SECRET, **changes: Any) -> Committee:
    values: dict[str, Any] = {
        "name": "a",
        "url": "http://127.0.0.1:4560",
        "public_key": bls.public_key(secret),
        "proof_of_possession": bls.prove_possession(secret),
        "stake": 1,
        "disperser": True,
    }
    return Committee(chain_id=1, epoch=1, members=(Member(**{**values, **changes}),))


@pytest.fixture
def settings_of(tmp_path: Path) -> Callable[..., Settings]:
    """Settings of a node whose key and committee are there."""
    keystore.create(tmp_path / "key.json", SECRET, "password", iterations=2)
    (tmp_path / "committee.json").write_text(committee().to_json())

    def make(**changes: Any) -> Settings:
        values = {
            "data_dir": tmp_path / "data",
            "committee_file": tmp_path / "committee.json",
            "keystore_file": tmp_path / "key.json",
        }
        return Settings(**nested(**{**values, **changes}))

    return make


def test_key_and_committee_find_each_other(settings_of: Callable[..., Settings]) -> None:
    identity = identify(settings_of(), "password")
    assert (identity.member.name, identity.secret, identity.column_count) == ("a", SECRET, 128)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda path: (path / "committee.json").unlink(), "da committee new"),
        (lambda path: (path / "committee.json").write_text("{}"), "committee.json"),
        (lambda path: (path / "key.json").unlink(), "da key new"),
        (lambda path: (path / "key.json").chmod(0o644), "chmod 600"),
        (
            lambda path: (path / "committee.json").write_text(committee(bytes([0] * 31 + [8])).to_json()),
            "is no member of",
        ),
        (
            lambda path: (path / "committee.json").write_text(committee(disperser=False).to_json()),
            "does not name a",
        ),
    ],
    ids=["no-committee", "bad-committee", "no-key", "open-key", "stranger", "no-disperser"],
)
def test_what_cannot_work_is_refused_with_advice(
    settings_of: Callable[..., Settings], tmp_path: Path, spoil: Callable[[Path], None], told: str
) -> None:
    settings = settings_of(roles=("member", "disperser"))
    identify(settings, "password")
    spoil(tmp_path)
    with pytest.raises(StartupError, match=told) as caught:
        identify(settings, "password")
    assert SECRET.hex() not in str(caught.value)


def test_the_chain_has_the_committee_in_office(
    settings_of: Callable[..., Settings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, following = committee(), replace(committee(), epoch=2)
    path = tmp_path / "committees.json"
    settings = settings_of(chain_file=path)
    with pytest.raises(StartupError, match="da committee rotate"):
        identify(settings, "password")
    path.write_text("{}")
    with pytest.raises(StartupError, match="is missing"):
        identify(settings, "password")
    path.write_text(CommitteeChain(following).to_json())
    with pytest.raises(StartupError, match="does not have the committee"):
        identify(settings, "password")
    terms = HandoverTerms.between(old, following, valid_until_s=1)
    handover = Handover.gather(terms, old, {0: terms.sign(SECRET).signature})
    path.write_text(CommitteeChain(old).extended(Link(handover, following)).to_json())
    identity = identify(settings, "password")
    assert identity.chain.committees == (old, following)
    assert "goes on to epoch 2" in caplog.text
    assert identify(settings_of(), "password").chain.committees == (old,)


def test_a_wrong_password_is_told(settings_of: Callable[..., Settings]) -> None:
    with pytest.raises(StartupError, match="wrong password"):
        identify(settings_of(), "other")


def test_a_clock_that_was_never_set_is_refused(settings_of: Callable[..., Settings]) -> None:
    settings = settings_of()
    identity = identify(settings, "password")
    check_surroundings(settings, identity, EARLIEST_CLOCK_MS)
    with pytest.raises(StartupError, match="1970-01-01"):
        check_surroundings(settings, identity, 1000)


def test_an_address_that_peers_may_not_reach_is_warned_of(
    settings_of: Callable[..., Settings], caplog: pytest.LogCaptureFixture
) -> None:
    identity = identify(settings_of(), "password")
    check_surroundings(settings_of(), identity, EARLIEST_CLOCK_MS)
    assert caplog.records == []
    check_surroundings(settings_of(port=4561), identity, EARLIEST_CLOCK_MS)
    assert "behind a proxy" in caplog.text


def test_a_forced_engine_that_is_missing_or_unknown_is_refused(settings_of: Callable[..., Settings]) -> None:
    with pytest.raises(StartupError, match="engine"):
        open_node_engine(settings_of(engine="nonsense"))


@pytest.mark.parametrize("role", ["member", "disperser"])
def test_the_engine_is_opened_as_the_settings_say(
    settings_of: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    opened: list[tuple[str, EngineOptions]] = []

    def open_as(part: str) -> Callable[[EngineOptions], str]:
        return lambda options: opened.append((part, options)) or part

    monkeypatch.setattr(bootstrap, "open_engine", open_as("engine"))
    monkeypatch.setattr(bootstrap, "open_verifier", open_as("verifier"))
    settings = settings_of(
        engine="host", engine_workers=3, engine_table="large", engine_fallback="ckzg", roles=[role]
    )
    part = "engine" if role == "disperser" else "verifier"
    assert open_node_engine(settings) == (part, part if role == "disperser" else None)
    assert opened == [(part, EngineOptions("host", workers=3, table="large", fallback="ckzg"))]


def test_a_node_that_only_verifies_has_no_tables_for_proving(
    settings_of: Callable[..., Settings],
) -> None:
    verifier, prover = open_node_engine(settings_of(engine_workers=1, engine_table="large", roles=["member"]))
    with verifier:
        assert prover is None
        assert not isinstance(verifier, Prover)
        assert verifier.describe()["table_bytes"] < 1 << 20


def test_an_engine_to_fall_back_to_is_checked_and_counted(settings_of: Callable[..., Settings]) -> None:
    with pytest.raises(StartupError, match="fallback must be one of auto, cuda, host, ckzg; got 'nonsense'"):
        open_node_engine(settings_of(engine="ckzg", engine_fallback="nonsense"))
    settings = settings_of(engine="ckzg", engine_workers=1, engine_fallback="ckzg", roles=["member"])
    verifier, _ = open_node_engine(settings)
    with verifier:
        assert isinstance(verifier, FallbackVerifier)
        registry = CollectorRegistry()
        count_fallbacks(verifier, registry)
        assert registry.get_sample_value("cellar_engine_fallbacks") == 0


def test_a_data_directory_has_one_owner(settings_of: Callable[..., Settings]) -> None:
    settings = settings_of()
    store = open_store(settings)
    try:
        with pytest.raises(StartupError, match="in use by process"):
            open_store(settings)
    finally:
        store.close()
    open_store(settings).close()


def test_a_recovery_finding_is_logged_once_at_a_start(
    settings_of: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def stop_at_once(*_: object) -> None:
        return

    monkeypatch.setattr(bootstrap, "_serve", stop_at_once)
    settings = settings_of(port=0, engine="ckzg", engine_workers=1)
    open_store(settings).close()
    (settings.data_dir / "store" / "buckets" / "notes.txt").write_text("foreign")
    for _ in range(2):
        caplog.clear()
        bootstrap.run(settings, "password")
        lines = [record for record in caplog.records if "notes.txt" in record.getMessage()]
        assert [(record.name, record.levelname) for record in lines] == [("cellar.store", "WARNING")]


def test_a_data_directory_that_is_a_file_is_refused(
    settings_of: Callable[..., Settings], tmp_path: Path
) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StartupError, match="data directory"):
        open_store(settings_of())


def test_an_address_in_use_or_not_ours_is_refused(settings_of: Callable[..., Settings]) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(StartupError, match="is another node running"),
    ):
        bind(settings_of(port=other.getsockname()[1]))
    for host in ("192.0.2.1", "no such host"):
        with pytest.raises(StartupError, match="cannot listen on"):
            bind(settings_of(host=host, port=0))
    with bind(settings_of(port=0)) as bound:
        assert bound.getsockname()[0] == "127.0.0.1"


def test_the_limit_of_open_files_is_raised_to_what_is_allowed() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        raise_file_limit()
        raised, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert raised > 256
        assert raised in (hard, OPEN_FILES_WANTED)
        raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (raised, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_log_lines_for_machines() -> None:
    record = logging.LogRecord("cellar.node", logging.WARNING, "f", 1, "height %d: %s", (7, "é\n"), None)
    record.created, record.msecs = 1_700_000_000.25, 250
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warning",
        "logger": "cellar.node",
        "message": "height 7: é\\n",
    }
    error = ValueError("boom")
    record.exc_info = (ValueError, error, None)
    assert "boom" in json.loads(JsonFormatter().format(record))["traceback"]
