"""Samples of the lag while nobody looks."""

from __future__ import annotations

import pytest

from evkafka.ui import lag_sampler
from evkafka.ui.lag_sampler import LagSampler
from tests.support.waiting import eventually


class TestSampling:
    async def test_goes_on_after_an_error_and_stops_while_somebody_looks(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(lag_sampler, "SAMPLE_S", 0.001)
        samples, asked, viewers = [0], [0], [0]

        def sample() -> None:
            samples[0] += 1
            if samples[0] == 1:
                raise LookupError("the first one fails")

        def count_viewers() -> int:
            asked[0] += 1
            return viewers[0]

        sampler = LagSampler(sample, count_viewers)
        sampler.start()
        sampler.start()
        try:
            await eventually(lambda: samples[0] >= 3)
            assert "the lag could not be recorded" in caplog.text
            viewers[0] = 1
            taken, seen = samples[0], asked[0]
            await eventually(lambda: asked[0] >= seen + 3)
            assert samples[0] == taken
        finally:
            sampler.stop()
