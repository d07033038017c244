"""Says after an installation whether the host engine, the fast one, can run here, and if not, what to do."""

from __future__ import annotations

from gpu.select import why_not


def note(reason: str | None) -> str:
    """One line about the host engine; `reason` is why it cannot run here, None if it can."""
    if reason is None:
        return "The fast engine (host) was built and runs on this processor."
    return f"The fast engine (host) cannot run here: {reason}. Nodes use the slower engine ckzg."


if __name__ == "__main__":
    print(note(why_not("host")))
