"""Declared consumers and producers: checked when they are added to an app, compiled when it starts."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evkafka.asyncapi import ConsumerContract, ProducerContract
from evkafka.config import (
    check_consumer_reads_no_own_dead_letters,
    checked_dead_letter_topic_name,
    dead_letter_producer_settings,
    masked_settings,
    override_error_policy,
    producer_settings,
)
from evkafka.config.keys import ProducerConfig
from evkafka.config.redirect import Redirect
from evkafka.config.settings import ConnectionSettings, ConsumerSettings, ErrorPolicySettings, ProducerSettings
from evkafka.context import App
from evkafka.endpoints.endpoint import Endpoint
from evkafka.exceptions import ConfigError
from evkafka.handler import Handler
from evkafka.middleware import Middleware, type_header_name_of_stack
from evkafka.producer import EVKafkaProducer
from evkafka.records import Record, TopicPartition
from evkafka.runtime.dead_letters.retry_topics import (
    RetryTopics,
    retry_consumer_name,
    retry_consumer_settings,
    retry_topics_of,
)
from evkafka.runtime.delayed_records import wrap_dispatch_to_unwrap_delayed_records
from evkafka.runtime.ports import Clock, Cluster, Dispatch, Route
from evkafka.runtime.topic_pattern import UNMATCHED, excluded_name_templates
from evkafka.sender import Sender
from evkafka.serde.cloudevents.event import TYPE_HEADER as CLOUDEVENTS_TYPE_HEADER
from evkafka.serde.cloudevents.reading import read_event
from evkafka.serde.formats.consumer_formats import ConsumerFormats
from evkafka.service.cloudevents_dispatch import wrap_dispatch_to_read_cloudevents
from evkafka.service.consumer_plan import ConsumerPlan, RetryPlan
from evkafka.service.dispatch import build_dispatch
from evkafka.telemetry import Telemetry

if TYPE_CHECKING:
    from evkafka.observe.opentelemetry import Tracing

logger = logging.getLogger("evkafka")


@dataclass(frozen=True, slots=True)
class WrittenDeadLetterTopic:
    """A topic that an error policy writes dead letters to.

    Attributes:
        source: the topic that the dead letters come from.
    """

    name: str
    source: str
    connection: ConnectionSettings


@dataclass(frozen=True, slots=True)
class DeclaredConsumer:
    """A consumer that `add_consumer` declared.

    Attributes:
        target: handles its records: a handler, or any app callable.
        middleware: its stack, outermost first; None for the default one.
        redirect: the brokers to which it was redirected; None: those of its configuration.
    """

    name: str
    settings: ConsumerSettings
    target: Handler | App
    middleware: Sequence[Middleware] | None
    redirect: Redirect | None = None

    def redirected(self, redirect: Redirect) -> DeclaredConsumer:
        """The consumer with other brokers, also for the dead letters of each policy.

        Raises:
            ConfigError: the list of servers is invalid.
        """
        settings = dataclasses.replace(
            self.settings,
            connection=redirect.connection(self.settings.connection),
            on_error=redirect.error_policy(self.settings.on_error),
        )
        return dataclasses.replace(self, settings=settings, redirect=redirect)

    @property
    def handler(self) -> Handler | None:
        """Its handler; None if an app callable takes its records."""
        return self.target if isinstance(self.target, Handler) else None

    @property
    def endpoints(self) -> tuple[Endpoint, ...] | None:
        """Its handler's endpoints, the default one last; None if an app callable takes its records."""
        return self.handler.endpoints if self.handler is not None else None

    @property
    def type_header_read_by_stack(self) -> str:
        """The header that its stack reads the event type from."""
        return type_header_name_of_stack(self.middleware)

    @property
    def type_header(self) -> str:
        """The header of its records that has the event type. CloudEvents in structured mode may lack it."""
        return self.type_header_read_by_stack if self.settings.envelope is None else CLOUDEVENTS_TYPE_HEADER

    def record_without_cloudevents_envelope(self, record: Record) -> Record:
        """The record as its stack sees it: with an envelope, the event in it.

        Raises:
            DecodeError: the record has no valid envelope.
        """
        return record if self.settings.envelope is None else read_event(record, self.type_header_read_by_stack)

    @property
    def default_event_type_by_topic(self) -> dict[str, str]:
        """Topic -> the type of those of its records that carry none."""
        return {topic.name: topic.event_type for topic in self.settings.topics if topic.event_type is not None}

    def formats(self) -> ConsumerFormats | None:
        """The formats of its topics; None if all values are JSON."""
        settings = self.settings
        formats = ConsumerFormats(
            settings.value_format,
            settings.formats_by_topic,
            [endpoint.event_type for endpoint in self.endpoints or () if not endpoint.is_default],
        )
        return formats if formats.distinct_formats else None

    def check_policies(self) -> None:
        """Check the error policies of the endpoints declared so far; later ones are checked at the start.

        Raises:
            ConfigError: a policy is invalid.
        """
        check_consumer_reads_no_own_dead_letters(self.settings, self.policies(), retry_topics=self.retry_topics())

    def endpoint_policies(self) -> dict[Endpoint | None, ErrorPolicySettings]:
        """Each endpoint's error policy, merged over the consumer's; at None, the last key, the consumer's own.

        Raises:
            ConfigError: a policy is invalid.
        """
        base = self.settings.on_error
        merged: dict[Endpoint | None, ErrorPolicySettings] = {
            endpoint: override_error_policy(base, endpoint.on_error, where=f"event type {endpoint.event_type!r}")
            for endpoint in self.endpoints or ()
        }
        if self.redirect is not None:
            merged = {endpoint: self.redirect.error_policy(policy) for endpoint, policy in merged.items()}
        return merged | {None: base}

    def policies(self) -> list[tuple[str | None, ErrorPolicySettings]]:
        """The same with the endpoints' event types; None for the consumer's own policy, the last one.

        Raises:
            ConfigError: a policy is invalid.
        """
        return [
            (endpoint.event_type if endpoint is not None else None, policy)
            for endpoint, policy in self.endpoint_policies().items()
        ]

    def policies_with_dead_letters(self) -> list[tuple[str | None, ErrorPolicySettings]]:
        """Those of `policies` that write dead letters even if no endpoint returns `DeadLetter`.

        Raises:
            ConfigError: a policy is invalid.
        """
        if self.settings.at_most_once:
            return []  # offsets are committed first: failed records are not kept
        unmatched = self.settings.unmatched == "dead_letter"
        return [
            (event_type, policy)
            for event_type, policy in self.policies()
            if policy.then == "dead_letter" or (event_type is None and unmatched)
        ]

    def dead_letter_topics(self) -> Iterator[WrittenDeadLetterTopic]:
        """The topics of these policies; none for the topics that a pattern matches. A name may come more than once.

        Raises:
            ConfigError: a policy is invalid, or Kafka does not accept a name.
        """
        for event_type, policy in self.policies_with_dead_letters():
            connection = dead_letter_producer_settings(self.settings, policy).connection
            for topic in self.settings.topics:
                yield WrittenDeadLetterTopic(
                    self.dead_letter_topic_name(policy, topic.name, event_type), topic.name, connection
                )

    def dead_letter_topic_name(self, policy: ErrorPolicySettings, source: str, event_type: str | None) -> str:
        """The topic of a policy's dead letters.

        Args:
            source: the topic that they come from.
            event_type: None for records without an endpoint.

        Raises:
            ConfigError: Kafka does not accept the name.
        """
        return checked_dead_letter_topic_name(
            policy, topic=source, group_id=self.settings.group_id, event_type=event_type or UNMATCHED
        )

    def retry_topics(self) -> RetryTopics:
        """The retry topics of its policies.

        Raises:
            ConfigError: a policy is invalid.
        """
        return retry_topics_of(self.settings, [policy for _, policy in self.policies()])

    def settings_of_retry_consumer(self) -> ConsumerSettings | None:
        """The settings of the consumer that reads its retry topics; None if it has none."""
        retry_topics = self.retry_topics()
        return retry_consumer_settings(self.settings, retry_topics) if retry_topics else None

    def describe_contract(self) -> ConsumerContract:
        """Describe it for the contract document.

        Raises:
            ConfigError: a policy is invalid.
        """
        return ConsumerContract(self.name, self.settings, self.endpoints, self.endpoint_policies(), self.type_header)

    def compile_plan(
        self,
        *,
        overrides: Callable[[], Any],
        paused: Callable[[str], Collection[TopicPartition]],
        spans: Tracing | None,
    ) -> ConsumerPlan:
        """Compile its stack, routes and decoders.

        Args:
            overrides: gives the app's dependency overrides, at each attempt.
            paused: consumer's name -> its paused partitions.

        Raises:
            ConfigError: an annotation cannot be resolved, or a middleware cannot be instantiated.
        """
        formats = self.formats()
        dispatch = build_dispatch(
            self.target,
            self.middleware,
            default_event_type_by_topic=self.default_event_type_by_topic,
            overrides=overrides,
            formats=formats,
        )
        dispatch, delayed_dispatch = self._create_topic_and_retry_dispatches(
            dispatch, spans.wrap_dispatch_with_spans if spans is not None else _return_unchanged
        )
        retries = None
        self.check_policies()
        if retry_topics := self.retry_topics():
            name = retry_consumer_name(self.name)
            retries = RetryPlan(
                name,
                retry_consumer_settings(self.settings, retry_topics),
                delayed_dispatch,
                retry_topics,
                lambda: paused(name),
            )
        policies: dict[Route | None, ErrorPolicySettings] = dict(self.endpoint_policies().items())
        return ConsumerPlan(
            self.name,
            self.settings_with_dead_letter_topics(),
            dispatch,
            policies,
            lambda: paused(self.name),
            retries,
            formats,
        )

    def _create_topic_and_retry_dispatches(
        self, dispatch: Dispatch, trace: Callable[[Dispatch], Dispatch]
    ) -> tuple[Dispatch, Dispatch]:
        """The dispatches of its topics and of its retry topics, with tracing and envelope."""
        if self.settings.envelope is None:
            return trace(dispatch), trace(wrap_dispatch_to_unwrap_delayed_records(dispatch))
        events = wrap_dispatch_to_read_cloudevents(dispatch, self.record_without_cloudevents_envelope, trace)
        return events, wrap_dispatch_to_unwrap_delayed_records(events)

    def settings_with_dead_letter_topics(self) -> ConsumerSettings:
        """Its settings, with the dead-letter topics of all policies. In the topic of an event type's own policy, the
        `{event_type}` is known."""
        names = [
            name
            for event_type, policy in self.policies()
            for name in excluded_name_templates(
                policy.dead_letter_topic, group_id=self.settings.group_id, event_type=event_type
            )
        ]
        return dataclasses.replace(self.settings, dead_letter_topics=tuple(dict.fromkeys(names)))

    def log_start(self, title: str) -> None:
        settings = self.settings
        fields = {"consumer": self.name, "group_id": settings.group_id, "client_id": settings.connection.client_id}
        topics = ", ".join(topic.name for topic in settings.topics) or str(settings.topic_pattern)
        logger.info("%s: consumer %s reads %s as group %s", title, self.name, topics, settings.group_id, extra=fields)
        effective = " ".join(f"{key}={value}" for key, value in masked_settings(settings).items())
        logger.debug("consumer %s runs with %s", self.name, effective, extra=fields)


def _return_unchanged(dispatch: Dispatch) -> Dispatch:
    return dispatch


@dataclass(frozen=True, slots=True)
class DeclaredProducer:
    """A producer that `add_producer` declared, with the sender that sends over it."""

    name: str
    config: ProducerConfig = field(repr=False)  # it contains passwords
    sender: Sender

    def redirected(self, redirect: Redirect) -> DeclaredProducer:
        return dataclasses.replace(self, config=redirect.producer_config(self.config))

    def describe_contract(self) -> ProducerContract:
        """Describe it for the contract document."""
        settings = producer_settings(self.config)
        return ProducerContract(self.name, settings, self.sender.endpoints, self.sender.envelope)

    def create_producer(
        self,
        *,
        cluster: Cluster,
        clock: Clock,
        telemetry: Telemetry,
        spans: Tracing | None,
        joins_transactions: bool,
    ) -> BoundProducer:
        """Create a producer for one run of the app.

        Args:
            joins_transactions: the app has exactly-once consumers.
        """
        producer = EVKafkaProducer(
            self.config,
            cluster=cluster,
            clock=clock,
            telemetry=telemetry,
            name=self.name,
            spans=spans,
            joins_transactions=joins_transactions,
        )
        return BoundProducer(self.name, producer, self.sender)


@dataclass(frozen=True, slots=True)
class BoundProducer:
    """A producer of one run, and the sender that sends over it. The service starts and stops it."""

    name: str
    producer: EVKafkaProducer
    sender: Sender

    @property
    def settings(self) -> ProducerSettings:
        return self.producer.settings

    def check_declared_events(self) -> None:
        if self.sender.is_bound:
            raise ConfigError("its Sender already uses another app's producer: create a second Sender")
        self.sender.check_declared_events(self.producer)

    async def start(self) -> None:
        await self.sender.find_schemas_and_set_encoders(self.producer.settings.topic)
        await self.producer.start()
        self.sender.bind(self.producer)

    async def close_formats(self) -> None:
        for one in self.sender.formats:
            await one.close()

    def unavailable_reason(self) -> str:
        return self.producer.unavailable_reason()

    async def stop(self, *, timeout_s: float) -> None:
        if self.producer.loop is not None:
            self.sender.unbind()
            await self.producer.stop(timeout_s=min(timeout_s, self.producer.settings.delivery_timeout_s))
