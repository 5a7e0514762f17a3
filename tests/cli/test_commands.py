"""All commands at once: each is run by a test and has a help text, each option has an environment variable."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.models import CommandInfo, TyperInfo

from evkafka.cli.env_vars import env_var_name
from evkafka.cli.typer_app import app, create_cli_click_command
from evkafka.environment import producer_config
from tests.cli.support import ROOT, Call, as_json, evkafka, stderr_of

RUN_AS_A_PROCESS = {
    "asyncapi print": "tests/cli/test_asyncapi.py::test_it_prints_the_document_and_nothing_else",
    "asyncapi diff": "tests/cli/test_asyncapi_diff.py::test_a_file_against_an_app",
    "broker": "tests/cli/test_broker.py::test_prints_its_address_and_keeps_its_data",
    "check": "tests/cli/test_check.py::test_a_working_app_is_exit_code_0_and_a_missing_topic_is_1",
    "demo": "tests/examples/test_flights.py::test_sends_handles_and_commits_every_flight_and_ends_with_0",
    "dev": "tests/cli/test_processes.py::test_on_a_given_broker_topics_are_created_and_the_hint_works",
    "dlq list": "tests/dlq/test_end_to_end.py::test_list_show_replay_and_drop",
    "dlq show": "tests/dlq/test_end_to_end.py::test_list_show_replay_and_drop",
    "dlq replay": "tests/dlq/test_end_to_end.py::test_list_show_replay_and_drop",
    "dlq drop": "tests/dlq/test_end_to_end.py::test_list_show_replay_and_drop",
    "info": "tests/cli/test_check.py::test_info_shows_versions_and_extras",
    "lag": "tests/cli/test_records.py::test_lag_and_reset",
    "new": "tests/cli/test_new.py::test_its_tests_pass",
    "offsets reset": "tests/cli/test_records.py::test_lag_and_reset",
    "offsets show": "tests/cli/test_records.py::test_lag_and_reset",
    "replay": "tests/cli/test_records.py::test_a_dry_run_and_then_a_run",
    "routes": "tests/cli/test_check.py::test_routes_are_a_tree_or_json",
    "run": "tests/cli/test_processes.py::test_with_options_for_one_process",
    "schemas check": "tests/cli/test_schemas.py::test_a_schema_is_shown_registered_and_checked",
    "schemas register": "tests/cli/test_schemas.py::test_a_schema_is_shown_registered_and_checked",
    "schemas show": "tests/cli/test_schemas.py::test_a_schema_is_shown_registered_and_checked",
    "send": "tests/cli/test_records.py::test_a_sent_event_is_shown",
    "tail": "tests/cli/test_records.py::test_a_sent_event_is_shown",
    "topics create": "tests/cli/test_records.py::test_missing_topics_are_listed_and_created",
    "topics plan": "tests/cli/test_records.py::test_missing_topics_are_listed_and_created",
    "verify": "tests/cli/test_verify.py::test_a_clean_run_is_a_table_and_exit_code_0",
}
"""The first of the tests that run it."""


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """`offsets reset` and its command, and so on; groups are left out."""
    command = create_cli_click_command() if command is None else command
    below = getattr(command, "commands", {})
    for name, one in below.items():
        yield from commands(one, (*path, name))
    if not below:
        yield " ".join(path), command


def options(command: Any) -> list[Any]:
    return [one for one in command.params if one.param_type_name == "option" and one.name != "help"]


def of_group(group: TyperInfo) -> list[CommandInfo]:
    assert group.typer_instance is not None
    return group.typer_instance.registered_commands


class TestEachCommand:
    def test_is_run_as_a_process_by_a_test(self) -> None:
        assert sorted(RUN_AS_A_PROCESS) == sorted(name for name, _ in commands())
        for node in set(RUN_AS_A_PROCESS.values()):
            path, _, test = node.partition("::")
            tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            functions = (ast.FunctionDef, ast.AsyncFunctionDef)
            assert test in {one.name for one in ast.walk(tree) if isinstance(one, functions)}, node

    @pytest.mark.parametrize("name", RUN_AS_A_PROCESS)
    def test_help_describes_it_and_its_options(self, name: str, call: Call) -> None:
        ended = call(*name.split(), "-h")
        assert ended.code == 0
        [command] = [one for known, one in commands() if known == name]
        assert command.help
        for option in options(command):
            assert max(option.opts, key=len) in ended.printed
            assert option.help

    @pytest.mark.parametrize("name", RUN_AS_A_PROCESS)
    def test_help_names_one_environment_variable_at_its_end(self, name: str, call: Call) -> None:
        printed = call(*name.split(), "-h").printed
        [command] = [one for known, one in commands() if known == name]
        named = [one.envvar for one in options(command) if re.search(rf"\b{one.envvar}\b", printed)]
        assert len(named) == 1
        assert f" by {named[0]}." in printed

    @pytest.mark.parametrize("name", RUN_AS_A_PROCESS)
    def test_each_value_has_a_placeholder_that_says_what_it_is(self, name: str) -> None:
        [command] = [one for known, one in commands() if known == name]
        for option in options(command):
            assert option.is_flag or option.metavar or hasattr(option.type, "choices"), option.opts

    @pytest.mark.parametrize("name", RUN_AS_A_PROCESS)
    def test_no_flag_has_capital_letters(self, name: str) -> None:
        """Typer takes a placeholder that is the parameter's name for the name of the flag."""
        [command] = [one for known, one in commands() if known == name]
        long = [flag for option in options(command) for flag in option.opts if flag.startswith("--")]
        assert long == [flag.lower() for flag in long]

    @pytest.mark.parametrize("name", RUN_AS_A_PROCESS)
    def test_the_reference_lists_its_environment_variables(self, name: str) -> None:
        page = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
        [command] = [one for known, one in commands() if known == name]
        for option in options(command):
            assert re.search(rf"\| `{option.envvar}` \|.*`{name}`", page)

    @pytest.mark.parametrize("name", RUN_AS_A_PROCESS)
    def test_refuses_an_unknown_option_without_a_traceback(self, name: str, call: Call) -> None:
        ended = call(*name.split(), "--nothing-like-it")
        assert ended.code == 2
        assert "No such option: --nothing-like-it" in ended.printed

    def test_that_reads_can_print_json(self) -> None:
        others = {"broker", "demo", "dev", "new", "run", "asyncapi print"}  # these run something, or make a file
        without = {name for name, one in commands() if "--json" not in {flag for o in options(one) for flag in o.opts}}
        assert without == others

    def test_is_on_the_page_of_the_command_line(self) -> None:
        page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
        assert {name.split()[0] for name in RUN_AS_A_PROCESS} <= set(re.findall(r"[a-z]+", page))

    def test_takes_no_literal_which_the_oldest_supported_typer_does_not_know(self) -> None:
        registered = [*app.registered_commands, *(one for group in app.registered_groups for one in of_group(group))]
        annotations = [one for command in registered for one in inspect.get_annotations(command.callback).values()]
        assert len(annotations) > len(RUN_AS_A_PROCESS)
        assert [one for one in annotations if "Literal[" in str(one)] == []


class TestEnvironmentVariables:
    def test_each_option_has_one_of_its_own(self) -> None:
        for name, command in commands():
            variables = [one.envvar for one in options(command)]
            assert all(variables), name
            assert len(set(variables)) == len(variables), name

    def test_a_shared_one_means_the_same_option_in_each_command(self) -> None:
        flags: dict[str, set[str]] = {}
        for _, command in commands():
            for option in options(command):
                flags.setdefault(option.envvar, set()).add(max(option.opts, key=len))
        assert {name: found for name, found in flags.items() if len(found) > 1} == {
            "EVKAFKA_BROKER_PORT": {"--port", "--broker-port"}  # of `broker`, and of `dev`, where --port is the page's
        }

    def test_a_command_reads_them(self, tmp_path: Path) -> None:
        assert as_json(evkafka(tmp_path, "info", env={"EVKAFKA_INFO_JSON": "1"}))["extras"]["cli"] is True

    def test_an_invalid_value_is_refused_with_the_variables_name(self, tmp_path: Path) -> None:
        ended = evkafka(tmp_path, "tail", "orders", env={"EVKAFKA_TAIL_LIMIT": "many"})
        assert "EVKAFKA_TAIL_LIMIT" in stderr_of(ended, 2)

    def test_an_option_wins_over_them(self, tmp_path: Path) -> None:
        ended = evkafka(tmp_path, "tail", "orders", "--limit", "1", env={"EVKAFKA_TAIL_LIMIT": "many"})
        assert "name the cluster" in stderr_of(ended, 2)

    def test_they_are_not_taken_for_misspelt_settings(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        for _, command in commands():
            for option in options(command):
                monkeypatch.setenv(option.envvar, "1")
        monkeypatch.delenv("EVKAFKA_SASL_MECHANISM", raising=False)
        producer_config()
        assert "did you mean" not in caplog.text

    def test_is_named_after_the_command_and_the_longest_flag(self) -> None:
        assert env_var_name(("dlq", "list"), ["-n", "--event-type"]) == "EVKAFKA_DLQ_LIST_EVENT_TYPE"


class TestTheListOfCommands:
    def test_has_them_in_their_panels(self, call: Call) -> None:
        ended = call("-h")
        for panel in ("Develop", "Run", "Inspect", "Operate"):
            assert panel in ended.printed
