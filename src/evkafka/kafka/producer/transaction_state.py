"""The transactions of one transactional id, as a state machine. Pure: no I/O here.

    phase      means                                              how the next transaction is reached
    NEW        there is no producer id                            INITIALIZE
    READY      no transaction is open                             nothing
    OPEN       the coordinator knows partitions of a transaction  ABORT, which the coordinator carries out at once
    ENDING     its commit has been asked for                      INITIALIZE
    BROKEN     a request has no answer, or the state is unknown   INITIALIZE

A request that has no answer may be carried out at any later moment, also in the middle of the next transaction: a late
commit would commit half of it, a late write would stay open after an abort. INITIALIZE ends the transaction on the
brokers and raises the producer's epoch, so that nothing late is carried out any more.

What each answer means is the table `answer_kind`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from enum import Enum, auto

from evkafka.kafka.client.transaction_protocol import NO_PRODUCER, ProducerId
from evkafka.kafka.errors import ErrorCode
from evkafka.records import TopicPartition


class Phase(Enum):
    NEW = auto()
    READY = auto()
    OPEN = auto()
    ENDING = auto()
    BROKEN = auto()


class Cleanup(Enum):
    """What is to be done before the next transaction."""

    NOTHING = auto()
    ABORT = auto()
    INITIALIZE = auto()


class TransactionState:
    """One transactional id, as one process sees it.

    Attributes:
        producer: the newest known one; `NO_PRODUCER` before the first, and after it has been fenced.
        sequences: the number of the next record in each partition, for the present epoch.
        may_be_committed: whether a request for the commit of the last transaction has been sent, and it is not known
            whether it was carried out.
    """

    def __init__(self) -> None:
        self.producer = NO_PRODUCER
        self.sequences: defaultdict[TopicPartition, int] = defaultdict(int)
        self.may_be_committed = False
        self._phase = Phase.NEW
        self._unanswered = 0
        self._lost_an_answer = False

    @property
    def has_producer(self) -> bool:
        """Whether the brokers know this producer, so that it fences nobody when it asks for its next epoch."""
        return self.producer != NO_PRODUCER

    @property
    def required_cleanup(self) -> Cleanup:
        match self._phase:
            case Phase.NEW | Phase.ENDING | Phase.BROKEN:
                return Cleanup.INITIALIZE
            case _ if self._lost_an_answer or self._unanswered:
                return Cleanup.INITIALIZE
            case Phase.OPEN:
                return Cleanup.ABORT
            case Phase.READY:
                return Cleanup.NOTHING

    # ------------------------------------------------------------------ requests

    def on_request_sent(self) -> None:
        """A request is on its way."""
        self._unanswered += 1

    def on_request_answered(self) -> None:
        self._unanswered -= 1

    def on_no_answer(self) -> None:
        """There will be no answer to a request: it may be carried out at any time."""
        self._unanswered -= 1
        self._lost_an_answer = True
        self.may_be_committed |= self._phase is Phase.ENDING

    def on_answer_kind(self, meaning: AnswerKind) -> None:
        """An answer was of this kind."""
        match meaning:
            case AnswerKind.ELSEWHERE:
                self.may_be_committed |= self._phase is Phase.ENDING
            case AnswerKind.FENCED:
                self.forget_producer()
            case AnswerKind.BROKEN:
                self._phase = Phase.BROKEN
            case _:
                pass

    # ------------------------------------------------------------------ phases

    def on_initialized(self, producer: ProducerId) -> None:
        """The coordinator has ended the last transaction, and knows this producer now."""
        self.producer = producer
        self.sequences.clear()
        self.may_be_committed = False
        self._phase = Phase.READY
        self._lost_an_answer = False

    def on_opened(self) -> None:
        """The coordinator has added the first partition, or the group, to the transaction."""
        self._phase = Phase.OPEN

    def on_commit_requested(self) -> None:
        """The commit is about to be asked for."""
        self._phase = Phase.ENDING

    def on_ended(self) -> None:
        """The coordinator has committed or aborted the transaction."""
        self._phase = Phase.READY
        self.may_be_committed = False

    def on_abort_outcome_unknown(self) -> None:
        """The abort was neither done nor refused as fenced: it is not known what the coordinator has done."""
        self._phase = Phase.BROKEN

    def forget_producer(self) -> None:
        """The brokers have a newer producer, or none, with this transactional id: the next one is a new one."""
        self.producer = NO_PRODUCER
        self._phase = Phase.NEW


# ---------------------------------------------------------------------------- answers


class Request(Enum):
    INITIALIZE = auto()
    ADD = auto()
    """AddPartitionsToTxn and AddOffsetsToTxn."""
    WRITE = auto()
    OFFSETS = auto()
    END = auto()


class AnswerKind(Enum):
    """What an answer means."""

    DONE = auto()
    AGAIN = auto()
    """Ask again after a pause. Nothing was carried out."""
    ELSEWHERE = auto()
    """Look for the coordinator or the leader, and ask again. It may have been carried out."""
    RECORD = auto()
    """The topic does not take a record of the batch."""
    METADATA = auto()
    """The brokers do not take the metadata of an offset."""
    REBALANCED = auto()
    """The partitions may belong to another member of the group."""
    DELETED = auto()
    """The topic of an offset does not exist any more."""
    MISSING = auto()
    """The topic of a record does not exist, or not yet."""
    FENCED = auto()
    """A newer producer has this transactional id."""
    BROKEN = auto()
    """The brokers do not know this producer, or not this transaction."""
    REFUSED = auto()
    """Waiting cannot help."""
    FAILED = auto()
    """Any other error: the transaction cannot be committed."""


_ANY: Mapping[int, AnswerKind] = {
    0: AnswerKind.DONE,
    ErrorCode.REQUEST_TIMED_OUT: AnswerKind.ELSEWHERE,
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS: AnswerKind.AGAIN,
    ErrorCode.COORDINATOR_NOT_AVAILABLE: AnswerKind.ELSEWHERE,
    ErrorCode.NOT_COORDINATOR: AnswerKind.ELSEWHERE,
    ErrorCode.TOPIC_AUTHORIZATION_FAILED: AnswerKind.REFUSED,
    ErrorCode.GROUP_AUTHORIZATION_FAILED: AnswerKind.REFUSED,
    ErrorCode.CLUSTER_AUTHORIZATION_FAILED: AnswerKind.REFUSED,
    ErrorCode.UNSUPPORTED_VERSION: AnswerKind.REFUSED,
    ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT: AnswerKind.REFUSED,
    ErrorCode.INVALID_PRODUCER_EPOCH: AnswerKind.FENCED,
    ErrorCode.INVALID_TXN_STATE: AnswerKind.BROKEN,
    ErrorCode.INVALID_PRODUCER_ID_MAPPING: AnswerKind.BROKEN,
    ErrorCode.INVALID_TRANSACTION_TIMEOUT: AnswerKind.REFUSED,
    ErrorCode.CONCURRENT_TRANSACTIONS: AnswerKind.AGAIN,
    ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: AnswerKind.REFUSED,
    ErrorCode.UNKNOWN_PRODUCER_ID: AnswerKind.BROKEN,
    ErrorCode.THROTTLING_QUOTA_EXCEEDED: AnswerKind.AGAIN,
    ErrorCode.PRODUCER_FENCED: AnswerKind.FENCED,
}

_BY_REQUEST: Mapping[Request, Mapping[int, AnswerKind]] = {
    Request.INITIALIZE: {},
    # Not every broker knows the partitions of a new topic at once.
    Request.ADD: {ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: AnswerKind.MISSING},
    Request.WRITE: {
        ErrorCode.CORRUPT_MESSAGE: AnswerKind.AGAIN,  # damaged on the network
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: AnswerKind.ELSEWHERE,
        ErrorCode.LEADER_NOT_AVAILABLE: AnswerKind.ELSEWHERE,
        ErrorCode.NOT_LEADER_OR_FOLLOWER: AnswerKind.ELSEWHERE,
        ErrorCode.MESSAGE_TOO_LARGE: AnswerKind.RECORD,
        ErrorCode.NETWORK_EXCEPTION: AnswerKind.ELSEWHERE,
        ErrorCode.RECORD_LIST_TOO_LARGE: AnswerKind.RECORD,
        ErrorCode.NOT_ENOUGH_REPLICAS: AnswerKind.ELSEWHERE,
        ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND: AnswerKind.ELSEWHERE,
        ErrorCode.INVALID_TIMESTAMP: AnswerKind.RECORD,
        ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER: AnswerKind.BROKEN,
        ErrorCode.DUPLICATE_SEQUENCE_NUMBER: AnswerKind.DONE,
        ErrorCode.KAFKA_STORAGE_ERROR: AnswerKind.ELSEWHERE,
        ErrorCode.FENCED_LEADER_EPOCH: AnswerKind.ELSEWHERE,
        ErrorCode.INVALID_RECORD: AnswerKind.RECORD,
    },
    Request.OFFSETS: {
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: AnswerKind.DELETED,
        ErrorCode.OFFSET_METADATA_TOO_LARGE: AnswerKind.METADATA,
        ErrorCode.ILLEGAL_GENERATION: AnswerKind.REBALANCED,
        ErrorCode.UNKNOWN_MEMBER_ID: AnswerKind.REBALANCED,
        ErrorCode.REBALANCE_IN_PROGRESS: AnswerKind.REBALANCED,
        ErrorCode.GROUP_ID_NOT_FOUND: AnswerKind.REBALANCED,
        ErrorCode.FENCED_INSTANCE_ID: AnswerKind.REBALANCED,
        ErrorCode.FENCED_MEMBER_EPOCH: AnswerKind.REBALANCED,
        ErrorCode.STALE_MEMBER_EPOCH: AnswerKind.REBALANCED,
        ErrorCode.UNKNOWN_TOPIC_ID: AnswerKind.DELETED,
    },
    Request.END: {},
}


def answer_kind(request: Request, code: int) -> AnswerKind:
    """What this error code (0: none) means as the answer to this request."""
    return _BY_REQUEST[request].get(code) or _ANY.get(code, AnswerKind.FAILED)


_BY_SEVERITY = (
    AnswerKind.DONE,
    AnswerKind.AGAIN,
    AnswerKind.ELSEWHERE,
    AnswerKind.FAILED,
    AnswerKind.RECORD,
    AnswerKind.MISSING,
    AnswerKind.DELETED,
    AnswerKind.METADATA,
    AnswerKind.REFUSED,
    AnswerKind.REBALANCED,
    AnswerKind.BROKEN,
    AnswerKind.FENCED,
)


def most_severe_code(request: Request, codes: Iterable[int]) -> int:
    """Of the codes of several partitions the one that decides; 0 if there are none."""
    return max(codes, key=lambda code: _BY_SEVERITY.index(answer_kind(request, code)), default=0)
