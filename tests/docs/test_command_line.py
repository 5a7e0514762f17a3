"""The page "Command line": its commands, in order, on a real Kafka, print what it shows."""

from __future__ import annotations

import pytest

from evkafka.broker import KafkaBroker
from tests.support.doc_pages import Block
from tests.support.doc_shell import SERVERS, Server, Shell, steps

PAGE = "docs/command-line.md"


@pytest.mark.long
@pytest.mark.kafka
def test_its_commands_print_and_exit_as_the_page_says(shell: Shell) -> None:
    commands = 0
    running: list[Server] = []
    with KafkaBroker(properties={"auto.create.topics.enable": False}) as broker:
        for step in steps(PAGE):
            if isinstance(step, Block):
                assert step.title is not None
                (shell.directory / step.title).write_text(step.code.replace("localhost:9092", broker.bootstrap_servers))
                continue
            commands += 1
            if step.line.startswith(SERVERS):
                running.append(shell.start(step))
                continue
            if step.line.startswith("evkafka offsets reset") and running:
                assert running.pop().interrupt() == 0
            shell.do(step.with_text("localhost:9092", broker.bootstrap_servers))
    assert commands > 15
    assert running == []
