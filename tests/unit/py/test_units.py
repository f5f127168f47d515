# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers for people: three digits, the right unit, nothing invented."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvmelab import units


@pytest.mark.parametrize(
    ("function", "value", "expected"),
    [
        (units.iops, 0, "0"),
        (units.iops, 0.5, "0.50"),
        (units.iops, 999.4, "999"),
        (units.iops, 999.6, "1.00 k"),
        (units.iops, 12_345.6, "12.3 k"),
        (units.iops, 123_456, "123 k"),
        (units.iops, 9_996_000, "10.0 M"),
        (units.ns, 780, "780 ns"),
        (units.ns, 45_600, "45.6 µs"),
        (units.ns, 999_600, "1.00 ms"),
        (units.ns, 2.5e9, "2.50 s"),
        (units.bytes_per_s, 1023, "1023 B/s"),
        (units.bytes_per_s, 1.2 * 2**30, "1.20 GiB/s"),
        (units.bytes_, 512, "512 B"),
        (units.seconds, 6.3, "6.30 s"),
        (units.seconds, 59.6, "1 min 00 s"),
        (units.seconds, 185, "3 min 05 s"),
        (units.seconds, 7440, "2 h 04 min"),
    ],
)
def test_worked_out_values(
    function: Callable[[float | None], str], value: float, expected: str
) -> None:
    """Values worked out by hand, at the borders of the units too."""
    assert function(value) == expected


@pytest.mark.parametrize(
    "function", [units.iops, units.ns, units.bytes_per_s, units.bytes_, units.seconds]
)
def test_not_measured_is_no_number(function: Callable[[float | None], str]) -> None:
    """None is shown as not measured, never as 0."""
    assert function(None) == units.NOT_MEASURED


@given(st.floats(1, 1e12))
def test_text_is_within_half_a_percent(value: float) -> None:
    """Whatever the magnitude, the text is the number rounded to three digits."""
    number, _, unit = units.ns(value).partition(" ")
    factor = {"ns": 1, "µs": 1e3, "ms": 1e6, "s": 1e9}[unit]
    assert float(number) * factor == pytest.approx(value, rel=0.0051)


def test_count_knows_the_plural() -> None:
    """One point, no points, two points."""
    assert [units.count(n, "point") for n in (0, 1, 2)] == ["0 points", "1 point", "2 points"]


def test_frequencies():
    """Hertz in thousands, three digits; not measured is a dash."""
    assert units.hertz(2.4e9) == "2.40 GHz"
    assert units.hertz(800e6) == "800 MHz"
    assert units.hertz(None) == units.NOT_MEASURED
