"""Importing evkafka does not load the test kit, and the test kit loads no Kafka client."""

from __future__ import annotations

import subprocess
import sys

import pytest

import evkafka


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240)
    return set(done.stdout.split())


class TestImports:
    def test_a_service_does_not_load_the_test_kit(self) -> None:
        loaded = loaded_by("import evkafka")
        assert not {name for name in loaded if name.startswith(("evkafka.testing", "pytest", "aiokafka"))}

    def test_the_test_kit_loads_no_client(self) -> None:
        assert "aiokafka" not in loaded_by("from evkafka import TestClient; import evkafka.testing")

    def test_the_test_client_is_a_name_of_evkafka_and_no_other_is_made_up(self) -> None:
        from evkafka.testing import TestClient

        assert evkafka.TestClient is TestClient
        with pytest.raises(AttributeError, match="has no attribute 'TestKlient'"):
            _ = evkafka.TestKlient  # type: ignore[attr-defined]
