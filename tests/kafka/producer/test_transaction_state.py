"""What each answer means for a transaction, and what has to come before the next one."""

from __future__ import annotations

import pytest

from evkafka.kafka.client.transaction_protocol import NO_PRODUCER, ProducerId
from evkafka.kafka.errors import ErrorCode
from evkafka.kafka.producer.transaction_state import (
    AnswerKind,
    Cleanup,
    Request,
    TransactionState,
    answer_kind,
    most_severe_code,
)
from evkafka.records import TopicPartition

PRODUCER = ProducerId(7, 0)
OUT = TopicPartition("out", 0)


def ready() -> TransactionState:
    state = TransactionState()
    state.on_initialized(PRODUCER)
    return state


def opened() -> TransactionState:
    state = ready()
    state.on_opened()
    return state


def ending() -> TransactionState:
    state = opened()
    state.on_commit_requested()
    state.on_request_sent()
    return state


class TestTheNextTransaction:
    def test_needs_a_producer_id(self) -> None:
        assert TransactionState().required_cleanup is Cleanup.INITIALIZE

    def test_begins_at_once_after_one_that_was_committed(self) -> None:
        state = ending()
        state.on_request_answered()
        state.on_ended()

        assert state.required_cleanup is Cleanup.NOTHING

    def test_begins_after_the_abort_of_one_that_failed(self) -> None:
        assert opened().required_cleanup is Cleanup.ABORT

    def test_has_no_sequence_numbers_of_an_earlier_epoch(self) -> None:
        state = opened()
        state.sequences[OUT] = 5

        state.on_initialized(ProducerId(7, 1))

        assert state.sequences[OUT] == 0

    def test_continues_the_sequence_numbers_of_its_epoch(self) -> None:
        state = opened()
        state.sequences[OUT] = 5
        state.on_ended()

        assert state.sequences[OUT] == 5

    def test_has_a_new_epoch_if_a_request_has_no_answer(self) -> None:
        state = opened()
        state.on_request_sent()
        state.on_no_answer()

        assert state.required_cleanup is Cleanup.INITIALIZE

    def test_has_a_new_epoch_while_a_request_may_still_be_answered(self) -> None:
        state = opened()
        state.on_request_sent()

        assert state.required_cleanup is Cleanup.INITIALIZE

    def test_has_a_new_epoch_even_if_the_same_request_was_answered_when_it_was_sent_again(self) -> None:
        state = opened()
        state.on_request_sent()
        state.on_no_answer()
        state.on_request_sent()
        state.on_request_answered()
        state.on_ended()

        assert state.required_cleanup is Cleanup.INITIALIZE

    def test_has_a_new_epoch_after_a_commit_that_was_refused(self) -> None:
        state = ending()
        state.on_request_answered()

        assert state.required_cleanup is Cleanup.INITIALIZE

    def test_has_a_new_epoch_if_the_brokers_do_not_know_the_transaction(self) -> None:
        state = opened()
        state.on_answer_kind(AnswerKind.BROKEN)

        assert state.required_cleanup is Cleanup.INITIALIZE
        assert state.producer == PRODUCER

    def test_has_a_producer_that_fences_others_only_after_this_one_was_fenced(self) -> None:
        state = opened()
        state.on_answer_kind(AnswerKind.FENCED)

        assert state.required_cleanup is Cleanup.INITIALIZE
        assert state.producer == NO_PRODUCER
        assert not state.has_producer


class TestACommit:
    def test_is_unknown_while_there_is_no_answer(self) -> None:
        state = ending()
        state.on_no_answer()

        assert state.may_be_committed

    @pytest.mark.parametrize("meaning", [AnswerKind.AGAIN, AnswerKind.FENCED, AnswerKind.BROKEN, AnswerKind.FAILED])
    def test_is_refused_if_the_only_answer_says_so(self, meaning: AnswerKind) -> None:
        state = ending()
        state.on_request_answered()
        state.on_answer_kind(meaning)

        assert not state.may_be_committed

    def test_stays_unknown_if_a_later_request_is_refused(self) -> None:
        state = ending()
        state.on_no_answer()
        state.on_request_sent()
        state.on_request_answered()
        state.on_answer_kind(AnswerKind.FENCED)

        assert state.may_be_committed

    def test_is_unknown_if_the_coordinator_moved_away_while_it_wrote(self) -> None:
        state = ending()
        state.on_request_answered()
        state.on_answer_kind(AnswerKind.ELSEWHERE)

        assert state.may_be_committed

    def test_is_not_in_doubt_because_of_a_request_before_it(self) -> None:
        state = opened()
        state.on_request_sent()
        state.on_no_answer()
        state.on_answer_kind(AnswerKind.ELSEWHERE)

        assert not state.may_be_committed

    def test_is_decided_when_the_coordinator_has_ended_the_transaction(self) -> None:
        state = ending()
        state.on_no_answer()
        state.on_initialized(ProducerId(7, 1))

        assert not state.may_be_committed


class TestAnswers:
    @pytest.mark.parametrize("request_", Request)
    def test_without_an_error_are_done(self, request_: Request) -> None:
        assert answer_kind(request_, 0) is AnswerKind.DONE

    @pytest.mark.parametrize("request_", Request)
    @pytest.mark.parametrize("code", [ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.PRODUCER_FENCED])
    def test_that_fence_mean_the_same_for_every_request(self, request_: Request, code: int) -> None:
        assert answer_kind(request_, code) is AnswerKind.FENCED

    @pytest.mark.parametrize("request_", Request)
    def test_that_nobody_knows_end_the_transaction(self, request_: Request) -> None:
        assert answer_kind(request_, 9999) is AnswerKind.FAILED

    def test_about_a_batch_that_the_broker_has_already_are_done(self) -> None:
        assert answer_kind(Request.WRITE, ErrorCode.DUPLICATE_SEQUENCE_NUMBER) is AnswerKind.DONE

    def test_about_several_partitions_are_decided_by_the_worst(self) -> None:
        codes = (0, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.NOT_COORDINATOR)

        assert most_severe_code(Request.OFFSETS, codes) == ErrorCode.UNKNOWN_MEMBER_ID
        assert most_severe_code(Request.OFFSETS, ()) == 0
