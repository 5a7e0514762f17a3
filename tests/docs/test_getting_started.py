"""The page "Getting started": its commands, with another port."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.programs import Start
from tests.support.doc_pages import blocks, file
from tests.support.waiting import eventually_sync

PAGE = "docs/getting-started.md"


@pytest.mark.kafka
def test_its_commands_end_with_a_handled_event(start: Start, tmp_path: Path) -> None:
    commands = [block.code.strip() for block in blocks(PAGE) if block.language == "shell"]
    assert commands[1:] == ["evkafka broker", "evkafka run billing:app", "python send.py"]

    broker = start("evkafka broker --port 0", "broker")
    ready = eventually_sync(lambda: re.search(r"bootstrap_servers = (\S+)", broker.printed))
    for name in ("billing.py", "send.py"):
        (tmp_path / name).write_text(file(PAGE, name).replace("localhost:9092", ready[1]))
    service = start(commands[2], "service")
    sent = start(commands[3], "sent")
    assert sent.process.wait(60) == 0, sent.printed
    assert sent.printed == "written to orders[0] at offset 0\n"
    eventually_sync(lambda: "order 1: 12.50 (offset 0)\n" in service.printed)
    assert service.terminate() == 0, service.printed
    assert broker.terminate() == 0, broker.printed
