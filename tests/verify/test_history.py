"""The history has whole lines in one order, also if several processes write it and some are killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from evkafka.verify.history import History, HistoryReader

WRITER = """
import os, signal, sys
from pathlib import Path
from evkafka.verify.history import History

history = History(Path(sys.argv[1]), sys.argv[2])
for offset in range(500):
    history.write_entry("begin", 0, offset, "k")
os.kill(os.getpid(), signal.SIGKILL)
"""


class TestHistory:
    def test_lines_of_several_killed_processes_are_all_there_and_each_process_s_are_in_order(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "history"
        writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), who]) for who in ("1.1", "2.1", "3.1")]
        for writer in writers:
            writer.wait(60)
        entries = list(HistoryReader(path).read_new())
        for who in ("1.1", "2.1", "3.1"):
            assert [entry.offset for entry in entries if entry.who == who] == list(range(500))

    def test_recorded_events_are_read(self, tmp_path: Path) -> None:
        history = History(tmp_path / "history", "1.1")
        history.write_entry("up", in_order=True)
        history.write_entry("killed", who="2.1", kind="kill")
        history.write_entry("end", 3, 1041, "ключ")
        up, killed, end = HistoryReader(tmp_path / "history").read_new()
        history.close()
        assert (up.event, up.who, up.more) == ("up", "1.1", {"in_order": True})
        assert (killed.event, killed.who, killed.more) == ("killed", "2.1", {"kind": "kill"})
        assert (end.partition, end.offset, end.key, end.more) == (3, 1041, "ключ", None)
        assert up.at_s <= killed.at_s <= end.at_s


class TestReader:
    def test_returns_each_line_once_and_a_torn_one_when_it_is_complete(self, tmp_path: Path) -> None:
        path = tmp_path / "history"
        reader = HistoryReader(path)
        assert list(reader.read_new()) == []
        path.write_text('["begin", 1.0, "1.1", 0, 0, "k", null]\n["end", 2.0, "1.1", 0')
        assert [entry.event for entry in reader.read_new()] == ["begin"]
        with path.open("a") as file:
            file.write(', 0, "k", null]\n')
        assert [entry.event for entry in reader.read_new()] == ["end"]
        assert list(reader.read_new()) == []

    def test_skips_the_half_line_of_a_killed_writer_and_reads_the_next_one(self, tmp_path: Path) -> None:
        path = tmp_path / "history"
        path.write_text('\n["begin", 1.0, "1.1", 0, 0, "k", null]\n\n["end", 2.0, "1.')
        history = History(path, "2.1")
        history.write_entry("begin", 0, 0, "k")
        history.close()
        assert [(entry.event, entry.who) for entry in HistoryReader(path).read_new()] == [
            ("begin", "1.1"),
            ("begin", "2.1"),
        ]
