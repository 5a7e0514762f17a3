"""Faults of the broker's own group coordinator are told apart from faults of the app."""

from __future__ import annotations

from pathlib import Path

import pytest

from evkafka.cli.impl import verify as command
from evkafka.verify import Options, Report
from evkafka.verify.broker_log import coordinator_faults_text, count_coordinator_faults

LOG = """\
2026-11-29T14:01:44,130 INFO kafka.server.KafkaRaftServer: [KafkaRaftServer nodeId=1] Kafka Server started
2026-11-29T14:01:46,322 ERROR CoordinatorRuntime: [GroupCoordinator id=1] The state machine of the coordinator \
__consumer_offsets-0 is out of sync with the underlying log. The last written offset returned is 21100 while the \
coordinator expected 3. The coordinator will be reloaded in order to re-synchronize the state machine.
2026-11-29T14:03:00,087 ERROR CoordinatorRuntime: [GroupCoordinator id=1] Execution of FlushBatch failed due to This \
is not the correct coordinator..
2026-11-29T14:03:00,101 ERROR CoordinatorRuntime: [GroupCoordinator id=1] Failed to load metadata from \
__consumer_offsets-0 with epoch 8 due to New last written offset 16384 must be greater than 21132..
"""


class TestTheLogOfABroker:
    def test_shows_how_often_its_coordinator_failed(self, tmp_path: Path) -> None:
        (tmp_path / "broker.log").write_text(LOG)
        assert count_coordinator_faults(tmp_path / "broker.log") == 2

    def test_of_usual_lines_shows_none(self, tmp_path: Path) -> None:
        (tmp_path / "broker.log").write_text(LOG.splitlines()[0])
        assert count_coordinator_faults(tmp_path / "broker.log") == 0


class TestTheCommand:
    @pytest.mark.parametrize(
        ("problems", "is_noted"), [(("1 lost: in the log, but never handled (0@7)",), True), ((), False)]
    )
    def test_notes_them_only_beside_a_problem(
        self,
        problems: tuple[str, ...],
        is_noted: bool,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        async def run(*args: object, **kwargs: object) -> Report:
            return Report(handled=8, problems=problems, coordinator_faults=2)

        monkeypatch.setattr(command, "verify", run)
        if problems:
            with pytest.raises(SystemExit):
                command.run_verify(Options(), as_json=False)
        else:
            command.run_verify(Options(), as_json=False)
        assert (coordinator_faults_text(2) in capsys.readouterr().out) is is_noted
