"""`evkafka asyncapi` and `evkafka asyncapi diff`: their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from evkafka.cli.command import command
from evkafka.cli.options import AppDir, AppOptions, AsJson, Factory

PRINT = "print"


class _PrintsByDefault(TyperGroup):
    """`evkafka asyncapi MODULE:APP` means `evkafka asyncapi print MODULE:APP`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = args[0] if args else ""
        if first not in self.commands and first not in ctx.help_option_names:
            args = [PRINT, *args]
        return super().parse_args(ctx, args)


Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Write it there; YAML where the name ends in .yaml or .yml.", metavar="FILE"),
]
Old = Annotated[str, typer.Argument(metavar="OLD", help="A file (JSON, YAML) or MODULE:APP.")]
New = Annotated[str, typer.Argument(metavar="NEW", help="The same.")]


@command(PRINT, epilog="Example: evkafka asyncapi shop.main:app -o contract.yaml")
def print_command(*, output: Output = None, app: AppOptions) -> None:
    """Print an app's contract, as an AsyncAPI document. Nothing is connected. `print` may be left out."""
    from evkafka.cli.impl.asyncapi import print_contract

    print_contract(app, output)


@command("diff", epilog="Example: evkafka asyncapi diff contract.yaml shop.main:app")
def diff_command(
    old: Old, new: New, app_dir: AppDir = Path(), factory: Factory = False, as_json: AsJson = False
) -> None:
    """Say what is different, and whether it breaks those on the other side. Ends with 1 where it does.

    What the app receives may become wider, what it sends may become narrower; anything else breaks somebody.
    """
    from evkafka.cli.impl.asyncapi_diff import compare

    raise typer.Exit(compare(old, new, app_dir=app_dir, factory=factory, as_json=as_json))


app = typer.Typer(
    name="asyncapi",
    cls=_PrintsByDefault,
    help="Print an app's contract, or compare two: evkafka asyncapi MODULE:APP, evkafka asyncapi diff OLD NEW.",
    epilog="Example: evkafka asyncapi shop.main:app -o contract.yaml",
)
print_command.add_to(app)
diff_command.add_to(app)
