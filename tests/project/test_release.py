"""The workflows, and the checks of a release."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.doc_pages import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def steps(workflow: Path) -> list[dict[str, Any]]:
    return [step for job in yaml.safe_load(workflow.read_text())["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
class TestWorkflows:
    def test_every_action_is_pinned_to_a_commit(self, workflow: Path) -> None:
        used = [step["uses"] for step in steps(workflow) if "uses" in step]
        assert used
        for action in used:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", action), action

    def test_every_make_target_that_they_run_exists(self, workflow: Path) -> None:
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        text = workflow.read_text()
        named = set(re.findall(r"run: make ([a-z-]+)", text))
        for listed in re.findall(r"target: \[([^\]]+)\]", text):
            named |= {name.strip() for name in listed.split(",")}
        assert named <= targets, named - targets
        assert ".ci/run" in text
        assert (ROOT / ".ci" / "run").stat().st_mode & 0o111

    def test_the_default_permissions_are_empty(self, workflow: Path) -> None:
        assert yaml.safe_load(workflow.read_text())["permissions"] == {}


def test_zizmor_finds_nothing_in_the_workflows() -> None:
    zizmor = Path(sys.executable).parent / "zizmor"
    completed = subprocess.run(
        [str(zizmor), "--offline", "--no-progress", "--quiet", *map(str, WORKFLOWS)],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr


class TestRelease:
    def test_the_publishing_tool_is_pinned_by_hash(self) -> None:
        text = (ROOT / "tools" / "publish-requirements.txt").read_text()
        assert re.match(r"uv==[\d.]+ \\\n    --hash=sha256:", text)

    def test_a_tag_that_is_not_the_version_is_refused(self) -> None:
        from tools.dist import check_release

        with pytest.raises(SystemExit, match=r"the tag is v1\.0\.0, and what was built is 1\.0\.0\.dev7"):
            check_release("v1.0.0", "1.0.0.dev7")

    def test_a_version_that_the_changelog_does_not_date_is_refused(self) -> None:
        from tools.dist import check_release

        with pytest.raises(SystemExit, match=r"CHANGELOG\.md has no dated section 99"):
            check_release("v99.0.0", "99.0.0")
