"""The page "Troubleshooting": it has every exception and exit code, and messages that the source really has."""

from __future__ import annotations

import ast
import re
import signal
from functools import cache

import pytest

import evkafka.exceptions
from evkafka.cli import exit_codes
from evkafka.service import process
from tests.support.doc_pages import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
MESSAGES = [text for _, text in re.findall(r"^(?:### |- )(`+)(.+?)\1(?::|$)", PAGE, re.MULTILINE)]
"""The texts of headings and of list items; two backticks enclose a text that has one."""
VARIABLE = "…"
LOG_FORMAT = re.compile(r"%\.?\d*[srdgf]")
NOT_RAISED = {"EVKafkaError"}
"""The page explains it in its first lines."""


@cache
def templates() -> list[str]:
    """All texts of the source; a variable part is `…`."""
    found: list[str] = []
    for path in (ROOT / "src" / "evkafka").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [str(one.value) if isinstance(one, ast.Constant) else VARIABLE for one in node.values]
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(LOG_FORMAT.sub(VARIABLE, node.value))
    return found


def is_in_source(message: str) -> bool:
    """Whether the parts of the message are parts of one text of the source, in this order."""
    parts = [part for part in message.split(VARIABLE) if re.search(r"\w", part)]
    pattern = re.compile(".*".join(map(re.escape, parts)), re.DOTALL)
    return any(pattern.search(text) for text in templates())


class TestMessages:
    @pytest.mark.parametrize("message", MESSAGES)
    def test_is_a_text_of_the_source(self, message: str) -> None:
        assert is_in_source(message), f"no text of the source has it: {message}"

    def test_that_does_not_exist_is_noticed(self) -> None:
        assert not is_in_source("no Kafka broker could be found within … s")
        assert not is_in_source("check bootstrap_servers … no Kafka broker could be reached")


class TestEntries:
    @pytest.mark.parametrize("name", sorted(set(evkafka.exceptions.__all__) - NOT_RAISED))
    def test_each_exception_has_one(self, name: str) -> None:
        assert f"\n## {name}\n" in PAGE

    def test_the_base_class_is_named(self) -> None:
        assert all(f"`{name}`" in PAGE for name in NOT_RAISED)

    @pytest.mark.parametrize(
        "code",
        sorted(
            {
                process.OK,
                process.FAILED,
                process.NOT_STARTED,
                exit_codes.FAILED,
                exit_codes.USAGE,
                exit_codes.NOT_STARTED,
                128 + signal.SIGINT,
                128 + signal.SIGKILL,
                128 + signal.SIGTERM,
            }
        ),
    )
    def test_each_exit_code_has_one(self, code: int) -> None:
        assert re.search(rf"^### Exit code (?:\d+ or )?{code}\b", PAGE, re.MULTILINE)
