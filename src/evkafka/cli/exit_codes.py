"""Exit codes of the commands, and errors in one sentence."""

from __future__ import annotations

import sys
from collections.abc import Callable

from evkafka.exceptions import BrokerError, ConfigError, EVKafkaError, RegistryError, StartFailed
from evkafka.serde.safe_text import escape_multiline_text

FAILED, USAGE, NOT_STARTED = 1, 2, 3


def call_for_exit_code(work: Callable[[], object]) -> int:
    """Call it, and return its exit code. An EVKafkaError is printed as one sentence on stderr."""
    try:
        work()
    except SystemExit as exit_:
        return _code_of_exit(exit_)
    except EVKafkaError as error:
        print(f"evkafka: {escape_multiline_text(str(error))}", file=sys.stderr)
        return _code_of_error(error)
    except KeyboardInterrupt:
        return 130
    return 0


def _code_of_error(error: EVKafkaError) -> int:
    match error:
        case StartFailed(__cause__=ConfigError()):
            return USAGE
        case StartFailed():
            return NOT_STARTED
        case ConfigError():
            return USAGE
        case BrokerError() | RegistryError():
            return NOT_STARTED
        case _:
            return FAILED


def _code_of_exit(exit_: SystemExit) -> int:
    match exit_.code:
        case None:
            return 0
        case int():
            return exit_.code
        case text:
            print(escape_multiline_text(str(text)), file=sys.stderr)
            return FAILED
