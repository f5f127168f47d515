# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of their time jobs measured together: by hand, and of fio's own output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.fio.overlap import (
    Window,
    shared_ratio,
    windows,
)

FIXTURES = Path(__file__).resolve().parents[4] / "fixtures" / "fio"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([(0, 2000), (0, 2000)], 1.0),
        ([(0, 2000), (500, 2000), (100, 2000)], 0.75),
        ([(0, 2000), (1000, 500)], 0.25),  # one that ended early
        ([(0, 2000), (2500, 2000)], 0.0),  # as seen: the first had ended before the last began
        ([(0, 2000)], None),
        ([], None),
        ([(0, 0), (0, 0)], None),
    ],
)
def test_the_time_of_all_over_the_longest(found: list[Window], expected: float | None) -> None:
    """From the last begin to the first end; never below nothing."""
    assert shared_ratio(found) == expected


def test_begins_are_counted_from_the_start_that_is_given() -> None:
    """Of fio 3.42; a job that reads and writes runs as long as the longer of both."""
    document = json.loads((FIXTURES / "gen-v3.42-randrw-2jobs.json").read_text())
    zero = document["jobs"][0]["job_start"]
    assert windows(document, zero_ms=zero - 5) == [(5, 1004), (6, 1003)]
    assert shared_ratio(windows(document, zero_ms=zero) or []) == pytest.approx(1003 / 1004)


def test_an_older_fio_does_not_tell() -> None:
    """3.33 has no begin of a job: nothing is claimed."""
    document: dict[str, Any] = json.loads((FIXTURES / "gen-lat-only-pctl-3.33.json").read_text())
    assert windows(document, zero_ms=0) is None
