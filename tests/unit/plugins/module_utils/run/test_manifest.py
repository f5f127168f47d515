# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest: how a run ended, told from its points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from run_fakes import plan, point

from ansible_collections.nvmelab.bench.plugins.module_utils.run import manifest, verdict
from ansible_collections.nvmelab.bench.plugins.module_utils.run.directory import RunDirectory


def record(number: int, state: str = "ok", **more: Any) -> dict[str, Any]:
    """A point record, as far as the manifest reads it."""
    whole = {"id": f"{number:04d}", "state": state, "reason": None if state == "ok" else "broke"}
    times = {"started_at": 10.0, "ended_at": 12.5, "duration_s": 2.0, "gap_s": None}
    return {**whole, **times, "verdict": verdict.verdict([]), **more}


@pytest.mark.parametrize(
    ("states", "interruption", "expected"),
    [
        (["ok", "ok"], None, "complete"),
        (["ok", "failed"], None, "partial"),
        (["failed", "failed"], None, "failed"),
        (["ok"], None, "partial"),
        ([], None, "failed"),
        (["ok"], "asked", "interrupted"),
        ([], "asked", "interrupted"),
        (["ok", "ok"], "asked too late", "complete"),
    ],
)
def test_state_follows_from_the_points(
    states: list[str], interruption: str | None, expected: str
) -> None:
    """Two planned points: what is there decides, and a stop that came too late costs nothing."""
    begun = manifest.draft(plan(point(1), point(2)), {})
    records = [record(number, state) for number, state in enumerate(states, 1)]
    assert manifest.conclude(begun, records, interruption=interruption)["state"] == expected


def test_reason_names_what_failed() -> None:
    """Counts, the first point and its cause; a fault of the run goes before it."""
    begun = manifest.draft(plan(point(1), point(2)), {})
    records = [record(1), record(2, "failed")]
    ended = manifest.conclude(begun, records)
    assert ended["reason"] == "1 of 2 points failed, 1 are good; the first: 0002: broke"
    assert ended["points_failed"] == [{"id": "0002", "reason": "broke"}]
    assert manifest.conclude(begun, records, fault="disk full")["reason"] == "disk full"


def test_durations_are_sums_and_medians() -> None:
    """By hand: gaps 0.1, 0.2, 0.9 have the median 0.2; a point that never ran counts nowhere."""
    begun = manifest.draft(plan(*(point(n) for n in range(1, 6))), {})
    records = [record(1), record(2, gap_s=0.2), record(3, gap_s=0.9), record(4, gap_s=0.1)]
    records.append(record(5, "failed", started_at=None, ended_at=None, duration_s=None))
    durations = manifest.conclude(begun, records)["durations_s"]
    assert durations == {"sweep": 10.0, "fio": 8.0, "gap_median": 0.2, "gap_max": 0.9}


def test_no_gap_is_null() -> None:
    """One point has no gap: null, not 0."""
    begun = manifest.draft(plan(point(1)), {})
    assert manifest.conclude(begun, [record(1)])["durations_s"]["gap_median"] is None


def test_continued_run_keeps_its_beginning() -> None:
    """started_at stays, the continuation is noted, and the commands of before are kept."""
    first = {**manifest.draft(plan(point(1)), {}), "started_at": "2026-01-01T00:00:00Z"}
    first["commands"] = {"guest-1": {"qemu": ["qemu"]}}
    again = manifest.draft(plan(point(1)), {}, first)
    assert again["started_at"] == "2026-01-01T00:00:00Z"
    assert len(again["resumed_at"]) == 1
    assert again["commands"] == first["commands"]
    assert again["state"] == "running"


def test_run_found_dead_gets_an_end(tmp_path: Path) -> None:
    """Even one that had not come to write its manifest."""
    directory = RunDirectory.of(tmp_path, "run-1")
    directory.create(plan(point(1), run_id="run-1"))
    manifest.mark_interrupted(directory, "killed")
    ended = directory.manifest()
    assert ended is not None
    assert (ended["state"], ended["reason"], ended["points_done"]) == ("interrupted", "killed", 0)


def test_version_is_the_collections(checkout: Path) -> None:
    """The version that runs carry is the one the collection is released under."""
    galaxy = yaml.safe_load((checkout / "galaxy.yml").read_text("utf-8"))
    assert galaxy["version"] == manifest.NVMELAB_VERSION
