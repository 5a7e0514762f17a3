"""The fake cluster's fixtures are those of the client's tests."""

from tests.support.fake_kafka import fake, fake_program

__all__ = ["fake", "fake_program"]
