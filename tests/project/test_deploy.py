"""The files of deploy/ are valid for their tools, and agree with EVKafka's timeouts and exit codes."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from evkafka import consumer_config

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
STOP_S = 25
"""Drain, commit, leaving the group and flush end within this time, as docs/delivery.md says."""


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


TEXT, COUNT, SWITCH = {"type": "string"}, {"type": "integer", "minimum": 0}, {"enum": ["true", "false"]}
NUMBER = {"type": "string", "pattern": "^[0-9]+$"}
SCALED_OBJECT = _object(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "keda.sh/v1alpha1"},
    kind={"const": "ScaledObject"},
    metadata={"type": "object", "required": ["name"]},
    spec=_object(
        ("scaleTargetRef", "triggers"),
        scaleTargetRef=_object(("name",), apiVersion=TEXT, kind=TEXT, name=TEXT, envSourceContainerName=TEXT),
        pollingInterval=COUNT,
        cooldownPeriod=COUNT,
        initialCooldownPeriod=COUNT,
        idleReplicaCount=COUNT,
        minReplicaCount=COUNT,
        maxReplicaCount=COUNT,
        fallback={"type": "object"},
        advanced=_object(
            restoreToOriginalReplicaCount={"type": "boolean"},
            horizontalPodAutoscalerConfig=_object(name=TEXT, behavior={"type": "object"}),
        ),
        triggers={
            "type": "array",
            "minItems": 1,
            "items": _object(
                ("type", "metadata"),
                type={"const": "kafka"},
                name=TEXT,
                authenticationRef={"type": "object"},
                metadata=_object(
                    ("bootstrapServers", "consumerGroup", "topic"),
                    bootstrapServers=TEXT,
                    consumerGroup=TEXT,
                    topic=TEXT,
                    lagThreshold=NUMBER,
                    activationLagThreshold=NUMBER,
                    offsetResetPolicy={"enum": ["latest", "earliest"]},
                    allowIdleConsumers=SWITCH,
                    scaleToZeroOnInvalidOffset=SWITCH,
                    excludePersistentLag=SWITCH,
                    limitToPartitionsWithLag=SWITCH,
                    ensureEvenDistributionOfPartitions=SWITCH,
                    partitionLimitation=TEXT,
                    version=TEXT,
                    sasl=TEXT,
                    tls=TEXT,
                ),
            ),
        },
    ),
)
"""The fields that KEDA documents for a ScaledObject and for its Kafka trigger; any other is a typing error."""


def manifests(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def pod_of(name: str) -> dict[str, Any]:
    [spec] = [document["spec"]["template"]["spec"] for document in manifests(name) if "template" in document["spec"]]
    pod: dict[str, Any] = spec
    return pod


class TestKubernetes:
    @pytest.mark.parametrize("name", ["kubernetes.yaml", "kubernetes-static-members.yaml"])
    def test_kubernetes_accepts_the_manifests(self, name: str) -> None:
        for document in manifests(name):
            kubernetes_validate.validate(document, "1.34", strict=True)

    @pytest.mark.parametrize("name", ["kubernetes.yaml", "kubernetes-static-members.yaml"])
    def test_the_grace_period_of_a_pod_is_longer_than_the_stop(self, name: str) -> None:
        settings = consumer_config({"topics": ["t"], "group_id": "g"})
        assert settings.get("drain_timeout_ms", 20_000) / 1000 < STOP_S < pod_of(name)["terminationGracePeriodSeconds"]

    @pytest.mark.parametrize("name", ["kubernetes.yaml", "kubernetes-static-members.yaml"])
    def test_each_probe_requests_its_own_path(self, name: str) -> None:
        [container] = pod_of(name)["containers"]
        paths = {probe: container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")}
        assert paths == {"startup": "/startupz", "liveness": "/livez", "readiness": "/readyz"}

    def test_static_members_are_named_by_their_pod(self) -> None:
        [container] = pod_of("kubernetes-static-members.yaml")["containers"]
        assert container["env"][0]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
        consumer_config({"topics": ["t"], "group_id": "g", "group_instance_id": "shop-0", "session_timeout_ms": 45_000})

    def test_scaling_follows_the_lag_of_the_group(self) -> None:
        [scaled] = manifests("keda.yaml")
        [trigger] = scaled["spec"]["triggers"]
        assert scaled["spec"]["scaleTargetRef"]["name"] == manifests("kubernetes.yaml")[0]["metadata"]["name"]
        assert trigger["type"] == "kafka"
        assert {"bootstrapServers", "consumerGroup", "topic", "lagThreshold"} <= trigger["metadata"].keys()
        assert all(isinstance(value, str) for value in trigger["metadata"].values())

    def test_keda_accepts_the_scaled_object(self) -> None:
        [scaled] = manifests("keda.yaml")
        jsonschema.validate(scaled, SCALED_OBJECT)
        metadata = scaled["spec"]["triggers"][0]["metadata"]
        assert metadata["limitToPartitionsWithLag"] != metadata.get("allowIdleConsumers")  # KEDA refuses both
        behavior = scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        scaler = {  # the object that KEDA creates from it
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "keda-hpa-shop"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
                "maxReplicas": scaled["spec"]["maxReplicaCount"],
                "behavior": behavior,
            },
        }
        kubernetes_validate.validate(scaler, "1.34", strict=True)


class TestDocker:
    def test_the_linter_finds_nothing(self) -> None:
        linter = Path(sys.executable).with_name("hadolint")
        done = subprocess.run([linter, DEPLOY / "Dockerfile"], capture_output=True, text=True, timeout=240, check=False)
        assert (done.returncode, done.stdout) == (0, "")

    def test_the_image_does_not_run_as_root_and_python_gets_the_signals(self) -> None:
        lines = (DEPLOY / "Dockerfile").read_text().splitlines()
        assert "USER 10001" in lines
        assert any(line.startswith('CMD ["evkafka", "run"') for line in lines)


class TestSystemd:
    def test_the_unit_allows_the_stop_and_does_not_restart_after_a_configuration_error(self) -> None:
        unit = configparser.ConfigParser(strict=False, interpolation=None)
        unit.optionxform = str  # type: ignore[assignment,method-assign]
        unit.read(DEPLOY / "shop.service")
        service = unit["Service"]
        assert int(service["TimeoutStopSec"]) > STOP_S
        assert service["RestartPreventExitStatus"] == "2"  # exit code for usage and configuration errors

    def test_systemd_never_gives_up_while_kafka_is_unavailable(self) -> None:
        unit = configparser.ConfigParser(strict=False, interpolation=None)
        unit.read(DEPLOY / "shop.service")
        assert unit["Unit"]["StartLimitIntervalSec"] == "0"

    @pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="this machine has no systemd-analyze")
    def test_systemd_complains_only_that_the_service_is_not_installed(self) -> None:
        done = subprocess.run(
            ["systemd-analyze", "verify", DEPLOY / "shop.service"],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        complaints = [line for line in done.stderr.splitlines() if "shop.service" in line]
        assert [line for line in complaints if "is not executable" not in line] == []
