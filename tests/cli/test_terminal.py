"""The command line in a terminal: colours, keys and the width of the window."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from evkafka.broker import KafkaBroker
from tests.cli import terminal
from tests.cli.support import evkafka, write_app
from tests.cli.terminal import PROMPT, Terminal
from tests.support.kafka_topics import MakeTopic

pytestmark = pytest.mark.skipif(not terminal.HERE, reason="this machine has no tmux")

Open = Callable[..., Terminal]

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7])m")


@pytest.fixture
def open_terminal(tmp_path: Path) -> Iterator[Open]:
    with ExitStack() as stack:
        yield lambda **how: stack.enter_context(Terminal(tmp_path, **how))


@pytest.fixture
async def orders(kafka_broker: KafkaBroker, topic: MakeTopic, tmp_path: Path) -> str:
    """A topic, and the app `shop:app` that reads it."""
    name = await topic()
    await topic(name=f"{name}.invoices")
    write_app(tmp_path, servers=kafka_broker.bootstrap_servers, topic=name)
    return name


class TestHelp:
    def test_help_has_colours_and_fits_the_window(self, open_terminal: Open) -> None:
        window = open_terminal(columns=80)
        code, screen = window.run("evkafka", "-h")
        assert code == 0
        assert "Operate" in screen
        assert COLOUR.search(window.coloured) is not None
        assert max(map(len, screen.splitlines())) <= 80

    def test_no_color_removes_the_colours(self, open_terminal: Open) -> None:
        window = open_terminal(NO_COLOR="1")
        code, screen = window.run("evkafka", "chek")
        assert code == 2
        assert "Did you mean 'check'?" in screen
        assert COLOUR.search(window.coloured) is None

    def test_a_misspelt_command_is_answered_with_a_suggestion(self, open_terminal: Open, tmp_path: Path) -> None:
        write_app(tmp_path, servers="127.0.0.1:1", topic="orders")
        window = open_terminal()
        for words, answer in (
            (("chek",), "Did you mean 'check'?"),
            (("run", "shpo:app"), "did you mean 'shop'?"),
            (("run", "shop:app", "--only", "order"), "did you mean 'orders'?"),
            (("tail", "orders", "--from", "soon"), "give earliest, latest, an offset"),
        ):
            code, screen = window.run("evkafka", *words)
            assert (words, code) == (words, 2)
            assert answer in screen
            assert "Traceback" not in screen

    def test_tab_completes_a_command(self, open_terminal: Open) -> None:
        window = open_terminal()
        window.type('eval "$(evkafka --show-completion bash)"; clear')
        window.until(PROMPT)
        window.write("evkafka offs")
        window.press("Tab")
        window.until("evkafka offsets ")
        window.write("res")
        window.press("Tab")
        window.until("evkafka offsets reset ")


@pytest.mark.kafka
class TestCommandsAtATerminal:
    def test_check_is_a_table_that_fits_the_window(self, orders: str, open_terminal: Open) -> None:
        window = open_terminal(columns=90)
        code, screen = window.run("evkafka", "check", "shop:app")
        assert code == 0
        assert "OK" in [line.strip() for line in screen.splitlines()]
        assert COLOUR.search(window.coloured) is not None

    def test_run_logs_its_start_and_control_c_ends_it_cleanly(
        self, orders: str, open_terminal: Open, tmp_path: Path
    ) -> None:
        window = open_terminal(columns=160)
        window.type_and_report("evkafka run shop:app --only orders")
        window.until("was assigned")
        event = ("send", orders, '{"id": "7", "cents": 1}', "--type", "OrderPlaced", "--app", "shop:app")
        assert evkafka(tmp_path, *event).returncode == 0
        window.until("order 7 by")
        window.press("C-c")
        assert window.ended() == 0
        assert "Traceback" not in window.screen
        assert "KeyboardInterrupt" not in window.screen

    def test_tail_shows_new_records_until_control_c(self, orders: str, open_terminal: Open, tmp_path: Path) -> None:
        window = open_terminal(columns=160)
        window.type_and_report(f"evkafka tail {orders} --from earliest --app shop:app")
        event = ("send", orders, '{"id": "8", "cents": 1}', "--type", "OrderPlaced", "--app", "shop:app")
        assert evkafka(tmp_path, *event).returncode == 0
        window.until('{"id": "8", "cents": 1}')
        window.press("C-c")
        assert window.ended() in (0, 130)
        assert "Traceback" not in window.screen
