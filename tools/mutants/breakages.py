"""The list of breakages: small mistakes that would cost a user something. A test must fail for each."""

from __future__ import annotations

from tools.mutants import client, records, runtime
from tools.mutants.breakage import Breakage

BREAKAGES: tuple[Breakage, ...] = (*records.BREAKAGES, *runtime.BREAKAGES, *client.BREAKAGES)
