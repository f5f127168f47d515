# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab host as a place for points: what it has started goes, whatever else fails."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_spdk_host import FakeSpdkHost

from ansible_collections.nvmelab.bench.plugins.module_utils.run import targets
from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import RunDirectory
from ansible_collections.nvmelab.bench.plugins.module_utils.run.environment import (
    Environment,
    Settings,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.run.host_environment import (
    HostEnvironment,
)


def test_an_agent_that_cannot_be_ended_leaves_no_target_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Targets are stopped and files removed all the same; the failure is told after it."""
    stopped = []

    def start(spec: dict[str, Any], **_: Any) -> Any:
        return SimpleNamespace(sockets={}, stop=lambda: stopped.append(spec["name"]))

    def refuse(_: Environment) -> None:
        raise OSError("the agent's pipe")

    monkeypatch.setattr(targets, "start_target", start)
    FakeSpdkHost(tmp_path / "host").install(monkeypatch)
    monkeypatch.setattr(Environment, "stop", refuse)
    settings = Settings(RunDirectory(tmp_path / "run"), {}, "none", "", say=lambda _: None)
    files = [
        {"name": "file", "backend": {"kind": "raw-file", "size_mib": 1}},
        {"name": "bdev", "backend": {"kind": "bdev_malloc", "size_mib": 1}},
    ]
    spec = {"targets": [{"name": "a"}, {"name": "b"}], "guest": None, "host_files": files}
    environment = HostEnvironment("host", spec, settings)
    environment.start()
    made = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(made) == 2
    with pytest.raises(OSError, match="the agent's pipe"):
        environment.stop()
    assert sorted(stopped) == ["a", "b"]
    assert not [path for path in made if path.exists()]
