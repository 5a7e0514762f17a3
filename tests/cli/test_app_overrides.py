"""What the options of `evkafka run` change in an app."""

from __future__ import annotations

import pytest

from evkafka import EVKafkaApp, Handler
from evkafka.cli.impl.app_overrides import apply_options_to_app
from evkafka.cli.impl.run_options import RunOptions


def ids(*, workers: int, worker: int) -> list[tuple[str | None, str | None]]:
    """The instance id and the transactional id of each consumer."""
    app = EVKafkaApp()
    app.add_consumer(
        {
            "topics": ["orders"],
            "group_id": "g",
            "auto_commit_mode": "exactly-once",
            "group_instance_id": "pod",
            "transactional_id": "shop",
        },
        Handler(),
    )
    app.add_consumer({"topics": ["bills"], "group_id": "g"}, Handler())
    apply_options_to_app(app, RunOptions("shop:app", workers=workers, worker=worker))
    return [(one.settings.group_instance_id, one.settings.transactional_id) for one in app.consumers.values()]


@pytest.mark.parametrize("worker", [1, 2])
def test_each_of_several_workers_has_ids_of_its_own(worker: int) -> None:
    assert ids(workers=2, worker=worker) == [(f"pod-{worker}", f"shop-{worker}"), (None, None)]


def test_a_single_process_has_the_ids_as_they_are() -> None:
    assert ids(workers=1, worker=1) == [("pod", "shop"), (None, None)]
