"""The commands `asyncapi` and `asyncapi diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from evkafka.cli.options import AppDir, AsJson, EnvFile, Factory, Target

PRINT = "print"


class _PrintsByDefault(TyperGroup):
    """`evkafka asyncapi MODULE:APP` means `evkafka asyncapi print MODULE:APP`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = args[0] if args else ""
        if first not in self.commands and first not in ctx.help_option_names:
            args = [PRINT, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="asyncapi",
    cls=_PrintsByDefault,
    help="Print an app's contract, or compare two: evkafka asyncapi MODULE:APP, evkafka asyncapi diff OLD NEW.",
    epilog="Example: evkafka asyncapi shop.main:app -o contract.yaml",
)


@app.command(PRINT, epilog="Example: evkafka asyncapi shop.main:app -o contract.yaml")
def print_command(
    target: Target,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write it there; YAML where the name ends in .yaml or .yml.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    app_dir: AppDir = Path(),
    factory: Factory = False,
    env_file: EnvFile = None,
) -> None:
    """Print an app's contract, as an AsyncAPI document. Nothing is connected. `print` may be left out."""
    from evkafka.cli.env_file import load_env_file
    from evkafka.cli.impl.asyncapi import print_contract

    load_env_file(env_file)
    print_contract(target, app_dir=app_dir, factory=factory, output=output)


@app.command("diff", epilog="Example: evkafka asyncapi diff contract.yaml shop.main:app")
def diff_command(
    old: Annotated[str, typer.Argument(metavar="OLD", help="A file (JSON, YAML) or MODULE:APP.", show_default=False)],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The same.", show_default=False)],
    app_dir: AppDir = Path(),
    factory: Factory = False,
    as_json: AsJson = False,
) -> None:
    """Say what is different, and whether it breaks those on the other side. Ends with 1 where it does.

    What the app receives may become wider, what it sends may become narrower; anything else breaks somebody.
    """
    from evkafka.cli.impl.asyncapi_diff import compare

    raise typer.Exit(compare(old, new, app_dir=app_dir, factory=factory, as_json=as_json))
