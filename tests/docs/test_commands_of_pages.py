"""Every `evkafka ...` that a page shows, in code or in a sentence, exists with its options."""

from __future__ import annotations

import re
import shlex
from functools import cache
from typing import Any

import pytest

from evkafka.cli.typer_app import create_cli_click_command
from tests.support.doc_pages import ROOT, blocks

PAGES = ["README.md", "docs/llms.txt", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
INLINE = re.compile(r"`(evkafka [^`\n]+)`")
IN_SHELL = re.compile(r"(?:^|[|&;]\s*|\$ )(evkafka .+)$")
SHELLS = ("shell", "sh", "bash", "console")


def commands_of(page: str) -> set[str]:
    text = (ROOT / page).read_text()
    lines = [line for block in blocks(page) if block.language in SHELLS for line in block.code.splitlines()]
    return {*INLINE.findall(text), *(found[1] for line in lines if (found := IN_SHELL.search(line)))}


@cache
def root() -> Any:
    return create_cli_click_command()


def fault(line: str) -> str | None:
    """What is wrong with the command; None if nothing is. A word in capitals stands for any command."""
    words = shlex.split(line.partition("  # ")[0].replace("...", ""))[1:]
    command = root()
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        if words[0].isupper():
            return None
        if words[0] not in command.commands:
            return None if command.name == "asyncapi" else f"there is no command {words[0]!r}"
        command = command.commands[words.pop(0)]
    known = {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)} | {"-h", "--help"}
    if command.name == "asyncapi":
        known |= {flag for one in command.commands["print"].params for flag in one.opts}
    options = [word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)]
    return next((f"{command.name} has no option {one}" for one in options if one not in known), None)


@pytest.mark.parametrize("page", [page for page in PAGES if commands_of(page)])
def test_exist_with_their_options(page: str) -> None:
    faults = {line: why for line in sorted(commands_of(page)) if (why := fault(line)) is not None}
    assert faults == {}


def test_that_do_not_exist_are_noticed() -> None:
    assert fault("evkafka lagg --app shop:app") == "there is no command 'lagg'"
    assert fault("evkafka lag --ap shop:app") == "lag has no option --ap"
    assert fault("evkafka asyncapi shop:app -o contract.yaml") is None
