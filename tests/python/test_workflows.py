"""The workflows for GitHub: they cannot run here, but they must agree with the package."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PYTHONS = re.findall(r"Programming Language :: Python :: (3\.\d+)", PYPROJECT)
NAMES = ("tests", "wheels")


def read(name: str) -> dict[str, Any]:
    workflow: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text("utf-8"))
    return workflow


def pinned_torch() -> str:
    found = re.search(r'^PINNED = "([\d.]+)"', (ROOT / "cmake" / "dependencies.py").read_text("utf-8"), re.MULTILINE)
    assert found
    return found[1]


@pytest.mark.parametrize("name", NAMES)
def test_jobs_need_existing_jobs_and_every_step_runs_something(name: str) -> None:
    jobs = read(name)["jobs"]
    for job in jobs.values():
        needed = job.get("needs", [])
        assert set([needed] if isinstance(needed, str) else needed) <= set(jobs)
        assert "runs-on" in job
        assert "timeout-minutes" in job or "environment" in job
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)


def test_every_supported_python_is_tested_and_has_a_wheel() -> None:
    wheels = read("wheels")["jobs"]
    assert read("tests")["jobs"]["pytest"]["strategy"]["matrix"]["python"] == PYTHONS
    assert wheels["try"]["strategy"]["matrix"]["python"] == PYTHONS
    assert wheels["wheel"]["strategy"]["matrix"]["python"] == [each.replace(".", "") for each in PYTHONS]
    selector = re.search(r'build = "cp31\[0-(\d)\]-manylinux_x86_64"', PYPROJECT)
    assert selector
    assert f"3.1{selector[1]}" == PYTHONS[-1]


def test_wheels_and_source_are_built_with_the_pinned_torch() -> None:
    steps = read("wheels")["jobs"]["source"]["steps"]
    found = re.findall(r"torch==([\d.]+)", PYPROJECT + "".join(step.get("run", "") for step in steps))
    assert found == [pinned_torch()] * 2


def test_only_a_tag_publishes() -> None:
    publish = read("wheels")["jobs"]["publish"]
    assert publish["if"] == "startsWith(github.ref, 'refs/tags/v')"
    assert set(publish["needs"]) == {"wheel", "source", "try"}
    assert publish["permissions"]["id-token"] == "write"
    check = next(
        step["run"] for step in publish["steps"] if step.get("name") == "the tag is the version of the package"
    )
    version = re.search(r'^version = "(.+)"$', PYPROJECT, re.MULTILINE)
    assert version
    assert 'version = \\"${GITHUB_REF_NAME#v}\\"' in check
