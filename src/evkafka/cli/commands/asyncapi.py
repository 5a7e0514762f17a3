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
    typer.Option("--output", "-o", help="Write to this file; YAML if it is named *.yaml or *.yml.", metavar="FILE"),
]
Old = Annotated[str, typer.Argument(metavar="OLD", help="The old document: a file (JSON, YAML) or MODULE:APP.")]
New = Annotated[str, typer.Argument(metavar="NEW", help="The new document: a file or MODULE:APP.")]


@command(PRINT, epilog="Example: evkafka asyncapi shop.main:app -o contract.yaml")
def print_command(*, output: Output = None, app: AppOptions) -> None:
    """Print the AsyncAPI document of an app. Connects to nothing. The word `print` is optional."""
    from evkafka.cli.impl.asyncapi import print_contract

    print_contract(app, output)


@command("diff", epilog="Example: evkafka asyncapi diff contract.yaml shop.main:app")
def diff_command(
    old: Old, new: New, app_dir: AppDir = Path(), factory: Factory = False, as_json: AsJson = False
) -> None:
    """Compare two AsyncAPI documents. Exits with code 1 if a change breaks producers or consumers.

    Compatible: the app accepts more than before, or sends less than before. All other changes are breaking.
    """
    from evkafka.cli.impl.asyncapi_diff import print_document_differences

    raise typer.Exit(print_document_differences(old, new, app_dir=app_dir, factory=factory, as_json=as_json))


app = typer.Typer(
    name="asyncapi",
    cls=_PrintsByDefault,
    help="Print an AsyncAPI document, or compare two: evkafka asyncapi MODULE:APP, evkafka asyncapi diff OLD NEW.",
    epilog="Example: evkafka asyncapi shop.main:app -o contract.yaml",
)
print_command.add_to(app)
diff_command.add_to(app)
