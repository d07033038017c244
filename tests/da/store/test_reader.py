"""What a reader sees of a batch while it is being put."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from da.store.filesystem import Filesystem
from tests.da.store.support import assert_same_record, make_batch


def test_a_batch_being_put_is_no_damage(
    open_store: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file has its name a moment before the index has its row; who asks then is told what comes of it."""
    store, batch = open_store(), make_batch(1)
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(store.batch(batch.hash))
        except Exception as error:
            answers.append(error)

    asker = threading.Thread(target=ask)
    real = Filesystem.sync_directory

    def sync(fs: Filesystem, path: Path) -> None:
        real(fs, path)
        if any(path.glob(f"{batch.hash.hex()}*")) and not asker.ident:
            asker.start()
            asker.join(0.3)

    monkeypatch.setattr(Filesystem, "sync_directory", sync)
    batch.put(store)
    asker.join()
    (answer,) = answers
    assert_same_record(answer, batch)
