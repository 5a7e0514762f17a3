"""A command that takes groups of options, as Typer sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from evkafka.cli.command import command


@dataclass(frozen=True)
class Login:
    """A group with an argument and an option."""

    user: Annotated[str, typer.Argument()]
    password: Annotated[str | None, typer.Option("--password")] = None


@command("connect", panel="Look", short_help="Connect.")
def connect(*, retries: Annotated[int, typer.Option("--retries")] = 3, login: Login) -> None:
    """Connect to a server."""
    print(login, retries)


def app() -> typer.Typer:
    app = typer.Typer()
    connect.add_to(app)
    return app


def test_the_fields_of_a_group_are_parameters_and_arguments_come_first() -> None:
    made = typer.main.get_command(app())
    assert [parameter.name for parameter in made.params][:3] == ["user", "retries", "password"]
    assert made.help == "Connect to a server."


def test_the_function_receives_the_group() -> None:
    ended = CliRunner().invoke(app(), ["ann", "--password", "secret"])
    assert ended.output == "Login(user='ann', password='secret') 3\n"


def test_a_group_has_the_defaults_of_its_fields() -> None:
    assert CliRunner().invoke(app(), ["ann"]).output == "Login(user='ann', password=None) 3\n"
