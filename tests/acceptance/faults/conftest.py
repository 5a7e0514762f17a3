"""The fake cluster's fixtures are those of the client's tests."""

from tests.kafka.conftest import fake, fake_program

__all__ = ["fake", "fake_program"]
