"""Records what the kernels cost now as the budget: `python -m tests.gpu.record_budget`.

Run it after a change that is meant to change costs, and read the difference before committing it.
"""

from __future__ import annotations

import json
from pathlib import Path

from gpu.cuda.nvrtc import compile_source
from gpu.cuda.source import device_source
from tests.gpu.cubin import costs

ARCHITECTURES = (80, 90)
PATH = Path(__file__).with_name("budget.json")


def main() -> None:
    budget = {
        f"sm_{architecture}": {
            name: cost.as_json()
            for name, cost in costs(compile_source(device_source(), architecture)).items()
        }
        for architecture in ARCHITECTURES
    }
    PATH.write_text(json.dumps(budget, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
