"""The list: small slips that would cost a user something. Each is one that some test must see."""

from __future__ import annotations

from tools.mutants import of_records, of_the_client, of_the_engine
from tools.mutants.breakage import Breakage

BREAKAGES: tuple[Breakage, ...] = (*of_records.BREAKAGES, *of_the_engine.BREAKAGES, *of_the_client.BREAKAGES)
