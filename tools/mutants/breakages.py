"""The list of breakages: small mistakes that would cost a user something. A test must fail for each."""

from __future__ import annotations

from tools.mutants import client, records, runtime, transactions
from tools.mutants.breakage import Breakage

BREAKAGES: tuple[Breakage, ...] = (
    *records.BREAKAGES,
    *runtime.BREAKAGES,
    *transactions.TRANSACTIONS,
    *client.BREAKAGES,
)
