# SPDX-License-Identifier: GPL-3.0-or-later
"""Collecting: each host's own outcome, told by the events of collect.yml."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import run_archives

from nvmelab.lab import collect
from nvmelab.lab.events import Event, HostOutcome
from nvmelab.lab.runner import Playbook
from nvmelab.store.archive import sha256_of
from nvmelab.store.folder import Store

Fake = Callable[[Playbook, Callable[[Event], None]], dict[str, HostOutcome]]


def _fetched(host: str, *archives: Path, kind: str = "ok", **more: Any) -> Event:
    found = [
        {"run_id": run_archives.RUN_ID, "sha256": sha256_of(a), "dest": str(a)} for a in archives
    ]
    result = {"changed": True, "archives": found, **more}
    return Event(kind, host=host, task="Fetch", action="nvmelab.bench.run_fetch", result=result)


@pytest.fixture
def collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Fake], dict[str, collect.HostCollected]]:
    """Collect with a function in the place of Ansible; the outcomes by host."""

    def run(fake: Fake) -> dict[str, collect.HostCollected]:
        monkeypatch.setattr(collect, "run_playbook", fake)
        store = Store(tmp_path / "store")
        return {host.host: host for host in collect.collect(store, inventory=["x"])}

    return run


def test_one_bad_host_does_not_cost_the_others(
    tmp_path: Path, collected: Callable[[Fake], dict[str, collect.HostCollected]]
) -> None:
    """Collected, nothing new, running, unreachable, damaged, failed: each host has its own."""

    def fake(playbook: Playbook, on_event: Callable[[Event], None]) -> dict[str, HostOutcome]:
        assert playbook.variables["nvmelab_known"] == {}
        folder = Path(playbook.variables["nvmelab_fetched"])
        good = run_archives.archive(folder / "good", host="good")
        damaged = run_archives.archive(folder / "damaged", host="damaged")
        half = run_archives.archive(folder / "half", host="half")
        on_event(Event("play"))
        on_event(_fetched("good", good))
        on_event(_fetched("nothing", running=["20261121T100000Z-quick-0000"]))
        lie = _fetched("damaged", damaged)
        lie.result["archives"][0]["sha256"] = "0" * 64  # type: ignore[index]
        on_event(lie)
        on_event(_fetched("skipping", skipped=[{"run_id": "r", "reason": "no manifest"}]))
        on_event(_fetched("half", half, kind="failed", msg="no space"))
        states = {"away": "unreachable", "half": "failed"}
        hosts = ("good", "nothing", "damaged", "skipping", "half", "away")
        return {
            host: HostOutcome(host, states.get(host, "ok"), "why" if host in states else "")
            for host in hosts
        }

    hosts = collected(fake)
    assert {host: found.state for host, found in hosts.items()} == {
        "good": "collected",
        "nothing": "nothing new",
        "damaged": "failed",
        "skipping": "failed",
        "half": "failed",
        "away": "unreachable",
    }
    assert [host for host, found in hosts.items() if found.is_good] == ["good", "nothing"]
    assert "sha256" in hosts["damaged"].problems[0]
    assert hosts["away"].problems == ("why",)
    assert "no manifest" in hosts["skipping"].problems[0]
    store = Store(tmp_path / "store")
    assert [run.host for run in store.load("latest")] == ["good", "half"]
    assert list((store.path / ".incoming").iterdir()) == []
    table = collect.as_table(list(hosts.values()))
    assert f"{run_archives.RUN_ID} (2 points)" in table
    assert "20261121T100000Z-quick-0000 still running" in table
    assert "away: why" in table


def test_what_is_known_is_said_and_adds_nothing(
    collected: Callable[[Fake], dict[str, collect.HostCollected]],
) -> None:
    """The second time the hosts are told what the store has; a repeat is nothing new."""
    seen: list[Any] = []

    def fake(playbook: Playbook, on_event: Callable[[Event], None]) -> dict[str, HostOutcome]:
        seen.append(playbook.variables["nvmelab_known"])
        archive = run_archives.archive(Path(playbook.variables["nvmelab_fetched"]))
        on_event(_fetched("storage-a", archive))
        return {"storage-a": HostOutcome("storage-a", "ok")}

    assert collected(fake)["storage-a"].state == "collected"
    assert collected(fake)["storage-a"].state == "nothing new"
    assert seen == [{}, {"storage-a": {run_archives.RUN_ID: "2026-11-21T09:01:00Z"}}]


def test_result_that_ansible_runner_lost_is_a_failure(
    collected: Callable[[Fake], dict[str, collect.HostCollected]],
) -> None:
    """An offer that arrived empty must not look like nothing new."""

    def fake(_: Playbook, on_event: Callable[[Event], None]) -> dict[str, HostOutcome]:
        on_event(Event("ok", host="a", action="nvmelab.bench.run_fetch", result={}, is_lost=True))
        return {"a": HostOutcome("a", "ok")}

    found = collected(fake)["a"]
    assert found.state == "failed"
    assert "got lost" in found.problems[0]
