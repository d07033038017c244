"""The devnet: real processes, their end, and a dishonest one among them."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from da.client import Batch, CellarClient, NodeUnreachable, NotKnown, NotNow
from da.commands.output import CommandError
from da.devnet import Devnet, DevnetError, files
from da.devnet.adversary import Lies, bent, columns_of_text
from da.protocol.certificate import Certificate
from da.protocol.committee import Committee
from da.protocol.custody import columns_of
from da.protocol.push import RECORD_BYTES
from da.settings import load
from erasure.constants import BYTES_PER_CELL
from kzg.verification import find_invalid

PATIENCE_S = 120.0


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition of another process."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {PATIENCE_S:.0f} s for: {what}"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_each_node_has_files_of_its_own(tmp_path: Path) -> None:
    made = files.make(tmp_path / "net", 3, base_port=None, batch_interval_ms=50)
    committee = Committee.load(tmp_path / "net" / "committee.json")
    assert [member.name for member in committee.dispersers] == ["node-0"]
    for node in made:
        settings = load(node.config)
        assert node.url == f"http://127.0.0.1:{settings.port}"
        assert settings.data_dir.parent == settings.keystore_file.parent == node.directory
        assert settings.host == "127.0.0.1"
        for name in ("key.json", "password"):
            assert stat.S_IMODE((node.directory / name).stat().st_mode) == 0o600
    assert load(made[0].config).roles == ("member", "disperser")
    assert load(made[1].config).roles == ("member",)
    assert load(made[1].config).tokens == ()
    assert stat.S_IMODE((tmp_path / "net" / "token").stat().st_mode) == 0o600


def test_files_that_are_there_are_kept(tmp_path: Path) -> None:
    first = files.make(tmp_path, 2, base_port=None, batch_interval_ms=50)
    before = (tmp_path / "committee.json").read_bytes()
    assert files.make(tmp_path, 5, base_port=None, batch_interval_ms=50) == first
    assert (tmp_path / "committee.json").read_bytes() == before


def test_a_making_that_was_cut_off_is_made_good(tmp_path: Path) -> None:
    files.make(tmp_path, 2, base_port=None, batch_interval_ms=50)
    (tmp_path / "committee.json").unlink()
    made = files.make(tmp_path, 2, base_port=None, batch_interval_ms=50)
    assert [node.name for node in files.read(tmp_path)] == [node.name for node in made]


def test_a_devnet_has_a_sane_size(tmp_path: Path) -> None:
    for count in (0, 65):
        with pytest.raises(DevnetError):
            Devnet(count, directory=tmp_path)


def test_a_directory_has_one_devnet_at_a_time(tmp_path: Path) -> None:
    with (
        Devnet(1, directory=tmp_path),
        pytest.raises(DevnetError, match="another devnet runs"),
    ):
        Devnet(1, directory=tmp_path)
    with Devnet(1, directory=tmp_path) as again:
        assert [node.name for node in again.nodes] == ["node-0"]


def test_a_place_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DevnetError, match="file: "):
        Devnet(1, directory=tmp_path / "file")


def test_a_node_that_dies_at_its_start_is_quoted(tmp_path: Path) -> None:
    with Devnet(1, directory=tmp_path) as net:
        net.nodes[0].files.config.write_text("nonsense = 1\n")
        net.check()
        net.start()
        with pytest.raises(DevnetError, match=r'node-0 has ended \(exit code 1\)[\s\S]*setting "nonsense"'):
            net.wait_ready()
        with pytest.raises(DevnetError, match="exit code 1"):
            net.check()
        assert net.why_no_certificate() == "node-0 takes the payloads, and it is gone"


@pytest.mark.parametrize(
    ("text", "columns"),
    [("0", {0}), ("0-2,5", {0, 1, 2, 5}), ("127", {127}), (" 3 , 4 ", {3, 4}), ("0-127", set(range(128)))],
)
def test_columns_are_read_from_text(text: str, columns: set[int]) -> None:
    assert columns_of_text(text) == columns


@pytest.mark.parametrize("text", ["", "x", "-1", "128", "5-3", "0-128", "1,,2", "0x1", "²"])
def test_columns_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(CommandError):
        columns_of_text(text)


def test_lies_are_told_about_their_columns_alone() -> None:
    lies = Lies(withheld=frozenset({1}), corrupted=frozenset({2}))
    record = bytes(RECORD_BYTES)
    assert lies.tell(0, record) == record
    assert lies.tell(1, record) is None
    told = lies.tell(2, record)
    assert told == bent(record) != record
    assert [i for i in range(RECORD_BYTES) if told[i] != record[i]] == [BYTES_PER_CELL - 1]
    assert lies.tell(2, None) is None


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    """Four nodes that run."""
    with Devnet(4, directory=tmp_path_factory.mktemp("devnet"), batch_interval_ms=50) as running:
        running.start()
        running.wait_ready()
        yield running


@pytest.fixture
def client(net: Devnet) -> Iterator[CellarClient]:
    """A client of the disperser."""
    with CellarClient(net.disperser.url, token=net.token, timeout_s=PATIENCE_S) as talking:
        yield talking


def certified(client: CellarClient, payload: bytes) -> Batch:
    """Post, wait, and give the batch."""
    info = client.post_and_wait("devnet-test", payload)
    assert info.header_hash is not None
    return client.batch(info.header_hash)


@pytest.mark.process
def test_a_payload_goes_the_whole_road(net: Devnet, client: CellarClient) -> None:
    payload = os.urandom(200_000)
    info = client.post_and_wait("devnet-test", payload)
    assert info.certificate is not None
    committee = Committee.load(net.committee_file)
    Certificate.decode(info.certificate).verify(committee)
    assert client.post("devnet-test", payload).created is False
    for url in net.urls:
        with CellarClient(url) as any_member:
            assert any_member.payload(info.payload_id) == payload
    assert client.opening(info.payload_id, index=0)["batch_row"] == 0


@pytest.mark.process
def test_a_member_that_is_killed_stalls_nobody_and_catches_up(net: Devnet, client: CellarClient) -> None:
    net.kill_node(3)
    assert not net.nodes[3].running
    batch = certified(client, os.urandom(1000))
    net.restart_node(3)

    def caught_up() -> bool:
        with CellarClient(net.nodes[3].url, timeout_s=1.0) as restarted:
            try:
                certificate = restarted.batch(batch.header.hash).certificate
                cells = restarted.cells(batch.header.hash, [(0, column) for column in range(128)])
            except (NotKnown, NotNow, NodeUnreachable):
                return False
            return certificate is not None and None not in cells

    wait_until(caught_up, "node-3 to catch up")


@pytest.mark.process
def test_a_disperser_that_is_killed_loses_nothing_it_answered(net: Devnet) -> None:
    with CellarClient(net.disperser.url, token=net.token, timeout_s=PATIENCE_S) as client:
        info = client.post("devnet-test", os.urandom(3000))
        net.kill_node(0)
        net.restart_node(0)
        assert client.wait(info.payload_id, "devnet-test").status == "certified"


@pytest.mark.process
def test_a_dishonest_node_withholds_and_corrupts_and_can_be_told(net: Devnet, client: CellarClient) -> None:
    batch = certified(client, os.urandom(1000))
    ref = batch.header.hash
    committee = Committee.load(net.committee_file)
    index = next(i for i, member in enumerate(committee.members) if member.name == "node-1")
    held = set(columns_of(committee, index))
    assert {3, 5, 9} <= held, "with four members and a replication of four everybody holds everything"
    net.restart_node(1, adversary=["--withhold", "0-4", "--corrupt", "5"])
    try:
        with CellarClient(net.nodes[1].url, timeout_s=1.0) as liar:
            pairs = [(0, 3), (0, 5), (0, 9), (1, 5)]
            hidden, bad, good, bad_parity = liar.cells(ref, pairs)
            assert hidden is None
            assert good is not None
            assert bad is not None
            assert bad_parity is not None
            records = [bad, good, bad_parity]
            arrays = [np.frombuffer(record, np.uint8) for record in records]
            found = find_invalid(
                None,
                np.frombuffer(b"".join(batch.commitments), np.uint8).reshape(-1, 48),
                np.array([0, 0, 1]),
                np.array([5, 9, 5]),
                np.ascontiguousarray([array[:BYTES_PER_CELL] for array in arrays]),
                np.ascontiguousarray([array[BYTES_PER_CELL:] for array in arrays]),
            )
            assert found == [0, 2], "the bent cells, and no other, do not verify"
            with pytest.raises(NotNow):
                liar.payload(batch.payloads[0].payload_id)
            assert liar.batch(ref).certificate is not None
    finally:
        net.restart_node(1)
    with CellarClient(net.nodes[1].url) as honest:
        assert None not in honest.cells(ref, [(0, 3), (0, 5)])


@pytest.mark.process
def test_a_stop_is_clean(tmp_path: Path) -> None:
    with Devnet(1, directory=tmp_path) as one:
        one.start()
        one.wait_ready()
        pid = one.nodes[0].pid
        assert pid is not None
        one.stop()
        assert not alive(pid)
        assert "Traceback" not in one.nodes[0].log_tail(1000)
        assert one.nodes[0].log_tail(1).endswith("stopped")


@pytest.mark.process
def test_a_dead_node_is_told_and_too_few_end_the_devnet(tmp_path: Path) -> None:
    """Three of four members make a certificate; two do not."""
    command = [sys.executable, "-m", "da", "devnet", "--nodes", "4", "--dir", str(tmp_path / "net"), "--json"]
    told = tmp_path / "stderr"
    with told.open("wb") as errors:
        parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
    try:
        pids = [node["pid"] for node in json.loads(_document(parent))["nodes"]]
        os.kill(pids[3], signal.SIGKILL)
        wait_until(lambda: "node-3 has ended (killed by SIGKILL)" in told.read_text(), "word of node-3")
        assert f"{tmp_path / 'net' / 'node-3' / 'node.log'}" in told.read_text()
        assert parent.poll() is None, "three go on"
        os.kill(pids[2], signal.SIGTERM)  # not by the devnet: to it, that is a death as well
        parent.communicate(timeout=PATIENCE_S)
    finally:
        parent.kill()
        parent.communicate()
    assert parent.returncode == 1
    assert "node-2 has ended (exit code 0)" in told.read_text()
    assert "error: 2 of 4 nodes are left, too few for a certificate" in told.read_text()
    assert told.read_text().count("has ended") == 2, (
        "each is told once, and those that it stops itself are not"
    )
    assert not any(alive(pid) for pid in pids)


def _document(parent: subprocess.Popen[bytes]) -> bytes:
    """What `da devnet --json` prints once its nodes are ready."""
    assert parent.stdout is not None
    text = b""
    while not text.endswith(b"\n}\n"):
        line = parent.stdout.readline()
        assert line, "it ended before its nodes were ready"
        text += line
    return text


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "ctrl-c"])
def test_the_nodes_end_with_their_parent(tmp_path: Path, number: signal.Signals) -> None:
    """`da devnet` itself, which is asked politely or is killed without warning."""
    command = [sys.executable, "-m", "da", "devnet", "--nodes", "2", "--dir", str(tmp_path / "net"), "--json"]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        pids = [node["pid"] for node in json.loads(_document(parent))["nodes"]]
        assert all(alive(pid) for pid in pids)
        parent.send_signal(number)
        wait_until(lambda: not any(alive(pid) for pid in pids), "the nodes to end")
        parent.communicate(timeout=PATIENCE_S)
    finally:
        parent.kill()
        parent.communicate()
    assert parent.returncode == (0 if number == signal.SIGINT else -number)
