"""`evkafka info`: its options."""

from __future__ import annotations

from evkafka.cli.command import command
from evkafka.cli.options import LOOK, AsJson


@command("info", panel=LOOK, short_help="Versions, for reports of faults.")
def info_command(as_json: AsJson = False) -> None:
    """Show versions and what is installed; for reports of faults. Tells nothing of apps or logins."""
    from evkafka.cli.impl.info import show_info

    show_info(as_json=as_json)
