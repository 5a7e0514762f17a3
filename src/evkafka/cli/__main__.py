"""`python -m evkafka.cli`: runs `evkafka` if the scripts directory is not on the path."""

from __future__ import annotations

from evkafka.cli import main

main()
