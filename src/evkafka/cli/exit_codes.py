"""Exit codes of the commands, and errors in one sentence."""

from __future__ import annotations

import sys
from collections.abc import Callable

from evkafka.exceptions import BrokerError, ConfigError, EVKafkaError
from evkafka.serde.safe_text import lines

FAILED, USAGE, NOT_STARTED = 1, 2, 3


def said_in_one_sentence(work: Callable[[], object]) -> int:
    """Do it; its exit code. Errors that a person can mend are said in one sentence, on stderr."""
    try:
        work()
    except SystemExit as exit_:
        return _code_of(exit_)
    except EVKafkaError as error:
        print(f"evkafka: {lines(str(error))}", file=sys.stderr)
        return _code_for(error)
    except KeyboardInterrupt:
        return 130
    return 0


def _code_for(error: EVKafkaError) -> int:
    from evkafka.service.service import StartFailed  # loaded by whatever raised it

    match error:
        case StartFailed(__cause__=ConfigError()):
            return USAGE
        case StartFailed():
            return NOT_STARTED
        case ConfigError():
            return USAGE
        case BrokerError():
            return NOT_STARTED
        case _:
            return FAILED


def _code_of(exit_: SystemExit) -> int:
    match exit_.code:
        case None:
            return 0
        case int():
            return exit_.code
        case text:
            print(lines(str(text)), file=sys.stderr)
            return FAILED
