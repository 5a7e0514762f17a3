"""The page "Dead letters": its commands, with another port."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.programs import Start
from tests.support.doc_pages import Block, blocks, file
from tests.support.waiting import eventually_sync

PAGE = "docs/dead-letters.md"
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def normalized_words(text: str) -> list[str]:
    """Return the words of a text, without times and layout."""
    return TIME.sub("TIME", text).split()


@pytest.mark.kafka
def test_its_commands_find_fix_and_replay_the_dead_letters(start: Start, tmp_path: Path) -> None:
    shown = [block for block in blocks(PAGE) if block.language in ("shell", "text")]
    run, _, *commands = [line for block in shown if block.language == "shell" for line in block.code.splitlines()]
    reset = commands.pop()

    broker = start("evkafka broker --port 0", "broker")
    ready = eventually_sync(lambda: re.search(r"bootstrap_servers = (\S+)", broker.printed))
    for name in ("rates.py", "billing.py", "send.py"):
        (tmp_path / name).write_text(file(PAGE, name).replace("localhost:9092", ready[1]))
    service = start(run, "service")
    sent = start("python send.py", "sent")
    assert sent.process.wait(60) == 0, sent.printed
    eventually_sync(lambda: "invoice 3: 8.28 EUR" in service.printed)
    assert "invoice 1: 12.50 EUR" in service.printed
    assert service.terminate() == 0, service.printed

    for number, command in enumerate(commands):
        if "replay" in command:
            (tmp_path / "rates.py").write_text(file(PAGE, "rates.py, fixed"))
        done = start(command, f"command-{number}")
        assert done.process.wait(60) == 0, done.printed
        if (answer := answer_to(command, shown, number)) is not None:
            assert normalized_words(done.printed) == normalized_words(answer)
        else:
            assert "KeyError: 'CHF'" in done.printed

    again = start(reset, "reset")
    eventually_sync(lambda: "assigned" in again.printed)
    assert again.terminate() == 0, again.printed
    assert broker.terminate() == 0, broker.printed


def answer_to(command: str, shown: list[Block], number: int) -> str | None:
    """Return the output that the page shows after the command, or None."""
    positions = [position for position, block in enumerate(shown) if block.language == "shell"]
    following = shown[positions[number + 1] + 1]
    assert command in shown[positions[number + 1]].code
    return following.code if following.language == "text" else None


def test_its_policies_are_accepted() -> None:
    [block] = [block for block in blocks(PAGE) if block.language == "python" and block.title is None]
    namespace: dict[str, object] = {}
    exec(compile(block.code, "example", "exec"), namespace)
    from evkafka.config import consumer_config

    for name in ("strict", "careless"):
        consumer_config({"topics": ["t"], "group_id": "g", "on_error": namespace[name]})
