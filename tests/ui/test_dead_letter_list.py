"""The list of dead letters on a real Kafka: pages, counts, groups, and the part of the topic that is searched."""

from __future__ import annotations

import pytest

from evkafka.dlq import DeadLetterFilter, DeadLetterPosition, DeadLetterTopic, drop_dead_letters
from evkafka.ui import dead_letter_list
from evkafka.ui.dead_letter_list import DeadLetterLists, Listed, ListQuery
from evkafka.ui.request_fields import read_dead_letter_filter, read_list_query
from tests.support.backends import backend, kafka
from tests.support.dead_letters import Given, given
from tests.support.engine import bench

__all__ = ["backend", "bench", "given", "kafka"]


async def list_dead_letters(topic: DeadLetterTopic, query: ListQuery) -> Listed:
    return await DeadLetterLists().find_page(topic, query)


def offsets(listed: Listed) -> list[int]:
    return [row["offset"] for row in listed.rows]


async def dropped(given: Given, *positions: int) -> None:
    chosen = [DeadLetterPosition(0, offset) for offset in positions]
    await drop_dead_letters(given.dead_letters, DeadLetterFilter(positions=chosen))


class TestAPage:
    async def test_has_the_newest_first_and_the_next_one_goes_on(self, given: Given) -> None:
        for offset in range(5):
            await given.write(offset)
        first = await list_dead_letters(given.dead_letters, ListQuery(limit=2))
        await given.write(5)
        within = DeadLetterFilter(within=first.within)
        second = await list_dead_letters(given.dead_letters, ListQuery(within, skip=2, limit=2))
        third = await list_dead_letters(given.dead_letters, ListQuery(within, skip=4, limit=2))
        assert [offsets(page) for page in (first, second, third)] == [[4, 3], [2, 1], [0]]
        assert [page.counts["open"] for page in (first, second, third)] == [5, 5, 5]

    async def test_after_the_first_reads_only_its_own_dead_letters(self, given: Given) -> None:
        for offset in range(5):
            await given.write(offset)
        lists = DeadLetterLists()
        first = await lists.find_page(given.dead_letters, ListQuery(limit=2))
        await dropped(given, 1)
        within = DeadLetterFilter(within=first.within)
        second = await lists.find_page(given.dead_letters, ListQuery(within, skip=2, limit=2))
        assert [(row["offset"], row["status"]) for row in second.rows] == [(2, "open"), (1, "open")]
        again = await lists.find_page(given.dead_letters, ListQuery(limit=2))
        assert again.counts["open"] == 4

    async def test_has_the_wanted_status_and_the_number_of_each(self, given: Given) -> None:
        for offset in range(4):
            await given.write(offset)
        await dropped(given, 1, 2)
        is_open = await list_dead_letters(given.dead_letters, ListQuery())
        is_dropped = await list_dead_letters(given.dead_letters, ListQuery(status="dropped"))
        either = await list_dead_letters(given.dead_letters, ListQuery(status=None))
        assert [offsets(one) for one in (is_open, is_dropped, either)] == [[3, 0], [2, 1], [3, 2, 1, 0]]
        for one in (is_open, is_dropped, either):
            assert (one.counts, one.open) == ({"open": 2, "replayed": 0, "dropped": 2}, 2)

    async def test_of_a_filter_counts_what_matches(self, given: Given) -> None:
        for offset in range(12):
            await given.write(offset)
        found = await list_dead_letters(given.dead_letters, ListQuery(DeadLetterFilter(containing="POISON 1")))
        assert offsets(found) == [11, 10, 1]
        assert (found.counts["open"], found.open) == (3, 12)

    async def test_of_one_position_has_it_whatever_its_status(self, given: Given) -> None:
        for offset in range(3):
            await given.write(offset)
        await dropped(given, 1)
        wanted = DeadLetterFilter(positions=[DeadLetterPosition(0, 1)])
        [row] = (await list_dead_letters(given.dead_letters, ListQuery(wanted, status=None))).rows
        assert (row["place"], row["status"]) == ("0@1", "dropped")

    async def test_is_empty_if_there_is_no_topic_yet(self, given: Given) -> None:
        missing = type(given.dead_letters)(given.connection, "never-made.g.dlq")
        assert await list_dead_letters(missing, ListQuery()) == Listed()


class TestAMessageThatMayContainASecret:
    @pytest.fixture
    async def dead_letters(self, given: Given) -> DeadLetterTopic:
        message = b"login failed: password=hunter2"
        for error_type in (b"app.LoginError", b""):
            headers = [
                ("evkafka-dlq-topic", given.source.encode()),
                ("evkafka-dlq-error-type", error_type),
                ("evkafka-dlq-error-message", message),
                ("evkafka-dlq-error-traceback", b"Traceback (most recent call last):\napp.LoginError: " + message),
            ]
            await given.kafka.send(given.dead, b"v", "E", headers=headers)
        return given.dead_letters

    async def test_is_hidden_in_the_row_the_traceback_and_the_group(self, dead_letters: DeadLetterTopic) -> None:
        found = await list_dead_letters(dead_letters, ListQuery())
        assert [row["error_message"] for row in found.rows] == ["***", "***"]
        assert "hunter2" not in str([found.rows, found.groups])
        shown = {(one["error_type"], one["message"], one["error"]) for one in found.groups}
        assert shown == {("LoginError", "***", "LoginError"), ("", "***", None)}

    @pytest.mark.parametrize("name", ["q", "error"])
    async def test_is_not_found_by_what_is_hidden(self, dead_letters: DeadLetterTopic, name: str) -> None:
        found = [(await list_dead_letters(dead_letters, read_list_query({name: text}))) for text in ("hunter", "***")]
        assert [page.counts["open"] for page in found] == [0, 2]

    @pytest.mark.parametrize("name", ["q", "error"])
    async def test_is_not_found_by_a_replay_or_a_discard_either(self, dead_letters: DeadLetterTopic, name: str) -> None:
        chosen = [read_dead_letter_filter({"filter": {name: text, "within": "0@0-2"}}) for text in ("hunter", "***")]
        assert [(await dead_letters.select(wanted)).open for wanted in chosen] == [0, 2]


class TestALargeTopic:
    async def test_is_searched_in_its_newest_part_and_says_so(
        self, given: Given, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dead_letter_list, "SEARCHED_MAX", 4)
        for offset in range(10):
            await given.write(offset)
        found = await list_dead_letters(given.dead_letters, ListQuery())
        assert (offsets(found), found.older) == ([9, 8, 7, 6], 6)
        assert (found.counts["open"], found.within) == (4, {0: range(6, 10)})
        before = await list_dead_letters(given.dead_letters, ListQuery(before=found.within))
        assert (offsets(before), before.older) == ([5, 4, 3, 2], 2)
        first = await list_dead_letters(given.dead_letters, ListQuery(before=before.within))
        assert (offsets(first), first.older) == ([1, 0], 0)


class TestGroups:
    async def test_are_of_one_error_and_event_type_the_largest_first(self, given: Given) -> None:
        for offset, event_type in enumerate(("E", "F", "E", "E")):
            await given.write(offset, event_type=event_type)
        found = await list_dead_letters(given.dead_letters, ListQuery())
        shown = [(one["error_type"], one["event_type"], one["dead_letters"], one["message"]) for one in found.groups]
        assert shown == [("ValueError", "E", 3, "poison 3"), ("ValueError", "F", 1, "poison 1")]
        first = found.groups[0]
        wanted = DeadLetterFilter(event_types=["E"], error=first["error"])
        assert (await list_dead_letters(given.dead_letters, ListQuery(wanted))).counts["open"] == 3

    async def test_of_a_reason_without_an_error_are_selected_by_the_reason(self, given: Given) -> None:
        for reason in (b"card declined [402]", b"no stock"):
            headers = [("evkafka-dlq-topic", given.source.encode()), ("evkafka-dlq-error-message", reason)]
            await given.kafka.send(given.dead, b"v", "E", headers=headers)
        found = await list_dead_letters(given.dead_letters, ListQuery())
        assert {(one["error_type"], one["message"]) for one in found.groups} == {
            ("", "card declined [402]"),
            ("", "no stock"),
        }
        [error] = [one["error"] for one in found.groups if "402" in one["message"]]
        chosen = await list_dead_letters(given.dead_letters, ListQuery(DeadLetterFilter(error=error)))
        assert chosen.counts["open"] == 1

    async def test_whose_name_cannot_be_shown_select_nothing(self, given: Given) -> None:
        headers = [("evkafka-dlq-topic", given.source.encode()), ("evkafka-dlq-error-type", "a.\u202eEvil".encode())]
        await given.kafka.send(given.dead, b"v", "E", headers=headers)
        [group] = (await list_dead_letters(given.dead_letters, ListQuery())).groups
        assert (group["error_type"], group["error"]) == ("\\u202eEvil", None)

    async def test_are_limited(self, given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dead_letter_list, "GROUPS_COUNTED", 2)
        for offset in range(5):
            await given.write(offset, event_type=f"E{offset}")
        found = await list_dead_letters(given.dead_letters, ListQuery())
        assert (len(found.groups), found.other, found.counts["open"]) == (2, 3, 5)
