"""The journal: whole lines in one order, whoever writes them and whatever becomes of the writer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from evkafka.verify.history import History, Reader

WRITER = """
import os, signal, sys
from pathlib import Path
from evkafka.verify.history import History

journal = History(Path(sys.argv[1]), sys.argv[2])
for offset in range(500):
    journal.note("begin", 0, offset, "k")
os.kill(os.getpid(), signal.SIGKILL)
"""


class TestJournal:
    def test_lines_of_several_killed_processes_are_all_there_and_each_process_s_are_in_order(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "journal"
        writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), who]) for who in ("1.1", "2.1", "3.1")]
        for writer in writers:
            writer.wait(60)
        entries = list(Reader(path).news())
        for who in ("1.1", "2.1", "3.1"):
            assert [entry.offset for entry in entries if entry.who == who] == list(range(500))

    def test_what_is_noted_is_read(self, tmp_path: Path) -> None:
        journal = History(tmp_path / "journal", "1.1")
        journal.note("up", in_order=True)
        journal.note("killed", who="2.1", kind="kill")
        journal.note("end", 3, 1041, "ключ")
        up, killed, end = Reader(tmp_path / "journal").news()
        journal.close()
        assert (up.what, up.who, up.more) == ("up", "1.1", {"in_order": True})
        assert (killed.what, killed.who, killed.more) == ("killed", "2.1", {"kind": "kill"})
        assert (end.partition, end.offset, end.key, end.more) == (3, 1041, "ключ", None)
        assert up.at_s <= killed.at_s <= end.at_s


class TestReader:
    def test_gives_each_line_once_and_a_torn_one_when_it_is_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "journal"
        reader = Reader(path)
        assert list(reader.news()) == []
        path.write_text('["begin", 1.0, "1.1", 0, 0, "k", null]\n["end", 2.0, "1.1", 0')
        assert [entry.what for entry in reader.news()] == ["begin"]
        with path.open("a") as file:
            file.write(', 0, "k", null]\n')
        assert [entry.what for entry in reader.news()] == ["end"]
        assert list(reader.news()) == []

    def test_passes_over_the_half_line_of_a_killed_writer_and_reads_the_next_one_s(self, tmp_path: Path) -> None:
        path = tmp_path / "journal"
        path.write_text('\n["begin", 1.0, "1.1", 0, 0, "k", null]\n\n["end", 2.0, "1.')
        journal = History(path, "2.1")
        journal.note("begin", 0, 0, "k")
        journal.close()
        assert [(entry.what, entry.who) for entry in Reader(path).news()] == [("begin", "1.1"), ("begin", "2.1")]
