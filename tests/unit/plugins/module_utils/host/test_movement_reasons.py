# SPDX-License-Identifier: GPL-3.0-or-later
"""Which movement makes a measurement doubtful."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.host import movement_reasons

STILL: dict[str, Any] = {
    "frequency_khz": {"by_cpu": {"0": [2000, 2100], "1": [4000, 4000]}},
    "throttle_count": 0,
    "cpu_pressure_percent": 5.0,
    "temperature_c": {"before": 40.0, "after": 99.9, "critical": 100.0},
}


def texts(**more: Any) -> dict[str, str]:
    """The reasons of a point that moved so, by code."""
    found = movement_reasons.point_reasons({**STILL, **more})
    return {one["code"]: one["text"] for one in found}


def test_limits_themselves_are_no_reason() -> None:
    """5 % of frequency, 5 % of pressure, just below critical; and CPUs may differ."""
    assert texts() == {}


def test_nothing_measured_is_no_reason() -> None:
    """Null is no proof of anything."""
    assert movement_reasons.point_reasons(dict.fromkeys(STILL)) == []
    assert movement_reasons.point_reasons(None) == []
    assert movement_reasons.run_reasons(None) == []


@pytest.mark.parametrize(
    ("moved", "code", "text"),
    [
        ({"throttle_count": 1}, "throttled", "a CPU was slowed down for its heat once"),
        ({"throttle_count": 3}, "throttled", "a CPU was slowed down for its heat 3 times"),
        (
            {"cpu_pressure_percent": 5.1},
            "cpu-pressure",
            "tasks of the lab host had to wait for a CPU in 5.1 % of the time, more than 5 %",
        ),
        (
            {"temperature_c": {"before": 100.0, "after": 90.0, "critical": 100.0}},
            "hot",
            "the CPU had 100 °C, and 100 °C is critical for it",
        ),
        (
            {
                "frequency_khz": {
                    "by_cpu": {"2": [2_000_000, 2_110_000], "11": [800_000, 3_000_000]}
                }
            },
            "frequency-moved",
            "CPU 11 ran at 800 to 3000 MHz while it was busy during the point (2 CPUs moved)",
        ),
    ],
)
def test_each_movement_has_a_code_and_says_what_was_seen(
    moved: dict[str, Any], code: str, text: str
) -> None:
    """One reason a kind, with the figure and its limit."""
    assert texts(**moved) == {code: text}


def test_critical_temperature_that_is_not_told() -> None:
    """Hot for which CPU? Nobody says: no reason."""
    assert texts(temperature_c={"before": 99.0, "after": 110.0, "critical": None}) == {}


def test_run_compares_its_points_with_each_other() -> None:
    """Steady within each point, another clock in the next: the run says it, of that CPU alone."""
    span = {"by_cpu": {"0": [2_000_000, 2_600_000]}}
    (found,) = movement_reasons.run_reasons({"frequency_khz": span})
    assert found["code"] == "frequency-moved"
    assert found["text"] == "CPU 0 ran at 2000 to 2600 MHz while it was busy during the run"
