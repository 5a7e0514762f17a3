"""`python -m evkafka.cli`: the `evkafka` command where the scripts directory is not on the path."""

from __future__ import annotations

from evkafka.cli import main

main()
