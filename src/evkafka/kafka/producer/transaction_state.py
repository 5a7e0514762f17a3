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

What each answer means is the table `verdict`.
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

    def on_answer(self) -> None:
        self._unanswered -= 1

    def on_no_answer(self) -> None:
        """There will be no answer to a request: it may be carried out at any time."""
        self._unanswered -= 1
        self._lost_an_answer = True
        self.may_be_committed |= self._phase is Phase.ENDING

    def on_verdict(self, meaning: Verdict) -> None:
        """An answer has this meaning."""
        match meaning:
            case Verdict.ELSEWHERE:
                self.may_be_committed |= self._phase is Phase.ENDING
            case Verdict.FENCED:
                self.forget_producer()
            case Verdict.BROKEN:
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

    def on_unknown_outcome(self) -> None:
        """It is not known what the coordinator has done."""
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


class Verdict(Enum):
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


_ANY: Mapping[int, Verdict] = {
    0: Verdict.DONE,
    ErrorCode.REQUEST_TIMED_OUT: Verdict.ELSEWHERE,
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS: Verdict.AGAIN,
    ErrorCode.COORDINATOR_NOT_AVAILABLE: Verdict.ELSEWHERE,
    ErrorCode.NOT_COORDINATOR: Verdict.ELSEWHERE,
    ErrorCode.TOPIC_AUTHORIZATION_FAILED: Verdict.REFUSED,
    ErrorCode.GROUP_AUTHORIZATION_FAILED: Verdict.REFUSED,
    ErrorCode.CLUSTER_AUTHORIZATION_FAILED: Verdict.REFUSED,
    ErrorCode.UNSUPPORTED_VERSION: Verdict.REFUSED,
    ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT: Verdict.REFUSED,
    ErrorCode.INVALID_PRODUCER_EPOCH: Verdict.FENCED,
    ErrorCode.INVALID_TXN_STATE: Verdict.BROKEN,
    ErrorCode.INVALID_PRODUCER_ID_MAPPING: Verdict.BROKEN,
    ErrorCode.INVALID_TRANSACTION_TIMEOUT: Verdict.REFUSED,
    ErrorCode.CONCURRENT_TRANSACTIONS: Verdict.AGAIN,
    ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: Verdict.REFUSED,
    ErrorCode.UNKNOWN_PRODUCER_ID: Verdict.BROKEN,
    ErrorCode.THROTTLING_QUOTA_EXCEEDED: Verdict.AGAIN,
    ErrorCode.PRODUCER_FENCED: Verdict.FENCED,
}

_BY_REQUEST: Mapping[Request, Mapping[int, Verdict]] = {
    Request.INITIALIZE: {},
    # Not every broker knows the partitions of a new topic at once.
    Request.ADD: {ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: Verdict.MISSING},
    Request.WRITE: {
        ErrorCode.CORRUPT_MESSAGE: Verdict.AGAIN,  # damaged on the network
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: Verdict.ELSEWHERE,
        ErrorCode.LEADER_NOT_AVAILABLE: Verdict.ELSEWHERE,
        ErrorCode.NOT_LEADER_OR_FOLLOWER: Verdict.ELSEWHERE,
        ErrorCode.MESSAGE_TOO_LARGE: Verdict.RECORD,
        ErrorCode.NETWORK_EXCEPTION: Verdict.ELSEWHERE,
        ErrorCode.RECORD_LIST_TOO_LARGE: Verdict.RECORD,
        ErrorCode.NOT_ENOUGH_REPLICAS: Verdict.ELSEWHERE,
        ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND: Verdict.ELSEWHERE,
        ErrorCode.INVALID_TIMESTAMP: Verdict.RECORD,
        ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER: Verdict.BROKEN,
        ErrorCode.DUPLICATE_SEQUENCE_NUMBER: Verdict.DONE,
        ErrorCode.KAFKA_STORAGE_ERROR: Verdict.ELSEWHERE,
        ErrorCode.FENCED_LEADER_EPOCH: Verdict.ELSEWHERE,
        ErrorCode.INVALID_RECORD: Verdict.RECORD,
    },
    Request.OFFSETS: {
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: Verdict.DELETED,
        ErrorCode.OFFSET_METADATA_TOO_LARGE: Verdict.METADATA,
        ErrorCode.ILLEGAL_GENERATION: Verdict.REBALANCED,
        ErrorCode.UNKNOWN_MEMBER_ID: Verdict.REBALANCED,
        ErrorCode.REBALANCE_IN_PROGRESS: Verdict.REBALANCED,
        ErrorCode.GROUP_ID_NOT_FOUND: Verdict.REBALANCED,
        ErrorCode.FENCED_INSTANCE_ID: Verdict.REBALANCED,
        ErrorCode.FENCED_MEMBER_EPOCH: Verdict.REBALANCED,
        ErrorCode.STALE_MEMBER_EPOCH: Verdict.REBALANCED,
        ErrorCode.UNKNOWN_TOPIC_ID: Verdict.DELETED,
    },
    Request.END: {},
}


def verdict(request: Request, code: int) -> Verdict:
    """What this error code (0: none) means as the answer to this request."""
    return _BY_REQUEST[request].get(code) or _ANY.get(code, Verdict.FAILED)


_BY_SEVERITY = (
    *(Verdict.DONE, Verdict.AGAIN, Verdict.ELSEWHERE, Verdict.FAILED, Verdict.RECORD, Verdict.MISSING),
    *(Verdict.DELETED, Verdict.METADATA, Verdict.REFUSED, Verdict.REBALANCED, Verdict.BROKEN, Verdict.FENCED),
)


def most_severe_code(request: Request, codes: Iterable[int]) -> int:
    """Of the codes of several partitions the one that decides; 0 if there are none."""
    return max(codes, key=lambda code: _BY_SEVERITY.index(verdict(request, code)), default=0)
