"""Smart Turn, the real network."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.ear.smart_turn import SmartTurn, SmartTurnEar


@pytest.fixture(scope="module")
def network(models: Callable[[str], Path]) -> SmartTurn:
    return SmartTurn(models("smart-turn-v3") / "smart-turn-v3.2-cpu.onnx")


@pytest.mark.parametrize("samples", [0, 1, 5_000, 200_000])
def test_any_length_has_a_probability_that_the_last_8_s_decide(
    network: SmartTurn, samples: int
) -> None:
    sound = 0.1 * np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    found = network.completeness(sound)
    assert 0 <= found <= 1
    assert network.completeness(sound[-8 * 16_000 :]) == found


def test_a_failure_is_logged_and_says_nothing(
    network: SmartTurn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def asked() -> tuple[float | None, float | None]:
        ear = SmartTurnEar(network)
        try:
            well = await ear.completeness(np.zeros(16_000, np.float32))

            def fail(_: object) -> float:
                raise RuntimeError("out of memory")

            monkeypatch.setattr(network, "completeness", fail)
            return well, await ear.completeness(np.zeros(16_000, np.float32))
        finally:
            ear.close()

    well, ill = asyncio.run(asked())
    assert well is not None
    assert ill is None
    assert "could not be judged" in caplog.text
