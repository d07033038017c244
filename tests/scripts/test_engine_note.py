"""What an installation says about the fast engine."""

from __future__ import annotations

from scripts.engine_note import note


def test_an_engine_that_runs_is_named():
    assert "was built" in note(None)


def test_one_that_cannot_run_is_named_with_its_reason_and_what_runs_instead():
    assert "cannot run here: no compiler. Nodes use the slower engine ckzg" in note("no compiler")
