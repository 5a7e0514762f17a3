"""The state machine of a member of the consumer protocol, without I/O, and against a model of the coordinator."""

from __future__ import annotations

import math
import uuid
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from evkafka.kafka.client.group_protocol import JOIN, LEAVE, LEAVE_AND_RETURN
from evkafka.kafka.consumer.membership import (
    EAGER_INTERVALS,
    EAGER_S,
    NONE,
    RELEASE_SLACK_S,
    Answer,
    AnswerKind,
    AssignPartitions,
    Heartbeat,
    Membership,
    Partitions,
    RevokePartitions,
    State,
    TopicIdPartition,
)
from evkafka.kafka.errors import ErrorCode
from tests.support.model_group import Group

TOPIC = uuid.UUID(int=1)
OTHER = uuid.UUID(int=2)
SESSION_S, INTERVAL_S, RETRY_S = 45.0, 5.0, 0.1


def partitions(*numbers: int, topic_id: uuid.UUID = TOPIC) -> Partitions:
    return frozenset(TopicIdPartition(topic_id, number) for number in numbers)


def assigned(*numbers: int, epoch: int = 1) -> Answer:
    return Answer(0, epoch, INTERVAL_S, partitions(*numbers))


UNCHANGED = Answer(0, 1, INTERVAL_S, None)


@pytest.fixture
def member() -> Membership:
    return Membership({"orders"}, session_s=SESSION_S, retry_s=RETRY_S, now_s=0.0)


def exchange(member: Membership, answer: Answer, now_s: float = 0.0) -> tuple[Heartbeat, AnswerKind]:
    beat = member.create_next_heartbeat(now_s)
    return beat, member.on_answer(answer, now_s)


def carry_out(member: Membership) -> list[RevokePartitions | AssignPartitions]:
    """Carry out all changes at once."""
    changes = []
    while (change := member.next_change_to_carry_out({TOPIC})) is not None:
        changes.append(change)
        match change:
            case RevokePartitions():
                member.note_revocation_carried_out()
            case AssignPartitions():
                member.note_assignment_carried_out()
    return changes


def settled(member: Membership, *numbers: int) -> None:
    """Let it have these partitions, and the coordinator know that."""
    exchange(member, assigned(*numbers))
    carry_out(member)
    exchange(member, UNCHANGED)
    assert member.state is State.STEADY
    assert member.owned == partitions(*numbers)


class TestJoining:
    def test_begins_with_everything_and_nothing_owned(self, member: Membership) -> None:
        assert (member.state, member.next_heartbeat_at_s) == (State.JOINING, 0.0)
        beat = member.create_next_heartbeat(0.0)
        assert beat == Heartbeat(JOIN, is_full=True, topics=frozenset({"orders"}), owned=NONE)

    def test_waits_for_the_first_topic_of_a_pattern(self) -> None:
        member = Membership((), session_s=SESSION_S, retry_s=RETRY_S, now_s=0.0)
        assert member.next_heartbeat_at_s == math.inf
        member.subscribe({"orders"})
        assert member.next_heartbeat_at_s == 0.0

    def test_an_assignment_is_taken_and_then_reported_at_once(self, member: Membership) -> None:
        exchange(member, assigned(0, 1))
        assert member.state is State.RECONCILING
        assert carry_out(member) == [AssignPartitions(partitions(0, 1))]
        assert member.next_heartbeat_at_s == -math.inf
        assert member.create_next_heartbeat(1.0) == Heartbeat(1, owned=partitions(0, 1))

    def test_an_empty_assignment_is_reported_to_the_listener_too(self, member: Membership) -> None:
        exchange(member, assigned())
        assert carry_out(member) == [AssignPartitions(NONE)]
        assert member.state is State.STEADY
        assert carry_out(member) == []

    def test_partitions_of_a_topic_without_a_known_name_are_taken_later(self, member: Membership) -> None:
        exchange(member, Answer(0, 1, INTERVAL_S, partitions(0) | partitions(0, topic_id=OTHER)))
        assert carry_out(member) == [AssignPartitions(partitions(0))]
        assert member.pending_assignment == partitions(0, topic_id=OTHER)
        assert member.next_change_to_carry_out({TOPIC, OTHER}) == AssignPartitions(partitions(0, topic_id=OTHER))


class TestChanges:
    def test_what_stays_is_neither_given_back_nor_taken(self, member: Membership) -> None:
        settled(member, 0, 1)
        exchange(member, assigned(0))
        assert carry_out(member) == [RevokePartitions(partitions(1)), AssignPartitions(NONE)]
        assert member.create_next_heartbeat(0.0).owned == partitions(0)

    def test_is_not_acknowledged_before_the_revocation_has_ended(self, member: Membership) -> None:
        settled(member, 0, 1)
        exchange(member, assigned(0))
        assert member.next_change_to_carry_out({TOPIC}) == RevokePartitions(partitions(1))
        assert member.next_heartbeat_at_s == EAGER_S  # heartbeats go on meanwhile, and say nothing new
        beat, _ = exchange(member, UNCHANGED, INTERVAL_S)
        assert beat == Heartbeat(1)
        assert member.next_change_to_carry_out({TOPIC}) is None

        member.note_revocation_carried_out()

        assert member.next_heartbeat_at_s == -math.inf
        assert member.create_next_heartbeat(6.0).owned == partitions(0)

    def test_that_end_while_a_heartbeat_is_in_flight_are_told_with_the_next_one(self, member: Membership) -> None:
        settled(member, 0, 1)
        exchange(member, assigned(0))
        member.next_change_to_carry_out({TOPIC})
        beat = member.create_next_heartbeat(INTERVAL_S)
        member.note_revocation_carried_out()
        member.on_answer(UNCHANGED, INTERVAL_S)

        assert beat.owned is None
        assert member.next_heartbeat_at_s == -math.inf
        assert member.create_next_heartbeat(INTERVAL_S).owned == partitions(0)

    def test_that_leave_everything_as_the_coordinator_knew_it_are_reported_all_the_same(
        self, member: Membership
    ) -> None:
        """A partition was taken and given back between two heartbeats: the coordinator waits for it."""
        exchange(member, assigned())
        carry_out(member)
        exchange(member, assigned(0))
        member.next_change_to_carry_out({TOPIC})
        exchange(member, assigned())
        member.note_assignment_carried_out()
        assert carry_out(member) == [RevokePartitions(partitions(0)), AssignPartitions(NONE)]

        assert member.next_heartbeat_at_s == -math.inf
        beat, _ = exchange(member, UNCHANGED)
        assert beat == Heartbeat(1, owned=NONE)
        assert member.next_heartbeat_at_s == EAGER_S

    def test_are_waited_for_with_more_heartbeats(self, member: Membership) -> None:
        """The partitions that a new member gets have to be given back by others first."""
        settled(member)
        until_s = EAGER_INTERVALS * INTERVAL_S
        exchange(member, UNCHANGED, until_s - 1.0)
        assert member.next_heartbeat_at_s == until_s - 1.0 + EAGER_S
        exchange(member, UNCHANGED, until_s)
        assert member.next_heartbeat_at_s == until_s + INTERVAL_S
        exchange(member, Answer(0, 2, INTERVAL_S, None), 100.0)  # another member has come or gone
        assert member.next_heartbeat_at_s == 100.0 + EAGER_S

    def test_a_subscription_is_told_at_once(self, member: Membership) -> None:
        settled(member, 0)
        member.subscribe({"orders", "refunds"})
        assert member.next_heartbeat_at_s == -math.inf
        assert member.create_next_heartbeat(1.0) == Heartbeat(1, topics=frozenset({"orders", "refunds"}))


class TestLostAnswers:
    def test_the_next_heartbeat_repeats_everything(self, member: Membership) -> None:
        settled(member, 0, 1)
        member.create_next_heartbeat(INTERVAL_S)
        member.schedule_heartbeat_retry(INTERVAL_S)

        assert member.next_heartbeat_at_s == INTERVAL_S + RETRY_S
        beat = member.create_next_heartbeat(member.next_heartbeat_at_s)
        assert beat == Heartbeat(1, is_full=True, topics=frozenset({"orders"}), owned=partitions(0, 1))

    def test_are_tried_again_after_growing_pauses(self, member: Membership) -> None:
        pauses = []
        for _ in range(6):
            member.create_next_heartbeat(0.0)
            member.schedule_heartbeat_retry(0.0)
            pauses.append(member.next_heartbeat_at_s)
        assert pauses == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]

    def test_for_a_session_cost_the_partitions(self, member: Membership) -> None:
        settled(member, 0)
        exchange(member, UNCHANGED, 100.0)
        assert member.expires_at_s == 100.0 + SESSION_S
        member.create_next_heartbeat(120.0)
        member.schedule_heartbeat_retry(125.0)
        assert member.expires_at_s == 100.0 + SESSION_S

        assert member.rejoin_without_partitions() == partitions(0)

        assert (member.state, member.expires_at_s) == (State.JOINING, math.inf)

    def test_the_session_begins_when_a_heartbeat_is_sent_and_not_when_it_is_answered(self, member: Membership) -> None:
        member.create_next_heartbeat(10.0)
        member.on_answer(assigned(0), 19.0)
        assert member.expires_at_s == 10.0 + SESSION_S


class TestErrors:
    @pytest.mark.parametrize("code", [ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.NOT_COORDINATOR])
    def test_another_coordinator_finds_everything_as_it_was(self, member: Membership, code: int) -> None:
        settled(member, 0)
        _, answer_kind = exchange(member, Answer(code), 5.0)
        assert answer_kind is AnswerKind.FIND_COORDINATOR
        assert member.owned == partitions(0)
        assert member.create_next_heartbeat(6.0).is_full

    @pytest.mark.parametrize("code", [ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.UNKNOWN_SERVER_ERROR])
    def test_a_coordinator_that_is_not_ready_is_asked_again(self, member: Membership, code: int) -> None:
        settled(member, 0)
        _, answer_kind = exchange(member, Answer(code), 5.0)
        assert answer_kind is AnswerKind.RETRY
        assert member.next_heartbeat_at_s == 5.0 + RETRY_S
        assert member.owned == partitions(0)

    @pytest.mark.parametrize(
        "code", [ErrorCode.FENCED_MEMBER_EPOCH, ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.GROUP_ID_NOT_FOUND]
    )
    def test_a_fenced_member_gives_everything_up_and_joins_again_with_its_id(
        self, member: Membership, code: int
    ) -> None:
        settled(member, 0, 1)
        exchange(member, assigned(0))
        member.next_change_to_carry_out({TOPIC})  # a revocation is under way
        member_id = member.member_id
        _, answer_kind = exchange(member, Answer(code), 5.0)
        assert answer_kind is AnswerKind.FENCED

        assert member.rejoin_without_partitions() == partitions(0, 1)
        member.note_revocation_carried_out()  # the revocation ends after the loss

        assert member.state is State.JOINING
        assert member.member_id == member_id
        assert member.create_next_heartbeat(6.0) == Heartbeat(
            JOIN, is_full=True, topics=frozenset({"orders"}), owned=NONE
        )

    def test_a_partition_that_is_being_taken_is_lost_too(self, member: Membership) -> None:
        exchange(member, assigned(0))
        member.next_change_to_carry_out({TOPIC})
        assert member.rejoin_without_partitions() == partitions(0)
        member.note_assignment_carried_out()
        assert member.owned == NONE

    def test_an_instance_id_in_use_is_waited_for_and_then_said(self, member: Membership) -> None:
        in_use = Answer(ErrorCode.UNRELEASED_INSTANCE_ID)
        assert exchange(member, in_use, 0.0)[1] is AnswerKind.UNRELEASED
        assert 0.0 < member.next_heartbeat_at_s <= 1.0
        assert exchange(member, in_use, SESSION_S)[1] is AnswerKind.UNRELEASED
        assert exchange(member, in_use, SESSION_S + RELEASE_SLACK_S + 0.1)[1] is AnswerKind.REFUSED

    def test_an_instance_id_that_is_released_in_time_is_taken(self, member: Membership) -> None:
        exchange(member, Answer(ErrorCode.UNRELEASED_INSTANCE_ID))
        assert exchange(member, assigned(0), 10.0)[1] is AnswerKind.ACCEPTED

    @pytest.mark.parametrize("code", [23, 24, 29, 30, 35, 42, 69, 81, 82, 112, 128])
    def test_a_final_refusal_is_one(self, member: Membership, code: int) -> None:
        assert exchange(member, Answer(code))[1] is AnswerKind.REFUSED

    def test_an_unknown_code_fails(self, member: Membership) -> None:
        assert exchange(member, Answer(999))[1] is AnswerKind.FAILED


class TestLeaving:
    @pytest.mark.parametrize(("is_static", "epoch"), [(False, LEAVE), (True, LEAVE_AND_RETURN)])
    def test_is_said_once(self, member: Membership, is_static: bool, epoch: int) -> None:
        settled(member, 0)
        assert member.begin_leaving(is_static=is_static) == Heartbeat(epoch)
        assert member.begin_leaving(is_static=is_static) is None
        assert (member.state, member.next_heartbeat_at_s) == (State.LEAVING, math.inf)

    def test_is_said_if_a_join_has_no_answer_yet(self, member: Membership) -> None:
        member.create_next_heartbeat(0.0)
        assert member.begin_leaving(is_static=False) == Heartbeat(LEAVE)

    def test_is_not_said_before_the_first_heartbeat(self, member: Membership) -> None:
        assert member.begin_leaving(is_static=False) is None


# ---------------------------------------------------------------------------- against a model of the coordinator


class GroupOfMembers(RuleBasedStateMachine):
    """Members that heartbeat, give back and take over in any order, while requests and answers get lost."""

    @initialize(count=st.integers(0, 7))
    def begin(self, count: int) -> None:
        self.now_s = 0.0
        self.group = Group(set(partitions(*range(count))))
        self.members: list[Membership] = []
        self.in_flight: dict[Membership, tuple[Heartbeat, Answer]] = {}
        self.changing: dict[Membership, RevokePartitions | AssignPartitions] = {}

    # ------------------------------------------------------------------ one member

    @precondition(lambda self: len(self.members) < 4)
    @rule()
    def start(self) -> None:
        self.members.append(Membership({"orders"}, session_s=SESSION_S, retry_s=RETRY_S, now_s=self.now_s))

    def pick(self, data: Any, among: Any = None) -> Membership:
        return data.draw(st.sampled_from(self.members if among is None else sorted(among, key=self.members.index)))

    @precondition(lambda self: len(self.in_flight) < len(self.members))
    @rule(data=st.data(), arrives=st.sampled_from([True, True, True, False]))
    def send(self, data: Any, arrives: bool) -> None:
        member = self.pick(data, set(self.members) - self.in_flight.keys())
        beat = member.create_next_heartbeat(self.now_s)
        if arrives:
            self.in_flight[member] = beat, self.group.heartbeat(member.member_id, beat)
        else:
            member.schedule_heartbeat_retry(self.now_s)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), arrives=st.sampled_from([True, True, True, False]))
    def answer(self, data: Any, arrives: bool) -> None:
        member = self.pick(data, self.in_flight)
        _, answer = self.in_flight.pop(member)
        if not arrives:
            member.schedule_heartbeat_retry(self.now_s)
        elif member.on_answer(answer, self.now_s) is AnswerKind.FENCED:
            self.lose(member)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), code=st.sampled_from([14, 15, 16, -1]))
    def refuse_for_now(self, data: Any, code: int) -> None:
        member = self.pick(data, self.in_flight)
        del self.in_flight[member]
        member.on_answer(Answer(code), self.now_s)

    def lose(self, member: Membership) -> None:
        self.changing.pop(member, None)
        member.rejoin_without_partitions()

    @precondition(lambda self: len(self.changing) < len(self.members))
    @rule(data=st.data())
    def begin_change(self, data: Any) -> None:
        member = self.pick(data, set(self.members) - self.changing.keys())
        change = member.next_change_to_carry_out({TOPIC})
        if change is not None:
            self.changing[member] = change
            if isinstance(change, RevokePartitions):
                self.check_needed(member, change)

    def check_needed(self, member: Membership, change: RevokePartitions) -> None:
        """Nothing is given back that the coordinator leaves to the member."""
        known = self.group.members.get(member.member_id)
        if known is not None and member not in self.in_flight and known.epoch == member.epoch:
            assert not change.partitions & known.assigned

    @precondition(lambda self: self.changing)
    @rule(data=st.data())
    def end_change(self, data: Any) -> None:
        self.finish(self.pick(data, self.changing))

    def finish(self, member: Membership) -> None:
        match self.changing.pop(member):
            case RevokePartitions():
                member.note_revocation_carried_out()
            case AssignPartitions():
                member.note_assignment_carried_out()

    # ------------------------------------------------------------------ the group

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def leave(self, data: Any) -> None:
        member = self.pick(data)
        self.in_flight.pop(member, None)
        self.changing.pop(member, None)
        self.members.remove(member)
        if (beat := member.begin_leaving(is_static=False)) is not None:
            self.group.heartbeat(member.member_id, beat)

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def expel(self, data: Any) -> None:
        self.group.remove(self.pick(data).member_id)

    @rule(count=st.integers(0, 7))
    def grow_or_shrink(self, count: int) -> None:
        self.group.change_partitions(partitions(*range(count)))

    @rule(seconds=st.sampled_from([0.1, 1.0, 20.0]))
    def wait(self, seconds: float) -> None:
        """Both sides see the end of a session."""
        self.now_s += seconds
        for member in self.members:
            if self.now_s >= member.expires_at_s:
                self.in_flight.pop(member, None)
                self.group.remove(member.member_id)
                self.lose(member)

    # ------------------------------------------------------------------ what always holds

    @invariant()
    def no_partition_has_two_members(self) -> None:
        """Among the members that the group knows: one that it has removed does not know of that yet."""
        known = [member for member in self.members if member.member_id in self.group.members]
        owned = [one for member in known for one in member.owned]
        assert len(owned) == len(set(owned))

    def teardown(self) -> None:
        """Without faults each partition has one member in the end, and there is nothing left to say."""
        if not hasattr(self, "group"):
            return
        for member in tuple(self.in_flight):
            self.in_flight.pop(member)
            member.schedule_heartbeat_retry(self.now_s)
        for _ in range(60):
            for member in self.members:
                self.round(member)
        assert self.group.is_settled
        owned = [one for member in self.members for one in member.owned]
        assert sorted(owned) == (sorted(self.group.partitions) if self.members else [])
        assert all(member.state is State.STEADY for member in self.members)
        assert all(member.next_heartbeat_at_s > self.now_s for member in self.members)

    def round(self, member: Membership) -> None:
        beat = member.create_next_heartbeat(self.now_s)
        if member.on_answer(self.group.heartbeat(member.member_id, beat), self.now_s) is AnswerKind.FENCED:
            self.lose(member)
        if member in self.changing:
            self.finish(member)
        while (change := member.next_change_to_carry_out({TOPIC})) is not None:
            self.changing[member] = change
            self.finish(member)


TestGroupOfMembers = GroupOfMembers.TestCase
TestGroupOfMembers.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
