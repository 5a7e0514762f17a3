"""Compiled consumers: the plan of a declared consumer, made at the start of an app."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from evkafka.config.settings import ConsumerSettings, ErrorPolicySettings
from evkafka.records import TopicPartition
from evkafka.runtime.dead_letters.retry_topics import RetryTopics
from evkafka.runtime.ports import ConsumerIdentity, Dispatch, Route
from evkafka.serde.formats.consumer_formats import ConsumerFormats


@dataclass(frozen=True, slots=True)
class RetryPlan:
    """The consumer of a consumer's retry topics, as far as it differs from that consumer."""

    name: str
    settings: ConsumerSettings
    dispatch: Dispatch
    retry_topics: RetryTopics
    paused: Callable[[], Collection[TopicPartition]] = tuple


@dataclass(frozen=True, slots=True)
class ConsumerPlan:
    """A declared consumer, compiled: the parts of a `Consumer`.

    Attributes:
        policies: each endpoint's error policy, merged over the consumer's; at None the consumer's own.
        paused: gives the partitions that the user has paused.
        retries: set if a policy has retry topics.
        formats: of its topics; None if all values are JSON.
    """

    name: str
    settings: ConsumerSettings
    dispatch: Dispatch
    policies: Mapping[Route | None, ErrorPolicySettings]
    paused: Callable[[], Collection[TopicPartition]] = tuple
    retries: RetryPlan | None = None
    formats: ConsumerFormats | None = None

    @property
    def consumer_names_and_settings(self) -> list[tuple[str, ConsumerSettings]]:
        """The names and settings of its consumers: its own, and that of its retry topics."""
        retries = [] if self.retries is None else [(self.retries.name, self.retries.settings)]
        return [(self.name, self.settings), *retries]

    @property
    def routes(self) -> list[Route]:
        """Its endpoints; none if an app callable takes its records."""
        return [route for route in self.policies if route is not None]

    @property
    def shortest_limit_s(self) -> float:
        """The shortest time limit for one attempt, of the consumer and its endpoints."""
        own_s = [route.timeout_s for route in self.routes if route.timeout_s is not None]
        return min([self.settings.max_endpoint_exec_time_s, *own_s])

    @property
    def identity(self) -> ConsumerIdentity:
        return ConsumerIdentity.from_settings(self.name, self.settings)

    @property
    def dead_letter_policies(self) -> dict[Route | None, ErrorPolicySettings]:
        """The policies that may write dead letters even if no endpoint returns `DeadLetter`."""
        found = {
            route: policy
            for route, policy in self.policies.items()
            # The consumer's own is merged into each endpoint's; by itself it counts only if there are no endpoints.
            if policy.then == "dead_letter" and (route is not None or len(self.policies) == 1)
        }
        if self.settings.unmatched == "dead_letter":
            found[None] = self.policies[None]
        return found

    @property
    def longest_dead_letter_window_records(self) -> int:
        """The longest window of the policies' `dead_letter_limit`; 0 if none has a limit."""
        limits = [policy.dead_letter_limit for policy in self.policies.values()]
        return max((limit.window for limit in limits if limit is not None), default=0)

    def policy_of_route(self, route: Route | None) -> ErrorPolicySettings:
        """The policy of an endpoint; the consumer's own for a record that no endpoint takes."""
        return self.policies.get(route, self.policies[None])
