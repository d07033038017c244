"""The recipe of docs/reference/storage.md, run as it stands there on a store that is in use."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from da.store import ExpiredBatch
from da.store.embedded import EmbeddedStore
from tests.da.store.conftest import Clock
from tests.da.store.support import certificate_of, make_batch

_DOC = Path(__file__).parents[3] / "docs" / "reference" / "storage.md"


def _recipe() -> str:
    blocks = re.findall(r"^```sh backup\n(.*?)^```", _DOC.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    return str(blocks[0])


def test_a_backup_of_a_running_store_opens_and_has_everything(
    open_store: Callable[..., Any], directory: Path, clock: Clock
) -> None:
    store = open_store()
    expired, old, young, late = (make_batch(height) for height in (1, 2, 3, 4))
    expired.put(store)
    clock.forward(2 * 86_400)
    store.expire(clock.now_ms, 0)
    old.put(store)
    store.put_certificate(old.hash, certificate_of(old))
    young.put(store)
    backup = directory.parent / "backup"
    index_copied, files_linked = _recipe().split("cp -al")
    environment = {
        "STORE": str(directory),
        "BACKUP": str(backup),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    subprocess.run(["sh", "-ec", index_copied], env=environment, check=True)
    late.put(store)  # between the two halves
    subprocess.run(["sh", "-ec", "cp -al" + files_linked], env=environment, check=True)
    store.add_columns(young.hash, young.columns((9,)))  # replaces the file; the link keeps the old one

    copy = EmbeddedStore(backup, reserve_bytes=0, now_ms=clock)
    try:
        assert [(finding.kind, finding.header_hash) for finding in copy.findings] == [
            ("unindexed", late.hash)
        ]
        for batch in (old, young, late):
            batch.check(copy)
        assert copy.batch(old.hash).certificate == certificate_of(old)
        with pytest.raises(ExpiredBatch):
            copy.batch(expired.hash)
        assert list(copy.scrub()) == []
    finally:
        copy.close()
    young.check(store, (0, 5, 9, 127))
