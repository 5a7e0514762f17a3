"""`evkafka check`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evkafka.cli.options import AppDir, AsJson, EnvFile, Factory, Target, Where


def check_command(
    target: Target,
    app_dir: AppDir = Path(),
    factory: Factory = False,
    env_file: EnvFile = None,
    broker: Annotated[
        bool,
        typer.Option("--broker/--no-broker", help="Connect too: topics, partitions, rights."),
    ] = True,
    strict: Annotated[
        bool, typer.Option("--strict", help="A warning counts like an error.", envvar="EVKAFKA_STRICT")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say whether this app would run here, and what keeps it from it. No record is read, none is written.

    Looks at imports, wiring, configuration, times, codecs, brokers, topics and rights. Ends with 1 where something
    keeps the app from running: for CI, and for an init container.
    """
    from evkafka.cli.env_file import load_env_file
    from evkafka.cli.impl.check import check

    load_env_file(env_file)
    raise typer.Exit(check(Where(target, app_dir, factory), broker=broker, strict=strict, as_json=as_json))
