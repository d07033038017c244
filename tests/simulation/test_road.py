"""The road among nodes of one process: posted, certified, read back by each, with nothing going wrong."""

from __future__ import annotations

from pathlib import Path

from kzg.engine import Engine
from tests.simulation.virtual_time import run
from tests.simulation.world import World


def test_post_to_certificate_and_back(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4) as world:
            await world.start()
            payload = world.rng.randbytes(5000)
            payload_id = await world.certify(payload)
            for index in range(4):
                assert await world.node(index).payload_bytes(payload_id) == payload
            await world.check_logs()

    run(main())
