# SPDX-License-Identifier: GPL-3.0-or-later
"""Measured numbers as short text with their unit; imports nothing.

Three significant digits, for people; files keep the full number. ``None`` (not measured) is a dash.
"""

from __future__ import annotations

NOT_MEASURED = "\N{EN DASH}"
_SI = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_IEC = ((2.0**40, "Ti"), (2.0**30, "Gi"), (2.0**20, "Mi"), (2.0**10, "Ki"))
_TIME = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"))


def iops(value: float | None) -> str:
    """Return I/Os per second as ``"12.3 k"``; the unit is the column's name."""
    return _scaled(value, _SI, "")


def ns(value: float | None) -> str:
    """Return a duration given in nanoseconds as ``"12.3 µs"``."""
    return _scaled(value, _TIME, "ns")


def hertz(value: float | None) -> str:
    """Return a frequency given in hertz as ``"2.40 GHz"``."""
    return _scaled(value, tuple((size, f"{name}Hz") for size, name in _SI), "Hz")


def bytes_per_s(value: float | None) -> str:
    """Return a bandwidth as ``"1.20 GiB/s"``."""
    return _scaled(value, tuple((size, f"{name}B/s") for size, name in _IEC), "B/s")


def bytes_(value: float | None) -> str:
    """Return an amount of data as ``"1.20 GiB"``."""
    return _scaled(value, tuple((size, f"{name}B") for size, name in _IEC), "B")


def seconds(value: float | None) -> str:
    """Return a duration given in seconds as ``"6.30 s"``, ``"3 min 05 s"`` or ``"2 h 04 min"``."""
    if value is None:
        return NOT_MEASURED
    whole = round(value)
    if whole < 60:  # noqa: PLR2004
        return f"{_three_digits(value)} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def count(number: int, noun: str) -> str:
    """Return ``"1 point"`` or ``"3 points"``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _scaled(value: float | None, scales: tuple[tuple[float, str], ...], base: str) -> str:
    if value is None:
        return NOT_MEASURED
    for size, unit in scales:
        # 999.6 shows as 1000 in three digits: that is the next unit's 1.00.
        if abs(value) >= size * 0.9995:
            return f"{_three_digits(value / size)} {unit}"
    return f"{_three_digits(value)} {base}".rstrip()


def _three_digits(value: float) -> str:
    if value == 0:
        return "0"
    magnitude = abs(value)
    decimals = 0 if magnitude >= 99.95 else 1 if magnitude >= 9.995 else 2  # noqa: PLR2004
    return f"{value:.{decimals}f}"
