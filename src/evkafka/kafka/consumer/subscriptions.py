"""What a source is subscribed to, for aiokafka's parts."""

from __future__ import annotations

from aiokafka.consumer.subscription_state import SubscriptionState


class Subscriptions(SubscriptionState):
    @property
    def fetcher_idle_time(self) -> float:
        """Never idle: the runtime's own watchdog checks the polls (aiokafka-defects.md#poll-clock).

        One cancelled poll stops aiokafka's clock for good. And a member that it expels because it has no records to
        read can never join again.
        """
        return 0.0
