"""The page "Dead letters": its commands print what it shows."""

from __future__ import annotations

import pytest

from evkafka.broker import KafkaBroker
from tests.support.doc_pages import Block, blocks
from tests.support.doc_shell import SERVERS, Command, Server, Shell, mismatch, steps
from tests.support.waiting import eventually_sync

PAGE = "docs/dead-letters.md"


@pytest.mark.kafka
def test_its_commands_find_fix_and_replay_the_dead_letters(shell: Shell) -> None:
    [shown] = [block.code for block in blocks(PAGE) if block.title == "the terminal of the service"]
    running: list[Server] = []
    with KafkaBroker() as broker:
        for step in steps(PAGE):
            if isinstance(step, Block):
                if step.title is not None:
                    code = step.code.replace("localhost:9092", broker.bootstrap_servers)
                    (shell.directory / step.title.removesuffix(", fixed")).write_text(code)
            elif step.line.startswith(SERVERS):
                if running:
                    assert running.pop().interrupt() == 0
                running.append(shell.start(step))
                running[-1].until("connected")
            else:
                shell.do(step)
            if running and step == Command("python send.py"):
                eventually_sync(lambda: mismatch(shown, running[-1].printed) is None, what="the invoices")
        assert running.pop().interrupt() == 0


def test_its_policies_are_accepted() -> None:
    [block] = [block for block in blocks(PAGE) if block.language == "python" and block.title is None]
    namespace: dict[str, object] = {}
    exec(compile(block.code, "example", "exec", dont_inherit=True), namespace)
    from evkafka.config import consumer_config

    for name in ("strict", "unlimited"):
        consumer_config({"topics": ["t"], "group_id": "g", "on_error": namespace[name]})
