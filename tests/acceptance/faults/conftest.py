"""The fixtures of the fake cluster."""

from tests.support.fake_kafka import fake, fake_cluster, fake_program

__all__ = ["fake", "fake_cluster", "fake_program"]
