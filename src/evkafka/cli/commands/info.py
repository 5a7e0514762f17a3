"""`evkafka info`: its options."""

from __future__ import annotations

from evkafka.cli.command import command
from evkafka.cli.options import INSPECT, AsJson


@command("info", panel=INSPECT, short_help="Print versions, for bug reports.")
def print_versions_command(as_json: AsJson = False) -> None:
    """Print versions and installed extras, for bug reports. Prints nothing of apps or credentials."""
    from evkafka.cli.impl.info import show_versions

    show_versions(as_json=as_json)
